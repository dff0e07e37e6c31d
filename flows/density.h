// A density: a flow in front of a base distribution.
#pragma once

#include "backflow/flows/bases.h"
#include "backflow/flows/flow.h"

namespace backflow::inline BACKFLOW_PRECISION {

// A batch on the side of the noise. What split priors let leave midway belongs to z: together they
// have as many numbers as x.
struct Encoded {
  Tensor z;                          // (B, the latent's shape)
  std::vector<Tensor> factored_out;  // in the order in which they left; empty without split priors
  Tensor logdet;                     // (B), nats: log|det d(z, factored_out)/dx|
};

// A batch on the side of the data.
struct Decoded {
  Tensor x;
  Tensor logdet;  // (B), nats: log|det dx/d(z, factored_out)|
};

struct Sample {
  Tensor x;
  Tensor log_prob;  // (B), nats
};

// An estimate of one number per example, with the standard error of it: both (B), nats.
struct Estimate {
  Tensor value, standard_error;
};

// With gradients, for what is trained on its own samples: the reverse Kullback-Leibler divergence
// from a density with the energy U is the mean of log_prob + U(x), up to a constant.
struct RecordedSample {
  Var x;
  Var log_prob;  // (B), nats
};

// The module's parameters and buffers are those of the flow, and those of the base with "base." in
// front: what is trained, and what is saved.
//
// Where the flow takes a context c, (B, C), every function here needs it as pass.context, and the
// density is p(x | c). A context given to a flow that takes none fails.
class Density : public Module {
 public:
  // The flow and the base are borrowed. `latent` is the shape of one example's z.
  Density(const Flow& flow, Shape latent, const Base& base = standard_normal())
      : flow_(flow), latent_(latent), base_(base) {
    add_module("", flow);
    add_module("base", base);
  }

  // log p(x) in nats, (B): exact. `pass` gives the noise of the dequantization; its mode does not
  // matter.
  Tensor log_prob(const Tensor& x, Pass pass = {}) const;

  // An unbiased estimate of log_prob(x), for a flow with layers whose log-determinant is too costly
  // to compute, such as a residual block of more than 64 dimensions: there log_prob() fails. Their
  // log-determinants are drawn `draws` times, at least 2; `value` is the mean of what log_prob
  // would be with each, not log_prob itself. Where every layer is exact it is log_prob, with error
  // 0.
  Estimate log_prob_estimate(const Tensor& x, const Random& random, Index draws = 16,
                             const Pass& pass = {}) const;

  // What training maximises, (B). It equals log_prob where every layer is exact; otherwise it lacks
  // log-determinants, though it has their gradients, and is no likelihood. Layers add to
  // pass.losses.
  Var objective(const Var& x, Pass& pass) const;

  // The whole model as one invertible map, with its true log-determinant: exact, and without the
  // likelihood of what split priors factored out, which a flow's own logdet includes. So
  // log_prob(x) is logdet, the base's log-density of z and the standard normal one of each tensor
  // factored out.
  Encoded forward(const Tensor& x, Pass pass = {}) const;
  // The exact inverse. Its logdet is minus that of forward at the x that was found. Fails where
  // forward and inverse do not undo each other (Flow::why_no_bijection), and for latents of other
  // shapes or another number of tensors factored out.
  Decoded inverse(const Tensor& z, std::vector<Tensor> factored_out = {}, Pass pass = {}) const;

  // n examples: the flow's inverse of what the base draws. What split priors factored out is drawn
  // as temperature * N(0, I). Fails for a temperature that is negative, infinite or NaN.
  Tensor sample(Index n, const Random& random, double temperature = 1, Pass pass = {}) const;

  // The same by the exact inverse, and log_prob of what came out. At another temperature than 1 the
  // samples are not drawn from that density. Fails as inverse() does.
  Sample sample_and_log_prob(Index n, const Random& random, double temperature = 1,
                             Pass pass = {}) const;

  // The same at temperature 1, with the gradients of the flow's parameters: x moves with them while
  // the noise stays. Fails for a flow without Flow::inverse_recorded().
  RecordedSample recorded_sample_and_log_prob(Index n, const Random& random, Pass& pass) const;

 private:
  void check_bijection(const char* where) const;
  Shape batch_of(Index n) const;

  const Flow& flow_;
  Shape latent_;
  const Base& base_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION
