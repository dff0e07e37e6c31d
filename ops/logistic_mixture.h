// An increasing function onto all of R with as many bends as one likes: the logit of a mixture of
// logistic distribution functions.
//
//   z = logit(sum_k pi_k sigmoid(c_k)),  pi = softmax(w),  each c_k affine and increasing in x
//
// It is the deep sigmoidal flow of Huang et al. ("Neural Autoregressive Flows", ICML 2018) and the
// coupling of Ho et al. ("Flow++", ICML 2019) alike: they differ in what they call the numbers of a
// component. It is computed as the difference of two logsumexps,
//
//   z = logsumexp(log pi + log sigmoid(c)) - logsumexp(log pi + log sigmoid(-c)),
//
// so nothing needs to be clipped, and far from the middle it goes on with the least of the slopes.
#pragma once

#include <limits>

#include "backflow/engine/record.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct MixtureForm {
  // Component k has the numbers u_k and v_k, and its logit w_k.
  enum Component {
    sloped,   // c_k = (softplus(u_k) + least_slope) x + v_k
    located,  // c_k = (x - v_k) e^-max(u_k, least_log_scale)
  };
  Component component = sloped;
  double least_slope = 0;
  double least_log_scale = -7;
  bool affine = false;  // two more numbers a and b per element: e^a z + b takes the place of z
  // Of a: where this is finite, cap tanh(a / cap) takes its place.
  double cap = std::numeric_limits<double>::infinity();
};

// {value, log-derivative in nats}, both of x's shape, x (...), parameters (..., 3 n) for n
// components: u_1, ..., u_n, v_1, ..., v_n, w_1, ..., w_n, and then a and b where the form is
// affine. One node, one backward. A log-scale below the least has no gradient. NaN stays NaN in
// both outputs. Fails for other shapes.
std::array<Var, 2> logistic_mixture(const Var& x, const Var& parameters, const MixtureForm& form);

// The x of each value z, to rounding.
Tensor logistic_mixture_inverse(const Tensor& z, const Tensor& parameters, const MixtureForm& form);

}  // namespace backflow::inline BACKFLOW_PRECISION
