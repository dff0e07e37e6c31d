// Pointwise functions that few programs call. They stand apart from pointwise.h, which nearly every
// source includes. Like all pointwise ops they broadcast as NumPy's do.
#pragma once

#include "backflow/engine/record.h"

namespace backflow::inline BACKFLOW_PRECISION {

// Of radians; NaN at infinity. At most 4 ulp of error, where the result is not near 0.
Var sin(const Var& x);
Var cos(const Var& x);
Var erf(const Var& x);  // 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x

Var elu(const Var& x);       // x, and e^x - 1 where x is negative; the slope at 0 is 1
Var log1mexp(const Var& x);  // log(1 - e^-x) of x >= 0 with all its digits, NaN for negative x
Var silu(const Var& x);      // x sigmoid(x), a smooth ReLU; 0 at -infinity

// x sigmoid(beta x) / 1.1 (LipSwish; Chen et al., "Residual Flows", 2019), whose slopes are between
// -0.1 and 1 whatever beta is. Each factor 0 of sigmoid wins against an infinite x.
Var lipswish(const Var& x, const Var& beta);

// The larger and the smaller of two, NaN where either is. The gradient goes to the one that was
// taken, half of it to each where they are equal, and is NaN for both where either is NaN: the
// conventions of max and min in reduce.h.
Tensor maximum(const Tensor& a, const Tensor& b);
Tensor minimum(const Tensor& a, const Tensor& b);
Var maximum(const Var& a, const Var& b);
Var minimum(const Var& a, const Var& b);

}  // namespace backflow::inline BACKFLOW_PRECISION
