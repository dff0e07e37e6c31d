// y + C tanh(y), for an upper triangular C with C_ii > -1: what planar and Sylvester flows come
// down to (flows/variational). Its Jacobian is upper triangular, with 1 + C_ii tanh'(y_i) > 0 on
// the diagonal, so that its log-determinant is a sum, and its inverse takes M roots of one number
// each.
//
// Here y is (M, B), an example in each column, and C (M, M). The diagonal of C is given as
// k_i = 1 + C_ii, the slope at y_i = 0, and never read from C: a C_ii near -1 has lost the digits
// of k_i, which the logarithm and the root need. A k_i below 1e-30 counts as 1e-30.
#pragma once

#include "backflow/engine/record.h"

namespace backflow::inline BACKFLOW_PRECISION {

// {tanh(y), the log-determinant of each example in nats}, (M, B) and (B), from k (M).
std::array<Var, 2> tanh_and_logdet(const Var& y, const Var& k);

// The y of y + C tanh(y) = r, for r (M, B): the last row first. Fails in the name of `flow` where a
// root cannot be found.
Var solve_plus_tanh(const char* flow, const Var& r, const Var& k, const Var& C);

// 1 + tanh(a) tanh(b) of each element, right to rounding where the product is near -1; a and b
// broadcast.
Var one_plus_tanh_tanh(const Var& a, const Var& b);

}  // namespace backflow::inline BACKFLOW_PRECISION
