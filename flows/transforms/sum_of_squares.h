// The transform of sum-of-squares polynomial flows (Jaini, Selby & Yu, ICML 2019), an increasing
// polynomial of degree 2 R + 1:
//
//   z = c + int_0^x (floor + 1/K sum_k (1 + sum_l a_kl (t / unit)^l)^2) dt,   l = 0, ..., R
//
// The authors have neither the 1, which makes small a_kl mean nearly the identity, nor the floor,
// which bounds the log-derivative from below; both are as in zuko. ops/polynomial.h has the
// integral with any coefficients.
//
// Its z grows as x^(2 R + 1), so stacked ones are of a degree of (2 R + 1)^layers, and end where
// the largest number does. For R = 3 and a_kl of size 1, one alone is finite for |x| up to about
// 2e5 in float and 1e44 in double, two for 600 and 4e6, three for 25 and 700.
#pragma once

#include "backflow/flows/transforms/transform.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct SumOfSquaresOptions {
  Index polynomials = 3;  // K
  Index degree = 3;       // R, at most 15
  double unit = 3;        // x are expected to be within a few of it
  double floor = 1e-3;    // of the slope, at least 0
};

// p[0] = c, and a_kl is p[1 + k (R + 1) + l]. The inverse is found in double, to rounding.
class SumOfSquares : public Transform {
 public:
  explicit SumOfSquares(const SumOfSquaresOptions& options = {});
  Index parameters() const override;
  std::array<Var, 2> forward(const Var& x, const Var& p) const override;
  Tensor inverse(const Tensor& z, const Tensor& p) const override;
  // Near the identity, with polynomials that differ at random.
  Tensor initial(const Random& random) const override;

 private:
  struct Parts {
    Var shift, coefficients;
  };
  Parts parts(const Shape& x, const Var& p) const;

  SumOfSquaresOptions options_;
  Tensor scale_, one_;  // (K (R + 1)): coefficients = p scale + one
};

}  // namespace backflow::inline BACKFLOW_PRECISION
