#include "backflow/ops/global_norm.h"

#include <cmath>

#include "backflow/engine/parallel.h"

namespace backflow::inline BACKFLOW_PRECISION {

// As fast as the gradients can be read: a vector unit needs the 32 sums to begin products while it
// adds others.
static double sum_of_squares(const Tensor& x) {
  std::vector<double> chunks((x.size() + elements_per_chunk - 1) / elements_per_chunk);
  parallel_for(x.size(), elements_per_chunk, [&, all = x.data()](Index begin, Index end) {
    const auto square = [p = all + begin](Index i) { return static_cast<double>(p[i]) * p[i]; };
    chunks[begin / elements_per_chunk] = sum_in_lanes<32>(end - begin, square);
  });
  double total = 0;
  for (double chunk : chunks) total += chunk;
  return total;
}

double global_norm(const Gradients& gradients, const std::vector<NamedParameter>& parameters) {
  double total = 0;
  for (const auto& [name, parameter] : parameters)
    if (gradients.contains(*parameter)) total += sum_of_squares(gradients[*parameter]);
  return std::sqrt(total);
}

}  // namespace backflow::inline BACKFLOW_PRECISION
