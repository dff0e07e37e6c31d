// log|det| of a batch of matrices, and of one where half the time counts for more than the digits.
#include <cmath>

#include "backflow/engine/parallel.h"
#include "backflow/ops/elimination.h"
#include "backflow/ops/finite.h"
#include "backflow/ops/linalg.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/shape.h"
#include "backflow/ops/subnormals.h"

namespace backflow::inline BACKFLOW_PRECISION {

// ---- A batch of matrices ----------------------------------------------------------------------

// Each matrix is one thread's; several small ones are a chunk.
template <class Body>
static void for_each_matrix(const Shape& batch, const Body& body) {
  const double flop = std::pow(static_cast<double>(batch[-1]), 3);
  parallel_for(batch[0], 1 + static_cast<Index>(1e4 / (1 + flop)), [&](Index i, Index end) {
    for (; i < end; ++i) body(i);
  });
}

static std::vector<LU> factors_of_each(const Tensor& A) {
  const Index B = A.size(0), n = A.size(1);
  if (n != A.size(2)) fail("logabsdet", "square matrices expected, the shape is ", A.shape());
  std::vector<LU> all(B, LU(Tensor::empty({0, 0})));  // whose places are filled now
  for_each_matrix(A.shape(), [&](Index i) { all[i] = LU(slice(A, 0, i, i + 1).reshape({n, n})); });
  for (Index i = 0; i < B; ++i)
    if (all[i].singular())
      fail("logabsdet", "matrix ", i, " of the batch ", A.shape(), " is singular");
  return all;
}

static Tensor log_abs_dets(const std::vector<LU>& lus) {
  Tensor out = Tensor::empty({std::ssize(lus)});
  std::transform(lus.begin(), lus.end(), out.mutable_data(),
                 [](const LU& lu) { return static_cast<Real>(lu.log_abs_det()); });
  return out;
}

static Var logabsdet_of_each(const Var& A) {
  const std::vector<LU> lus = factors_of_each(A.value());
  return record("logabsdet", log_abs_dets(lus), grad(A, [lus, shape = A.shape()](const Tensor& g) {
                  const Index n = shape[-1];
                  Tensor out = Tensor::empty(shape);
                  for_each_matrix(shape, [&, to = out.mutable_data()](Index i) {
                    const Tensor part = transpose(lus[i].inverse()) * Tensor(g[i]);
                    std::copy_n(part.data(), n * n, to + i * n * n);
                  });
                  return out;
                }));
}

Tensor logabsdet(const Tensor& A) {
  if (A.rank() == 3) return log_abs_dets(factors_of_each(A));
  return static_cast<Real>(LU(A).log_abs_det());
}

Var logabsdet(const Var& A) {
  return A.rank() == 3 ? logabsdet_of_each(A) : logabsdet(A, LU(A.value()));
}

bool LogAbsDet::finite() const { return std::isfinite(value) && all_finite(gradient); }

// Elimination sees A^T, and leaves A^-T; read by rows, that is A^-1.
LogAbsDet logabsdet_in_real(const Tensor& A) {
  if (A.rank() != 2 || A.size(0) != A.size(1))
    fail("lu", "a square matrix expected, the shape is ", A.shape());
  const int n = static_cast<int>(A.size(0));
  {
    const FlushSubnormals flush;
    Tensor inverse = Tensor::empty(A.shape());
    std::copy_n(A.data(), A.size(), inverse.mutable_data());
    const Columns<Real> columns{inverse.mutable_data(), n, n, std::max(1, n)};
    std::vector<int> exchanges(n);
    Elimination<Real> elimination(n, n);
    if (elimination.eliminate(columns, 0, exchanges.data()) == 0) {
      exchange_columns_back(columns, exchanges.data(), n);
      LogAbsDet found{elimination.log_abs_det(), transpose(inverse)};
      if (found.finite()) return found;
    }
  }
  const LU lu(A);
  return {lu.log_abs_det(), transpose(lu.inverse())};
}

}  // namespace backflow::inline BACKFLOW_PRECISION
