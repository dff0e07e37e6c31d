#include "backflow/flows/residual/spectral_norm.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "backflow/flows/conditioners/initializers.h"
#include "backflow/ops/finite.h"
#include "backflow/ops/matmul.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr double most_power = 1 << 20;  // that is spent on digits beyond the tolerance

double trace(const Tensor& A) {
  double sum = 0;
  for (Index i = 0; i < A.size(0); ++i) sum += A[i * A.size(0) + i];
  return sum;
}

Tensor unit(const Tensor& x) { return x / norm(x); }

}  // namespace

// Of the smaller one of A = W^T W and W W^T, (n, n), powers are taken by squaring: A, A^2, A^4, ...
// Each power p gives two bounds of sigma^2, the largest eigenvalue of A,
//
//   v^T A v / v^T v <= sigma^2 <= (trace A^p)^(1/p) <= n^(1/p) sigma^2,
//
// where v = A^p r, for some r, is what the power iteration has after p steps. So the bounds meet,
// at log(n) / p, however close to one another singular values are, as training makes them.
SingularVectors largest_singular_vectors(const Tensor& W, double tolerance) {
  constexpr double epsilon = std::numeric_limits<Real>::epsilon();
  if (!all_finite(W)) fail("spectral_norm", "the weights ", W.shape(), " are not all finite");
  const Real largest = std::max(max(W).item(), -min(W).item());
  if (largest == 0) return {Tensor::zeros({W.size(0), 1}), Tensor::zeros({W.size(1), 1})};
  const Tensor M = W / largest;  // whose products neither overflow nor vanish
  const bool tall = M.size(0) >= M.size(1);
  Tensor power = tall ? matmul(transposed(M), M) : matmul(M, transposed(M));
  const Tensor start = reshape(Random(0).normal({1, power.size(0)}), {power.size(0), 1});
  double log_trace = 0, last = 0;  // of A^p; the trace of `power`, A^p but for a factor, is 1
  for (double p = 1;; p *= 2, log_trace *= 2) {
    const double t = trace(power);
    log_trace += std::log(t);
    power = power * static_cast<Real>(1 / t);
    const Tensor w = matmul(power, start);
    Tensor u = tall ? unit(matmul(M, w)) : unit(w);
    const Tensor v = unit(matmul(transposed(M), u));
    u = unit(matmul(M, v));
    const double sigma = sum(matmul(M, v) * u).item();
    const bool certain = sigma >= (1 - tolerance) * std::exp(log_trace / (2 * p));
    const bool settled = sigma <= (1 + 2 * epsilon) * last || p > most_power;
    if (certain && settled) return {u, v};
    if (p > 1e9) fail("spectral_norm", "rounding hides sigma of the weights ", W.shape());
    last = sigma;
    power = matmul(power, power);
  }
}

Var normalized(const Var& W, const SingularVectors& of, double c) {
  const Var sigma = sum(matmul(W, of.v) * of.u);
  return sigma.item() > c ? W * (c / sigma) : W;
}

static std::array<Tensor, 2> initial_values(Index in, Index out, double c, const Random& random) {
  if (in < 1 || out < 1)
    fail("spectral_norm", "at least one input and one output expected, got ", in, " and ", out);
  if (!(c > 0 && c <= 0.999))
    fail("spectral_norm", "a bound c of the spectral norm above 0, at most 0.999 expected, got ",
         c);
  return torch_default({out, in}, random);
}

SpectralLinear::SpectralLinear(std::array<Tensor, 2> initial, double c)
    : weight_(add_parameter("weight", std::move(initial[0]))),
      bias_(add_parameter("bias", std::move(initial[1]))),
      c_(c) {}

SpectralLinear::SpectralLinear(Index in, Index out, double c, const Random& random)
    : SpectralLinear(initial_values(in, out, c, random), c) {}

SingularVectors SpectralLinear::largest() const {
  const std::lock_guard lock(cache_);
  if (u_.empty() || version_ != weight_.version()) {
    const auto [u, v] = largest_singular_vectors(weight_.value(), (1 - c_) / 2);
    u_ = u.values();
    v_ = v.values();
    version_ = weight_.version();
  }
  return {Tensor({std::ssize(u_), 1}, u_), Tensor({std::ssize(v_), 1}, v_)};
}

void SpectralLinear::prepare() const { largest(); }

double SpectralLinear::prepare_flop() const {
  const double n = static_cast<double>(std::min(weight_.shape()[0], weight_.shape()[1]));
  return 2 * n * (static_cast<double>(weight_.var().size()) + 8 * n * n);
}

Var SpectralLinear::weight() const { return normalized(weight_, largest(), c_); }

}  // namespace backflow::inline BACKFLOW_PRECISION
