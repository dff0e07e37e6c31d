// The matrix of a convolution with zero padding: its exact log|det|, the gradient of that, and
// exact inverses.
//
//   z[o,i,j] = sum_{c,u,v} w[o,c,u,v] x[c, i + u - K/2, j + v - L/2]      (cross-correlation)
//
// is z = T x. With the pixels in row-major order and the channels inside, image row i of z depends
// on the rows i - K/2 .. i + K/2 of x alone: T is banded, in blocks of one image row, W C numbers
// wide. An LU with partial pivoting keeps the band (it fills as much again above the diagonal), so
// it costs H (W C)^3 flop times a constant and not (H W C)^3: Golub & Van Loan, "Matrix
// Computations", 4th ed. 2013, section 4.3. It is one in blocks: a step inverts the block on the
// diagonal, by Gauss-Jordan elimination (ops/elimination.h).
//
// d log|det T| / dT = T^-T, and w is in T within the band alone. So the gradient needs the entries
// of T^-1 in the transposed band; they follow from the factors without the others: Takahashi,
// Fagan & Chen, 1973; Erisman & Tinney, "On computing certain elements of the inverse of a sparse
// matrix", CACM 18, 1975.
#pragma once

#include "backflow/ops/linalg.h"

namespace backflow::inline BACKFLOW_PRECISION {

// The factors of T(w); a handle, cheap to copy and to capture. In double in both builds; computed
// on the calling thread. With m = W C, flop per image row: 8 m^3 for a kernel 3 rows high and
// 22 m^3 for 5 rows; the gradient another 12 m^3 and 40 m^3. Memory: 4 or 7 numbers for each of
// the H m^2; never more than the (H m)^2 of a dense LU, which takes over where it is cheaper.
class ConvLU {
 public:
  // w (C, C, K, L) with K and L odd, on images (C, height, width); any positive size will do.
  ConvLU(const Tensor& w, Index height, Index width);

  bool singular() const;                // a pivot is exactly 0
  double log_abs_det() const;           // nats; fails if singular, as do the next two
  Tensor logdet_gradient() const;       // d log|det T| / dw, (C, C, K, L)
  Tensor solve(const Tensor& z) const;  // T^-1 z for images (B, C, H, W)

 private:
  struct Factors;
  const Factors& regular(const char* op) const;
  std::shared_ptr<const Factors> factors_;
};

// log|det T(w)| as a scalar, in nats, with its gradient. The second form uses factors of T(w) that
// the caller already has.
Var conv_logabsdet(const Var& w, Index height, Index width);
Var conv_logabsdet(const Var& w, const ConvLU& lu);

// Both at once, for training, as logabsdet_in_real() does for a matrix: in Real, and in double
// where that loses too many digits. 14 m^3 flop per image row for a kernel 3 rows high, and 56 m^3
// for 5 rows (ops/conv_logdet.h).
LogAbsDet conv_logabsdet_in_real(const Tensor& w, Index height, Index width);

}  // namespace backflow::inline BACKFLOW_PRECISION
