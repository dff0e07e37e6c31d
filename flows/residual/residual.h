// i-ResNet (Behrmann et al., "Invertible residual networks", ICML 2019) and Residual Flow (Chen et
// al., "Residual flows for invertible generative modeling", NeurIPS 2019): z = x + g(x) with a
// network g whose Lipschitz constant is below 1. No structure is imposed but that, no coordinate is
// spared: every one depends on every other. Fast direction: density; the inverse iterates.
#pragma once

#include "backflow/flows/flow.h"
#include "backflow/flows/residual/logdet.h"

namespace backflow::inline BACKFLOW_PRECISION {

// How a walk in train mode has its log-determinants (logdet.h).
enum class LogdetEstimator {
  exact,      // D tangents and a determinant for each example; D at most 64
  truncated,  // series.terms terms, differentiated through: i-ResNet's, biased
  roulette,   // terms broken off at random, differentiated through: unbiased
  neumann,    // the value of `roulette` with Residual Flow's gradient, which costs less: unbiased
};

struct ResidualOptions {
  LipschitzOptions net = {};
  LogdetEstimator estimator = LogdetEstimator::neumann;
  SeriesOptions series = {};
};

// One block z = x + g(x), (B, D) -> (B, D).
//
// In exact mode the log-determinant is exact for D up to 64. For larger D exact mode fails, unless
// pass.probes is given, as Density::log_prob_estimate() does: then it is an unbiased estimate.
// Estimators draw their numbers from pass.noise, and fail without it. It must be another one in
// each epoch: training on the same v of an example for ever would learn to please that v.
class Residual : public Flow {
 public:
  static constexpr Index most_exact = 64;
  Residual(Index D, const ResidualOptions& options, const Random& random);

  Out forward(const Var& x, Pass& pass) const override;
  // By the iteration x <- z - g(x), to rounding: each step is shorter than the last by the
  // Lipschitz constant. Fails where it does not converge, for z that is not finite.
  Tensor inverse(const Tensor& z, Pass& pass) const override;
  // D at most 64: gradients by the implicit function theorem, from an LU for each example.
  Out inverse_recorded(const Var& z, Pass& pass) const override;
  Index context() const override { return options_.net.context; }
  void prepare(Mode, bool) const override { net_.prepare(); }
  double prepare_flop(Mode) const override { return net_.prepare_flop(); }
  bool exact_in_training() const override { return options_.estimator == LogdetEstimator::exact; }
  const LipschitzNet& net() const { return net_; }
  using Flow::forward, Flow::inverse;

 private:
  void check_batch(const Shape& x, const Pass& pass) const;
  Var logdet(const Linearized& at, Pass& pass) const;
  Probe draw(const Random& random, const SeriesOptions& series, Index B, Pass& pass) const;

  ResidualOptions options_;
  LipschitzNet net_;
};

// The x with x + g(x) = z, (B, D), to rounding: by x <- z - g(x), which converges for every g whose
// Lipschitz constant is below 1. Fails in the name of `flow`, with the number of steps, where it
// has not within most_steps.
Tensor fixed_point(const char* flow, const Tensor& z, const std::function<Tensor(const Tensor&)>& g,
                   int most_steps);

// Residual Flow as published: LipSwish in front of every layer, unbiased log-determinants with the
// Neumann gradient; i-ResNet: ELU between the layers, the first terms of the series. Both have
// ActNorm before each block and at the end. For few dimensions LogdetEstimator::exact is the better
// choice, and the cheaper one. The authors' toys have 100 blocks, with hidden layers of 128, 128
// and 128.
struct ResidualFlowOptions {
  Index blocks = 16;
  std::vector<Index> hidden = {64, 64};
  double c = 0.97;
  LogdetEstimator estimator = LogdetEstimator::neumann;
  SeriesOptions series = {};
  Contraction::Kind activation = Contraction::Kind::lipswish;
  Index context = 0;
};
std::unique_ptr<Flow> residual_flow(Index D, const ResidualFlowOptions& options,
                                    const Random& random);

struct IResNetOptions {
  Index blocks = 16;
  std::vector<Index> hidden = {64, 64};
  double c = 0.9;
  LogdetEstimator estimator = LogdetEstimator::truncated;
  SeriesOptions series = {.terms = 10};
  Contraction::Kind activation = Contraction::Kind::elu;
  Index context = 0;
};
std::unique_ptr<Flow> i_resnet(Index D, const IResNetOptions& options, const Random& random);

}  // namespace backflow::inline BACKFLOW_PRECISION
