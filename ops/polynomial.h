// Increasing polynomials as integrals of sums of squares (Jaini, Selby & Yu, "Sum-of-Squares
// Polynomial Flow", ICML 2019): with K polynomials P_k(t) = sum_l a_kl t^l of degree R,
//
//   value = int_0^x (floor + sum_k P_k(t)^2) dt      log-derivative = log(floor + sum_k P_k(x)^2)
//
// a polynomial of degree 2 R + 1 in x, which grows with x whatever the a_kl are.
//
// Multiplied out, its coefficients have both signs and cancel one another: what is left may be
// negative. So squares are summed instead, the integral by the Gauss-Legendre rule of R + 1 nodes,
// which is exact for polynomials of degree 2 R + 1: all its terms are positive.
#pragma once

#include "backflow/engine/record.h"

namespace backflow::inline BACKFLOW_PRECISION {

// {value, log-derivative in nats}, both of x's shape: one node, one backward. `a` is (..., K, R +
// 1) for an x of shape (...), R <= 15. NaN stays NaN in both outputs. Fails for other shapes and
// for a floor that is negative, infinite or NaN. Where the floor and all P_k(x) are 0, the
// log-derivative is -infinity.
std::array<Var, 2> sum_of_squares(const Var& x, const Var& a, double floor = 0);

// The x of each value, found in double in both builds. Fails where no x has it, as it is where all
// `a` and the floor are 0.
Tensor sum_of_squares_inverse(const Tensor& value, const Tensor& a, double floor = 0);

}  // namespace backflow::inline BACKFLOW_PRECISION
