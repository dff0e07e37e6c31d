// Linear algebra with gradients. Everything stands on one LU factorization with partial pivoting,
// in double in both builds: log|det| of a float matrix of a thousand rows needs the digits.
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
Var solve(const Var& A, const Var& B);  // A^-1 B, (n, n) and (n, k)
Var inverse(const Var& A);

// The orthogonal Q of a square A = L Q, where L is lower triangular and its diagonal not negative:
// the rows of A, made orthonormal one after another. In double; without a gradient.
Tensor orthogonal_factor(const Tensor& A);

}  // namespace backflow::inline BACKFLOW_PRECISION
