// Ops along one axis: each line of elements along it is treated alike, on its own.
//
// A negative axis counts from the end; an axis that x lacks fails. Empty tensors stay empty.
#pragma once

#include "backflow/engine/record.h"

namespace backflow::inline BACKFLOW_PRECISION {

// e^x / sum(e^x), whatever the size of x. NaN where the line holds NaN or +inf, or -inf alone.
Tensor softmax(const Tensor& x, int axis);
Var softmax(const Var& x, int axis);

// log(softmax(x)), accurate where softmax underflows.
Tensor log_softmax(const Tensor& x, int axis);
Var log_softmax(const Var& x, int axis);

// y_i = x_0 + ... + x_i. Floats are added in double.
Tensor cumsum(const Tensor& x, int axis);
Var cumsum(const Var& x, int axis);

// Where the largest element of each line is: the first of them if several are, the first NaN if
// there is one. Whole numbers 0 <= i < x.size(axis), without a gradient. The axis is left out, or
// kept with size 1 for gather: gather(x, axis, argmax(x, axis, true)) is max(x, {axis}, true).
// Fails for lines without elements, and for an axis that is too long for gather.
Tensor argmax(const Tensor& x, int axis, bool keep = false);
// Among all elements, in row-major order. Fails if there is none.
Index argmax(const Tensor& x);

// y[i][j][k] = x[index[i][j][k]][j][k] for axis 0, and so on. The index has the shape of the
// result: that of x but for the axis. It holds whole numbers, 0 <= index < x.size(axis), and gets
// no gradient; an element that is named several times gets the sum of its gradients. Fails for an
// axis longer than 2^24 in float (2^53 in double), whose places Reals cannot tell apart.
Tensor gather(const Tensor& x, int axis, const Tensor& index);
Var gather(const Var& x, int axis, const Tensor& index);

}  // namespace backflow::inline BACKFLOW_PRECISION
