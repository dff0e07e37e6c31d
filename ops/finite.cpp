#include "backflow/ops/finite.h"

#include <atomic>
#include <cmath>

#include "backflow/engine/parallel.h"

namespace backflow::inline BACKFLOW_PRECISION {

bool all_finite(const Tensor& x) {
  std::atomic<bool> finite = true;
  parallel_for(x.size(), elements_per_chunk, [&, p = x.data()](Index i, Index end) {
    bool chunk_finite = true;
    for (; i < end; ++i) chunk_finite &= std::isfinite(p[i]);
    if (!chunk_finite) finite = false;
  });
  return finite;
}

void FirstNonFinite::on_forward(const char* op, std::span<const Tensor> values) {
  look(op, "the value of '", values);
}

void FirstNonFinite::on_backward(const char* op, std::span<const Tensor> gradients) {
  look(op, "a gradient computed by '", gradients);
}

void FirstNonFinite::look(const char* op, const char* what, std::span<const Tensor> all) {
  for (const Tensor& x : all)
    if (!found_ && !all_finite(x)) found_ = std::string(what) + op + "'";
}

}  // namespace backflow::inline BACKFLOW_PRECISION
