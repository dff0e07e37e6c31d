// Which op takes how much of the time, forward and backward.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "backflow/engine/trace.h"

namespace backflow::inline BACKFLOW_PRECISION {

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
  void on_backward(const char* op, std::span<const Tensor> gradients) override;
  void on_work(const char* what) override;

 private:
  using Clock = std::chrono::steady_clock;
  void add(const char* op, const char* phase, Index reals);

  Profile& profile_;
  Clock::time_point last_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION
