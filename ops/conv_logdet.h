// log|det| of a convolution's matrix T and its gradient: both at once, in Real. Internal to ops.
//
// Cut into blocks of K/2 image rows, T is block tridiagonal, and its blocks are the same all along
// the diagonal. Without exchanges of rows between blocks an LU of it reads
//
//       | A R     |
//   T = | B A R   |      S_0 = A,   S_k+1 = A - B S_k^-1 R,   det T = det S_0 det S_1 ...
//       |   B A . |
//       |     . . |
//
// and the blocks of Z = T^-1 that meet those of T follow from the last one to the first:
//
//   Z_k,k+1 = -S_k^-1 R Z_k+1,k+1
//   Z_k+1,k = -Z_k+1,k+1 B S_k^-1
//   Z_k,k   =  S_k^-1 - Z_k,k+1 B S_k^-1
//
// As all blocks of T are the same, sums over k of those of Z are enough for the gradient, which is
// the sum of Z^T over the places where an entry of w stands. With blocks of m rows it is 14 m^3
// flop a block, where ops/conv_lu.cpp has 20 m^3, since the rows that it exchanges fill more
// blocks.
//
// What is given up is stability: an S_k may be nearly singular where T is not. S_k^-1 then has
// numbers that are large beside 1/max|w|, and most of their digits cancel in Z.
#pragma once

#include <optional>

#include "backflow/ops/linalg.h"

namespace backflow::inline BACKFLOW_PRECISION {

// For w (C, C, K, L) with K and L odd, on images (C, height, width), on the calling thread. Nothing
// if an S_k is singular or nearly so, or a result is not finite: ops/conv_lu.h then has them in
// double.
std::optional<LogAbsDet> conv_logabsdet_by_blocks(const Tensor& w, Index height, Index width);

}  // namespace backflow::inline BACKFLOW_PRECISION
