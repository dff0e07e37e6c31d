// Looking at a running graph: who computed what. (A drawing of it: ops/drawing.h. Which value went
// bad first: ops/finite.h. Where the time goes: apps/train/profile.h.)
#pragma once

#include <string>

#include "backflow/engine/record.h"

namespace backflow::inline BACKFLOW_PRECISION {

// An observer of every op that this thread records and differentiates, while it is alive.
class Tracer {
 public:
  Tracer();
  virtual ~Tracer();
  Tracer(const Tracer&) = delete;
  Tracer& operator=(const Tracer&) = delete;
  static Tracer* active();

  virtual void on_forward(const char* op, std::span<const Tensor> values) = 0;
  // One rule of the op ran: these are the gradients that it added to, with all that others added.
  virtual void on_backward(const char* op, std::span<const Tensor> gradients) = 0;
  // Something outside of the graph is done, such as a factorization or the optimizer's step.
  virtual void on_work(const char* /*what*/) {}

 private:
  Tracer* before_;
};

// Tells the tracer of this thread, if there is one.
void trace_work(const char* what);

}  // namespace backflow::inline BACKFLOW_PRECISION
