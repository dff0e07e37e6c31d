// Ops that reduce axes to one value each.
//
// No axes means all of them; a negative axis counts from the end. `keep` leaves the reduced axes
// in the shape, with size 1, so that the result broadcasts against x. An axis named twice fails.
//
// The engine has a sum of its own, sum_to() in engine/tensor.h, for the gradients of operands that
// were broadcast: it may not depend on ops. The two add in different orders, each fit for the axes
// that it meets, and bits depend on the order: so there are two.
#pragma once

#include <array>
#include <vector>

#include "backflow/engine/record.h"

namespace backflow::inline BACKFLOW_PRECISION {

// Floats are added in double. The sum of nothing is 0.
Tensor sum(const Tensor& x, const std::vector<int>& axes = {}, bool keep = false);
Var sum(const Var& x, const std::vector<int>& axes = {}, bool keep = false);

// {a - b, sum((a - b)^2)} in one pass, with the bits of sum(e * e) for e = a - b. Fails unless the
// shapes are the same.
std::array<Tensor, 2> difference_and_squares(const Tensor& a, const Tensor& b);

// These fail for an empty set, and are NaN if any element is.
Tensor mean(const Tensor& x, const std::vector<int>& axes = {}, bool keep = false);
Var mean(const Var& x, const std::vector<int>& axes = {}, bool keep = false);

// The gradient is shared equally among ties. Where the largest lies: argmax in axis.h.
Tensor max(const Tensor& x, const std::vector<int>& axes = {}, bool keep = false);
Var max(const Var& x, const std::vector<int>& axes = {}, bool keep = false);
Tensor min(const Tensor& x, const std::vector<int>& axes = {}, bool keep = false);
Var min(const Var& x, const std::vector<int>& axes = {}, bool keep = false);

// log(sum(exp(x))), finite for every finite x. Of -inf alone it is -inf, with gradient 0; where a
// +inf makes it +inf, that element's gradient is NaN.
Tensor logsumexp(const Tensor& x, const std::vector<int>& axes = {}, bool keep = false);
Var logsumexp(const Var& x, const std::vector<int>& axes = {}, bool keep = false);

// sqrt(sum(x^2)), the Euclidean length, without overflow on the way. Its gradient x / |x| has no
// value at x = 0; there it is 0, the subgradient of least length. (sqrt(sum(square(x))) gives NaN.)
Tensor norm(const Tensor& x, const std::vector<int>& axes = {}, bool keep = false);
Var norm(const Var& x, const std::vector<int>& axes = {}, bool keep = false);

// Over all axes but the first: (B, ...) -> (B), one sum per example.
Tensor sum_examples(const Tensor& x);
Var sum_examples(const Var& x);

}  // namespace backflow::inline BACKFLOW_PRECISION
