// Looking at a running graph: who computed what, which value went bad first, and a drawing.
#pragma once

#include <optional>
#include <string>

#include "engine/record.h"

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
  // After one rule of a node ran: `into` are the accumulators that it added to.
  virtual void on_backward(const char* op, std::span<Accumulator* const> into) = 0;

 private:
  Tracer* before_;
};

// Finds the first op whose value or gradient holds a NaN or an infinity. Reads every value: for
// the step that failed, not for every step.
class FirstNonFinite : public Tracer {
 public:
  void on_forward(const char* op, std::span<const Tensor> values) override;
  void on_backward(const char* op, std::span<Accumulator* const> into) override;
  // "the value of 'exp'" or "a gradient computed by 'exp'".
  const std::optional<std::string>& found() const { return found_; }

 private:
  std::optional<std::string> found_;
};

// The history of a Var for Graphviz: `dot -Tpng`. Leaves are boxes, arrows follow the data.
std::string to_dot(const Var& root);

}  // namespace backflow::inline BACKFLOW_PRECISION
