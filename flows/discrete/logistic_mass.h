// What the base distributions of discrete values share: a logistic distribution rounded to the
// multiples of a step, and mixtures of such.
#pragma once

#include "backflow/flows/discrete/discretized_logistic.h"

namespace backflow::inline BACKFLOW_PRECISION {

// Fails unless the step, the mean and the scale make sense; gives the step.
double checked_step(const DiscretizedOptions& options);

// log P of each element; the shapes broadcast.
Var log_mass(const Var& z, const Var& mean, const Var& log_scale, double step);

// log sum_k softmax(logits)_k P_k(z): z (...) and components (..., K), or such that broadcast.
Var log_mixture_mass(const Var& z, const Var& logits, const Var& mean, const Var& log_scale,
                     double step);

// mean + scale * distance, rounded.
Tensor rounded(const Tensor& mean, const Tensor& log_scale, const Tensor& distance, double step);

// Of each line of K in (..., K), the element that a uniform number of u chooses by the weights,
// which are as many as the elements. Of more u than lines, the lines begin again.
Tensor chosen(const Tensor& of_components, const Tensor& weights, const Tensor& u);

}  // namespace backflow::inline BACKFLOW_PRECISION
