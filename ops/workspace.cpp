#include "backflow/ops/workspace.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

struct WorkspaceBlock {
  struct Free {
    void operator()(Real* p) const { std::free(p); }
  };
  std::unique_ptr<Real, Free> data;
  Index bytes = 0;

  void grow_to(Index wanted) {
    if (bytes >= wanted) return;
    data.reset(static_cast<Real*>(std::aligned_alloc(64, wanted)));
    bytes = data ? wanted : 0;
    if (!data) throw std::bad_alloc();
  }
};

// What a thread keeps ends with it, while its last destructors may still compute.
constinit thread_local bool workspaces_ended = false;
struct ThreadsWorkspaces {
  std::vector<WorkspaceBlock> blocks;
  std::size_t in_use = 0;
  ~ThreadsWorkspaces() { workspaces_ended = true; }
};
thread_local ThreadsWorkspaces workspaces;

}  // namespace

Workspace::Workspace(Index count) : kept_(!workspaces_ended) {
  const Index wanted = static_cast<Index>(sizeof(Real)) * std::max<Index>(count, 1);
  const Index bytes = (wanted + 63) / 64 * 64;  // whole cache lines
  if (!kept_) {
    WorkspaceBlock block;
    block.grow_to(bytes);
    data_ = block.data.release();
    return;
  }
  if (workspaces.in_use == workspaces.blocks.size()) workspaces.blocks.emplace_back();
  WorkspaceBlock& block = workspaces.blocks[workspaces.in_use];
  block.grow_to(bytes);
  data_ = block.data.get();
  ++workspaces.in_use;
}

Workspace::~Workspace() {
  if (kept_) {
    --workspaces.in_use;
  } else {
    std::free(data_);
  }
}

}  // namespace backflow::inline BACKFLOW_PRECISION
