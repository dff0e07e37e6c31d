// A base of whole numbers that depend on one another: the split priors of integer discrete flows
// (flows/discrete/integer_discrete_flow.h) as one distribution.
#pragma once

#include "backflow/flows/conditioners/mlp.h"
#include "backflow/flows/discrete/discretized_logistic.h"

namespace backflow::inline BACKFLOW_PRECISION {

// What each component of the mixture of each number begins as; e^logit is its weight.
struct DiscretizedComponent {
  double mean = 0, scale = 1, logit = 0;
};

struct SplitMixtureOptions {
  double step = 1;  // between neighbouring values
  Index parts = 4;  // at most D
  Net net = {};     // of each part but the first
  std::vector<DiscretizedComponent> components = {{}};
};

// z (B, D) is cut into consecutive parts, as equal as can be, and each is given those before it:
//
//   P(z) = prod_k P(z_k | z_1, ..., z_(k-1))
//
// Given them, the numbers of a part are independent, each from a mixture of discretized logistics.
// A network of each part computes their parameters from the parts before it; the first part's are
// parameters themselves. One pass for a probability, `parts` steps for samples.
//
// With two parts it is a split prior that lets the second half go (Hoogeboom et al., NeurIPS 2019);
// there one network of an image computes means and scales, and the flow goes on with the first
// half.
//
// Component k has, from a network's outputs w, u and v, the logit logit_k + w, the mean
// mean_k + scale_k u and the scale scale_k e^v, where it begins at logit_k, mean_k and scale_k. So
// a step of an optimizer moves a narrow one, such as that of black pixels, by little.
//
// Scales are held between step / 50, where all of the probability is on one value already, and
// 1e15 steps. Of z between the multiples, see DiscretizedLogistic.
//
// Parameters: "first" (the first part's numbers, 3 K), their w, u and v; and of each other part
// those of an Mlp, "nets.k.", whose output is such a matrix. It begins as 0.
class SplitLogisticMixture : public Base {
 public:
  SplitLogisticMixture(Index D, const SplitMixtureOptions& options, const Random& random);
  Var log_prob(const Var& z) const override;
  // Multiples of the step. The temperature multiplies the distances from the means of the
  // components before rounding; these are chosen by their weights at any temperature.
  Tensor sample(const Shape& z, const Random& random, double temperature = 1) const override;

 private:
  struct Mixture {
    Var logits, mean, log_scale;  // (B, numbers, K)
  };
  void check_latent(const Shape& z) const;
  Index first_of(Index part) const { return part * D_ / parts_; }
  Var parameters_of(Index part, const Var& before) const;  // (B, numbers, 3 K)
  Mixture mixture(const Var& parameters) const;

  Index D_, parts_, K_;
  double step_;
  Tensor logits_, means_, scales_;  // (K), those to begin with
  Parameter& first_;
  std::list<Mlp> nets_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION
