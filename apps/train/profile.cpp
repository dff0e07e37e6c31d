#include "backflow/apps/train/profile.h"

#include <algorithm>

namespace backflow::inline BACKFLOW_PRECISION {

double Profile::seconds() const {
  double total = 0;
  for (const auto& [key, cost] : costs) total += cost.seconds;
  return total;
}

std::vector<std::pair<Profile::Key, Profile::Cost>> Profile::slowest_first() const {
  std::vector<std::pair<Key, Cost>> all(costs.begin(), costs.end());
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
    return a.second.seconds > b.second.seconds;
  });
  return all;
}

void Profiler::add(const char* op, const char* phase, Index reals) {
  const auto now = Clock::now();
  Profile::Cost& cost = profile_.costs[{op, phase}];
  ++cost.calls;
  cost.seconds += std::chrono::duration<double>(now - last_).count();
  cost.bytes += reals * static_cast<Index>(sizeof(Real));
  last_ = now;
}

static Index reals_of(std::span<const Tensor> all) {
  Index reals = 0;
  for (const Tensor& x : all) reals += x.size();
  return reals;
}

void Profiler::on_forward(const char* op, std::span<const Tensor> values) {
  add(op, "forward", reals_of(values));
}

void Profiler::on_backward(const char* op, std::span<const Tensor> gradients) {
  add(op, "backward", reals_of(gradients));
}

void Profiler::on_work(const char* what) { add(what, "", 0); }

}  // namespace backflow::inline BACKFLOW_PRECISION
