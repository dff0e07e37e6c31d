// Memory for what a kernel keeps between two loops.
#pragma once

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

// Uninitialised, 64-byte aligned memory that a task needs while it runs. It belongs to the thread,
// which finds it in its own cache, and keeps it for the next task until the thread ends. Those of a
// thread end in the reverse order of their beginning, as variables do. No part of memory_use().
// Works in the destructors of statics, too: memory that no thread keeps any more is freed at once.
class Workspace {
 public:
  explicit Workspace(Index count);
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  Real* data() const { return data_; }

 private:
  Real* data_;
  bool kept_;  // by the thread
};

}  // namespace backflow::inline BACKFLOW_PRECISION
