#include "backflow/ops/linalg.h"

#include <cmath>

#include "backflow/ops/blas.h"
#include "backflow/ops/lapack.h"
#include "backflow/ops/matmul.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct LU::Factors {
  int n = 0;
  std::vector<double> lu;
  std::vector<int> pivots;
  int zero_pivot = 0;  // 1-based; 0: none
};

static void check_square(const char* op, const Tensor& A) {
  if (A.rank() != 2 || A.size(0) != A.size(1))
    fail(op, "a square matrix expected, the shape is ", A.shape());
}

// LAPACK's matrices are column-major, so it factorises A^T: it solves with A where asked to solve
// with the transpose.
LU::LU(const Tensor& A) {
  check_square("lu", A);
  auto factors = std::make_shared<Factors>();
  const int n = factors->n = static_cast<int>(A.size(0));
  factors->lu.assign(A.data(), A.data() + A.size());
  factors->pivots.resize(n);
  prepare_blas();
  if (n > 0) dgetrf_(&n, &n, factors->lu.data(), &n, factors->pivots.data(), &factors->zero_pivot);
  factors_ = std::move(factors);
}

Index LU::size() const { return factors_->n; }
bool LU::singular() const { return factors_->zero_pivot > 0; }

const LU::Factors& LU::regular(const char* op) const {
  if (singular())
    fail(op, "the (", factors_->n, ", ", factors_->n, ") matrix is singular: pivot ",
         factors_->zero_pivot, " is 0");
  return *factors_;
}

double LU::log_abs_det() const {
  const Factors& f = regular("logabsdet");
  double sum = 0;
  for (int i = 0; i < f.n; ++i) sum += std::log(std::abs(f.lu[i * (f.n + std::size_t{1})]));
  return sum;
}

static Tensor to_tensor(const Shape& shape, const std::vector<double>& values) {
  Tensor out = Tensor::empty(shape);
  std::transform(values.begin(), values.end(), out.mutable_data(),
                 [](double v) { return static_cast<Real>(v); });
  return out;
}

Tensor LU::inverse() const {
  const Factors& f = regular("inverse");
  std::vector<double> a = f.lu, work(64 * std::max(1, f.n));
  const int lwork = static_cast<int>(work.size());
  int info = 0;
  prepare_blas();
  if (f.n > 0) dgetri_(&f.n, a.data(), &f.n, f.pivots.data(), work.data(), &lwork, &info);
  return to_tensor({f.n, f.n}, a);
}

Tensor LU::solve(const Tensor& B, char mode) const {
  const Factors& f = regular("solve");
  if (B.rank() != 2 || B.size(0) != f.n)
    fail("solve", "the right-hand side of a (", f.n, ", ", f.n, ") matrix has the shape ",
         B.shape());
  const Tensor columns = transpose(B);  // row-major (k, n) is LAPACK's (n, k)
  std::vector<double> x(columns.data(), columns.data() + columns.size());
  const int k = static_cast<int>(B.size(1));
  int info = 0;
  prepare_blas();
  if (f.n > 0 && k > 0)
    dgetrs_(&mode, &f.n, &k, f.lu.data(), &f.n, f.pivots.data(), x.data(), &f.n, &info);
  return transpose(to_tensor(columns.shape(), x));
}

Tensor LU::solve(const Tensor& B) const { return solve(B, 'T'); }
Tensor LU::solve_transposed(const Tensor& B) const { return solve(B, 'N'); }

Var logabsdet(const Var& A, const LU& lu) {
  return record("logabsdet", static_cast<Real>(lu.log_abs_det()),
                grad(A, [lu](const Tensor& g) { return g * transpose(lu.inverse()); }));
}

// X = A^-1 B: dB = A^-T g, dA = -dB X^T.
Var solve(const Var& A, const Var& B) {
  const LU lu(A.value());
  const Tensor X = lu.solve(B.value());
  return record("solve", X, joint_grad({A, B}, [lu, X](const Tensor& g) {
                  const Tensor gB = lu.solve_transposed(g);
                  return grads(-matmul(gB, transposed(X)), gB);
                }));
}

// Y = A^-1: dA = -Y^T g Y^T.
Var inverse(const Var& A) {
  const Tensor Y = LU(A.value()).inverse();
  return record("inverse", Y, grad(A, [Y](const Tensor& g) {
                  return -matmul(matmul(transposed(Y), g), transposed(Y));
                }));
}

// LAPACK sees A^T, and A^T = Q R is A = R^T Q^T; read by rows, its Q is Q^T.
Tensor orthogonal_factor(const Tensor& A) {
  check_square("orthogonal_factor", A);
  if (A.size() == 0) return A;
  const int n = static_cast<int>(A.size(0)), lwork = 64 * n;
  std::vector<double> q(A.data(), A.data() + A.size()), tau(n), work(lwork);
  int info = 0;
  prepare_blas();
  dgeqrf_(&n, &n, q.data(), &n, tau.data(), work.data(), &lwork, &info);
  std::vector<double> sign(n);
  for (int i = 0; i < n; ++i) sign[i] = q[i * (n + std::size_t{1})] < 0 ? -1 : 1;
  dorgqr_(&n, &n, &n, q.data(), &n, tau.data(), work.data(), &lwork, &info);
  for (std::size_t i = 0; i < q.size(); ++i) q[i] *= sign[i / n];  // column i / n of Q
  return to_tensor(A.shape(), q);
}

}  // namespace backflow::inline BACKFLOW_PRECISION
