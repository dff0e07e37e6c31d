// Linear algebra with gradients. It stands on one LU factorization with partial pivoting, in double
// in both builds: log|det| of a float matrix of a thousand rows needs the digits. Where the digits
// of a Real do, logabsdet_in_real() takes a third of the time.
//
// Gradients: Petersen & Pedersen, "The Matrix Cookbook", 2012, eqs. (57), (60).
#pragma once

#include "backflow/engine/record.h"
#include "backflow/ops/random.h"

namespace backflow::inline BACKFLOW_PRECISION {

// P A = L U of a square matrix; a handle, cheap to copy and to capture. 2/3 n^3 flop.
class LU {
 public:
  explicit LU(const Tensor& A);

  Index size() const;
  bool singular() const;                // a pivot is exactly 0
  double log_abs_det() const;           // nats; fails if singular
  Tensor inverse() const;               // 4/3 n^3 flop; fails if singular, as do the next two
  Tensor solve(const Tensor& B) const;  // A^-1 B for B of (n, k); 2 n^2 k flop
  Tensor solve_transposed(const Tensor& B) const;  // A^-T B

 private:
  struct Factors;
  Tensor solve(const Tensor& B, char mode) const;
  const Factors& regular(const char* op) const;
  std::shared_ptr<const Factors> factors_;
};

// log|det A| as a scalar, in nats; its gradient is A^-T. Of a batch (B, n, n) it is that of each
// matrix, (B). Fails for a singular matrix, with its number in the batch. The last form uses
// factors of A, a single matrix, that the caller already has.
Tensor logabsdet(const Tensor& A);
Var logabsdet(const Var& A);
Var logabsdet(const Var& A, const LU& lu);

// log|det| in nats and its gradient.
struct LogAbsDet {
  double value;
  Tensor gradient;

  bool finite() const;
};

// Both at once for a square matrix, by Gauss-Jordan elimination in Real: 2 n^3 flop. For training,
// whose gradients are noisy anyway: in float the relative error is about 1e-7 times the condition
// number. Where a pivot is 0 or what comes out is not finite, it is computed in double; fails only
// if a pivot is 0 there, too.
LogAbsDet logabsdet_in_real(const Tensor& A);

Var solve(const Var& A, const Var& B);  // A^-1 B, (n, n) and (n, k)
Var inverse(const Var& A);

// The orthogonal Q of a square A = L Q, where L is lower triangular and its diagonal not negative:
// the rows of A, made orthonormal one after another. In double; without a gradient.
Tensor orthogonal_factor(const Tensor& A);

}  // namespace backflow::inline BACKFLOW_PRECISION
