#include "engine/buffer.h"

#include <pthread.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

namespace backflow::inline BACKFLOW_PRECISION {

struct alignas(64) Buffer::Header {
  std::atomic<Index> handles{1};
  Index bytes = 0;  // of the whole block, this header included
};

// Eight sizes per power of two: at most an eighth is wasted, and near sizes share blocks.
static constexpr Index steps_per_octave = 8;

static Index step_of(Index bytes) {
  const Index octave = std::bit_floor(static_cast<std::uint64_t>(bytes));
  return std::max<Index>(64, octave / steps_per_octave);
}
static Index rounded_up(Index bytes) {
  const Index step = step_of(bytes);
  return (bytes + step - 1) / step * step;
}
static Index size_class(Index rounded) {
  const Index octave = std::bit_width(static_cast<std::uint64_t>(rounded)) - 1;
  return octave * steps_per_octave + (rounded - (Index{1} << octave)) / step_of(rounded);
}

class BufferPool {
 public:
  static BufferPool& instance() {
    static auto* pool = make();  // never destroyed: buffers in statics may outlive main
    return *pool;
  }

  Buffer::Header* take(Index bytes) {
    std::lock_guard lock(mutex_);
    use_.live_bytes += bytes;
    use_.peak_bytes = std::max(use_.peak_bytes, use_.live_bytes);
    auto& free = free_[size_class(bytes)];
    if (!free.empty()) {
      Buffer::Header* header = free.back();
      free.pop_back();
      use_.pooled_bytes -= bytes;
      return header;
    }
    void* block = std::aligned_alloc(64, bytes);
    if (!block) {
      use_.live_bytes -= bytes;
      throw std::bad_alloc();
    }
    ++use_.system_allocations;
    auto* header = new (block) Buffer::Header;
    header->bytes = bytes;
    return header;
  }

  void give_back(Buffer::Header* header) {
    std::lock_guard lock(mutex_);
    use_.live_bytes -= header->bytes;
    use_.pooled_bytes += header->bytes;
    free_[size_class(header->bytes)].push_back(header);
  }

  void release() {
    std::lock_guard lock(mutex_);
    for (auto& free : free_) {
      for (Buffer::Header* header : free) std::free(header);
      free.clear();
    }
    use_.pooled_bytes = 0;
  }

  MemoryUse use() {
    std::lock_guard lock(mutex_);
    return use_;
  }
  void reset_peak() {
    std::lock_guard lock(mutex_);
    use_.peak_bytes = use_.live_bytes;
  }

 private:
  // A child that is forked while another thread is in here would find the lock held for ever: so
  // the thread that forks holds it itself.
  static BufferPool* make() {
    pthread_atfork([] { instance().mutex_.lock(); }, [] { instance().mutex_.unlock(); },
                   [] { instance().mutex_.unlock(); });
    return new BufferPool;
  }

  std::mutex mutex_;
  MemoryUse use_;
  std::array<std::vector<Buffer::Header*>, 64 * steps_per_octave> free_;  // by size_class()
};

Buffer::Buffer(Index count) {
  const Index bytes = static_cast<Index>(sizeof(Header) + sizeof(Real) * std::max<Index>(count, 1));
  header_ = BufferPool::instance().take(rounded_up(bytes));
  header_->handles.store(1, std::memory_order_relaxed);
}

Buffer::Buffer(const Buffer& other) : header_(other.header_) {
  if (header_) header_->handles.fetch_add(1, std::memory_order_relaxed);
}

Buffer::~Buffer() {
  if (header_ && header_->handles.fetch_sub(1, std::memory_order_acq_rel) == 1)
    BufferPool::instance().give_back(header_);
}

Real* Buffer::data() const { return reinterpret_cast<Real*>(header_ + 1); }
bool Buffer::shared() const { return header_->handles.load(std::memory_order_acquire) > 1; }

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
  const Index bytes = rounded_up(static_cast<Index>(sizeof(Real)) * std::max<Index>(count, 1));
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

MemoryUse memory_use() { return BufferPool::instance().use(); }
void reset_peak_bytes() { BufferPool::instance().reset_peak(); }
void release_pooled_buffers() { BufferPool::instance().release(); }

}  // namespace backflow::inline BACKFLOW_PRECISION
