// Integer discrete flows: bijections of whole numbers, for data that is discrete by nature, and for
// lossless compression.
//
//   Hoogeboom, Peters, van den Berg, Welling, "Integer Discrete Flows and Lossless Compression",
//   NeurIPS 2019
//
// A coupling adds whole numbers to some coordinates, computed from the others, which stay:
//
//   z1 = x1,   z2 = x2 + round(t(x1)),   logdet = 0
//
// The inverse subtracts them again. Nothing is stretched, so P(x) is that of z under a base of
// whole numbers (flows/discrete/discretized_logistic.h): a probability, of which -log2 is the
// length of a code. The gradient passes through the rounding as if it were not there.
#pragma once

#include "backflow/flows/conditioners/mlp.h"

namespace backflow::inline BACKFLOW_PRECISION {

// On (B, D) of multiples of `step`, a power of two such as 1 or 1/256: the first `kept` coordinates
// stay, 1 <= kept < D. With the context of `net` it is a flow of P(x | context).
//
// The inverse is exact: a Real holds sums of multiples of the step up to 2^24 steps in float, 2^53
// in double. From there on, and for numbers between the multiples, either direction fails. Both
// must round the same t, to the bit, and the bits of a product depend on the kernels of BLAS, which
// depend on the size of the batch: what was encoded in batches is to be decoded in the same ones.
class DiscreteCoupling : public Flow {
 public:
  DiscreteCoupling(Index D, Index kept, const Net& net, const Random& random, double step = 1,
                   Start start = Start::random);  // constant: as the identity
  Out forward(const Var& x, Pass& pass) const override;
  Tensor inverse(const Tensor& z, Pass& pass) const override;
  Out inverse_recorded(const Var& z, Pass& pass) const override;
  Index context() const override { return net_.context(); }
  using Flow::forward, Flow::inverse;

 private:
  Out shifted(const Var& x, Pass& pass, Real sign) const;
  void check_on_grid(const Tensor& x, const char* what) const;

  Index D_, kept_;
  double step_;
  Mlp net_;
};

// Couplings that transform a quarter of the coordinates each (the authors' split), in turn: after
// four layers every one was transformed. The gradient is the more biased the more layers there are.
struct IdfOptions {
  int layers = 8;
  Net net = {};                 // of each coupling
  double step = 1;              // between the values of the data
  Start start = Start::random;  // constant: all layers begin as the identity
};
std::unique_ptr<Flow> integer_discrete_flow(Index D, const IdfOptions& options,
                                            const Random& random);

// Whole numbers as multiples of `step`, a power of two: z = step x, for networks that had better
// see small ones. logdet = 0, for it is values that are counted, not volumes: P(z) = P(x).
class WholeNumbers : public Flow {
 public:
  explicit WholeNumbers(double step);
  Out forward(const Var& x, Pass& pass) const override;
  Tensor inverse(const Tensor& z, Pass& pass) const override;
  Out inverse_recorded(const Var& z, Pass& pass) const override;
  using Flow::forward, Flow::inverse;

 private:
  double step_;
};

// The length of an ideal code of each example in bits, -log2 P, from Density::log_prob (B).
Tensor code_length(const Tensor& log_prob);

}  // namespace backflow::inline BACKFLOW_PRECISION
