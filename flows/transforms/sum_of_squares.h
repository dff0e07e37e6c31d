// The transform of sum-of-squares polynomial flows (Jaini, Selby & Yu, ICML 2019), an increasing
// polynomial of degree 2 R + 1:
//
//   z = c + int_0^x (floor + 1/K sum_k (1 + sum_l a_kl (t / unit)^l)^2) dt,   l = 0, ..., R
//
// The authors have neither the 1, which makes small a_kl mean nearly the identity, nor the floor,
// which bounds the log-derivative from below; both are as in zuko. ops/polynomial.h has the
// integral with any coefficients.
//
// Its z grows as x^(2 R + 1), and n of them as x^((2 R + 1)^n): a stack ends where the largest
// number does. If all c and a_kl are 1 and the unit 3, it is finite for |x| up to about
//
//            float, n = 1, 2, 3    double, n = 1, 2, 3
//   R = 2    1e8, 140, 6           1e62, 8e12, 1200
//   R = 3    1e6, 22, 2.5          3e44, 7e6, 30
//
// So in float keep R <= 3, and the coefficients small: they begin so, and ActNorm between the
// layers brings the data back to a few units.
#pragma once

#include "backflow/flows/transforms/transform.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct SumOfSquaresOptions {
  Index polynomials = 3;  // K
  Index degree = 2;       // R, at most 15
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
