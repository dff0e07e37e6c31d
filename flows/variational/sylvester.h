// Sylvester flows: planar flows with several units that do not get into one another's way.
#pragma once

#include "backflow/flows/variational/ends.h"

namespace backflow::inline BACKFLOW_PRECISION {

// z = x + Q R1 tanh(R2 Q^T x + b) on (B, D) (van den Berg, Hasenclever, Tomczak, Welling,
// "Sylvester normalizing flows for variational inference", UAI 2018). Q (D, M) has orthonormal
// columns, R1 and R2 (M, M) are upper triangular. With y = R2 Q^T x + b
//
//   R2 Q^T z + b = y + R2 R1 tanh(y),
//
// which is triangular as well: logdet = sum_i log(1 + (R2 R1)_ii tanh'(y_i)), and the inverse takes
// M roots of one number, the last y first. The diagonals of R1 and R2 are tanh of parameters, so
// that those of R2 R1 are above -1. Planar is the case M = 1 but for u', which need not lie along
// w.
//
// As published x is noise and z a sample: see Planar. The authors compute all but Q^T x from what
// is encoded, for each example; here the parameters are the same for all.
class Sylvester : public Flow {
 public:
  // Where the columns of Q come from: the first M of
  enum class Basis {
    orthogonal,   // the orthonormal (D, M) nearest to a matrix q
    householder,  // H_K ... H_1, H_k = I - 2 v v^T / v^T v for row v = k of q (K, D)
    identity,     // I, without parameters: the "triangular" flow alternates it with
    reversal      // the matrix that reverses the order of the coordinates
  };
  struct Options {
    Index units = 0;  // M <= D; 0: D
    Basis basis = Basis::householder;
    Index reflections = 1;  // K
  };
  Sylvester(Index D, const Options& options, const Random& random);
  Out forward(const Var& x, Pass& pass) const override;
  Tensor inverse(const Tensor& z, Pass& pass) const override;
  Out inverse_recorded(const Var& z, Pass& pass) const override;
  using Flow::forward, Flow::inverse;

  Var Q() const;   // (D, M)
  Var R1() const;  // (M, M)
  Var R2() const;

 private:
  struct Units {
    Var in, out;  // R2 Q^T (M, D) and Q R1 (D, M)
    Var slopes;   // 1 + (R2 R1)_ii (M)
  };
  Units units() const;
  Var inputs(const Units& units, const Var& x, const Pass& pass) const;  // R2 Q^T x + b, (M, B)

  Index D_, M_;
  Basis basis_;
  Parameter &full_, &diag1_, &diag2_, &b_;  // R1 above the diagonal of full, R2^T below it
  Parameter* q_ = nullptr;
};

struct SylvesterOptions {
  int layers = 32;
  Sylvester::Options layer = {};  // with the basis `identity` every second layer has `reversal`
  Ends ends = Ends::diagonal;
};

// On (B, D), any D >= 1: so many of them between two scalings, which the authors do without.
std::unique_ptr<Flow> sylvester(Index D, const SylvesterOptions& options, const Random& random);

}  // namespace backflow::inline BACKFLOW_PRECISION
