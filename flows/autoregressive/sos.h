// Sum-of-squares polynomial flow (Jaini, Selby & Yu, "Sum-of-Squares Polynomial Flow", ICML 2019):
// layers of
//
//   z_i = c_i + int_0^x_i sum_k P_ik(t)^2 dt,   logdet = sum_i log sum_k P_ik(x_i)^2,
//   (c_i, the coefficients of P_ik) = MADE(x_1, ..., x_i-1)
//
// With enough terms a polynomial approximates any increasing function, so one layer could be any
// density; several layers do with less. Fast is the density. A sample takes one evaluation of each
// network, coordinate after coordinate, and for each the root of a polynomial.
//
// What the authors do differently: their coefficients have no unit of x and their slope no floor
// (flows/transforms/sum_of_squares.h, which also says where a stack of polynomials overflows).
#pragma once

#include "backflow/flows/conditioners/mlp.h"
#include "backflow/flows/transforms/sum_of_squares.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct SosOptions {
  int layers = 4;
  Net net = {.activation = tanh};  // with a context: a flow of p(x | context)
  SumOfSquaresOptions polynomial = {};
};

// On (B, D), any D >= 1; it begins near the identity. An ActNorm stands before each layer, and
// behind the last. Every second layer takes the coordinates in descending order.
std::unique_ptr<Flow> sos(Index D, const SosOptions& options, const Random& random);

}  // namespace backflow::inline BACKFLOW_PRECISION
