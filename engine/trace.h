// Looking at a running graph: who computed what, how long it took, which value went bad first, and
// a drawing.
#pragma once

#include <chrono>
#include <map>
#include <optional>
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
  // After one rule of a node ran: `into` are the accumulators that it added to.
  virtual void on_backward(const char* op, std::span<Accumulator* const> into) = 0;
  // Something outside of the graph is done, such as a factorization or the optimizer's step.
  virtual void on_work(const char* /*what*/) {}

 private:
  Tracer* before_;
};

// Tells the tracer of this thread, if there is one.
void trace_work(const char* what);

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

// Where the time of a program goes.
struct Profile {
  struct Key {
    std::string op;
    std::string phase;  // "forward", "backward", or "" for work outside of the graph
    auto operator<=>(const Key&) const = default;
  };
  struct Cost {
    Index calls = 0;  // ops, or rules of backward
    double seconds = 0;
    Index bytes = 0;  // of the values, or of the gradients that were added to
  };
  std::map<Key, Cost> costs;

  double seconds() const;  // of all
  std::vector<std::pair<Key, Cost>> slowest_first() const;
};

// Adds to a profile while it is alive. The time since the event before belongs to the op that an
// event names, so that the costs add up to the whole. Ops that are written with other ops count by
// their parts, and what a flow computes on Tensors counts to the op that it records next.
class Profiler : public Tracer {
 public:
  explicit Profiler(Profile& into) : profile_(into), last_(Clock::now()) {}
  void on_forward(const char* op, std::span<const Tensor> values) override;
  void on_backward(const char* op, std::span<Accumulator* const> into) override;
  void on_work(const char* what) override;

 private:
  using Clock = std::chrono::steady_clock;
  void add(const char* op, const char* phase, Index reals);

  Profile& profile_;
  Clock::time_point last_;
};

// The history of a Var for Graphviz: `dot -Tpng`. Leaves are boxes, arrows follow the data.
std::string to_dot(const Var& root);

}  // namespace backflow::inline BACKFLOW_PRECISION
