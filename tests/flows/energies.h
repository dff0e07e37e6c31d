// Rezende & Mohamed's four energies in the plane, p(x) proportional to e^-U(x) ("Variational
// inference with normalizing flows", ICML 2015, table 1), with their normalisers by quadrature.
//
// The mean of log q(x) + U(x) over samples of any density q is at least -log Z, and equal to it for
// q = p: one number that tests both the sampler and the log-determinant.
#pragma once

#include <numbers>
#include <vector>

#include "backflow/ops/functions.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct Energy {
  const char* name;
  Var (*of)(const Var& x);  // (B, 2) -> (B), nats
  double log_z;
};

namespace energies {

inline Var column(const Var& x, Index i) { return reshape(slice(x, 1, i, i + 1), {-1}); }
inline Var half_square(const Var& x, double scale) { return 0.5 * square(x * (1 / scale)); }
// -log(e^-a + e^-b)
inline Var either(const Var& a, const Var& b) { return a - softplus(a - b); }

inline Var w1(const Var& x) { return sin(std::numbers::pi / 2 * column(x, 0)); }
inline Var w2(const Var& x) { return 3 * exp(-half_square(column(x, 0) - 1, 0.6)); }
inline Var w3(const Var& x) { return 3 * sigmoid((column(x, 0) - 1) * (1 / 0.3)); }

// U2 to U4 go on for ever along the first axis: the wall of De Cao et al. (UAI 2019) ends them.
inline Var wall(const Var& x) { return sum_examples(square(relu(abs(x) - 6))); }

inline Var u1(const Var& x) {
  const Var radius = sqrt(sum_examples(square(x))), x1 = column(x, 0);
  return half_square(radius - 2, 0.4) + either(half_square(x1 - 2, 0.6), half_square(x1 + 2, 0.6));
}
inline Var u2(const Var& x) { return half_square(column(x, 1) - w1(x), 0.4) + wall(x); }
inline Var u3(const Var& x) {
  const Var d = column(x, 1) - w1(x);
  return either(half_square(d, 0.35), half_square(d + w2(x), 0.35)) + wall(x);
}
inline Var u4(const Var& x) {
  const Var d = column(x, 1) - w1(x);
  return either(half_square(d, 0.4), half_square(d + w3(x), 0.35)) + wall(x);
}

inline const std::vector<Energy> all = {
    {"U1", u1, 1.8775016}, {"U2", u2, 2.6253183}, {"U3", u3, 3.1849341}, {"U4", u4, 3.2539270}};

}  // namespace energies
}  // namespace backflow::inline BACKFLOW_PRECISION
