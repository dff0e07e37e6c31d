// Softmax and its relatives for lines (ops/lines.h) of at most longest_line elements, each in one
// pass over memory. Internal to ops. The bits are those of the same formula made of other ops.
#pragma once

#include "backflow/engine/tensor.h"

namespace backflow::inline BACKFLOW_PRECISION {

// Of x, whose lines have n elements.
Tensor softmax_of_lines(const Tensor& x, Index n);
Tensor log_softmax_of_lines(const Tensor& x, Index n);

// The gradients, from the output y and its gradient g.
Tensor softmax_gradient_of_lines(const Tensor& y, const Tensor& g, Index n);
Tensor log_softmax_gradient_of_lines(const Tensor& y, const Tensor& g, Index n);

// One number per line: `shift`, the largest x, or 0 where that is infinite; `total`, the sum of
// e^(x - shift).
void exp_totals_of_lines(const Tensor& x, Index n, Real* shift, Real* total);
// e^(x - shift) / total * g with one g per line; 0 where the total is 0.
Tensor weighted_softmax_of_lines(const Tensor& x, Index n, const Real* shift, const Real* total,
                                 const Real* g);

}  // namespace backflow::inline BACKFLOW_PRECISION
