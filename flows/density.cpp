#include "backflow/flows/density.h"

#include <algorithm>
#include <cmath>

#include "backflow/ops/pointwise.h"

namespace backflow::inline BACKFLOW_PRECISION {

Tensor Latents::draw(const Shape& shape) {
  return random.at_epoch(drawn++).normal(shape) * temperature;
}

Tensor Density::log_prob(const Tensor& x, Pass pass) const {
  const NoGrad no_grad;
  pass.mode = Mode::exact;
  return objective(x, pass).value();
}

Estimate Density::log_prob_estimate(const Tensor& x, const Random& random, Index draws,
                                    const Pass& pass) const {
  if (draws < 2)
    fail("log_prob_estimate", "at least 2 draws expected, for a standard error, got ", draws);
  const Index B = x.size(0);
  std::vector<double> mean(B), squares(B);  // squares: sum of squared differences from the mean
  for (Index n = 1; n <= draws; ++n) {
    Pass walk = pass;
    walk.probes = random.at_epoch(static_cast<std::uint32_t>(n));
    const Tensor value = log_prob(x, std::move(walk));
    for (Index b = 0; b < B; ++b) {  // Welford's update
      const double before = value[b] - mean[b];
      mean[b] += before / static_cast<double>(n);
      squares[b] += before * (value[b] - mean[b]);
    }
  }
  Estimate estimate{Tensor::empty({B}), Tensor::empty({B})};
  const double n = static_cast<double>(draws);
  for (Index b = 0; b < B; ++b) {
    estimate.value.mutable_data()[b] = static_cast<Real>(mean[b]);
    estimate.standard_error.mutable_data()[b] =
        static_cast<Real>(std::sqrt(squares[b] / (n * (n - 1))));
  }
  return estimate;
}

namespace {

// Begins a training step, unless the caller has begun it. The destructor ends it, so that the pass
// may serve another step even if the walk failed.
class BegunStep {
 public:
  BegunStep(const Flow& flow, const Tensor& x, Pass& pass)
      : pass_(pass), begins_(pass.mode == Mode::train && !pass.step_begun) {
    if (!begins_) return;
    flow.begin_step(x, pass);
    pass_.step_begun = true;
  }
  ~BegunStep() {
    if (begins_) pass_.step_begun = false;
  }
  BegunStep(const BegunStep&) = delete;
  BegunStep& operator=(const BegunStep&) = delete;

 private:
  Pass& pass_;
  bool begins_;
};

}  // namespace

Var Density::objective(const Var& x, Pass& pass) const {
  check_context("density", flow_.context(), pass, x.size(0));
  const BegunStep begun(flow_, x.value(), pass);
  const Out out = flow_.forward(x, pass);
  return base_.log_prob(out.z) + out.logdet;
}

Encoded Density::forward(const Tensor& x, Pass pass) const {
  const NoGrad no_grad;
  pass.mode = Mode::exact;
  pass.factored_out.clear();
  check_context("density", flow_.context(), pass, x.size(0));
  const Out out = flow_.forward(x, pass);
  Tensor logdet = out.logdet.value();
  for (const Tensor& left : pass.factored_out)
    logdet = logdet - standard_normal().log_prob(left).value();
  return {out.z.value(), std::move(pass.factored_out), logdet};
}

void Density::check_bijection(const char* where) const {
  if (const char* reason = flow_.why_no_bijection())
    fail(where, reason, "; Flow::inverse() and Density::sample() give x alone");
}

Decoded Density::inverse(const Tensor& z, std::vector<Tensor> factored_out, Pass pass) const {
  check_bijection("inverse");
  if (z.rank() != latent_.rank() + 1 ||
      !std::equal(latent_.begin(), latent_.end(), z.shape().begin() + 1))
    fail("inverse", "a batch of latents of shape ", latent_, " expected, the shape is ", z.shape());
  check_context("density", flow_.context(), pass, z.size(0));
  pass.inverse = Inverse::exact;
  const std::size_t given = factored_out.size();
  pass.factored_out = std::move(factored_out);
  const Tensor x = flow_.inverse(z, pass);
  if (!pass.factored_out.empty())
    fail("inverse", given, " tensors factored out were given, but the flow takes ",
         given - pass.factored_out.size());
  return {x, -forward(x, pass).logdet};
}

Shape Density::batch_of(Index n) const {
  Shape shape{n};
  for (Index size : latent_) shape.push_back(size);
  return shape;
}

// The base's numbers are those of `random` at epoch 0, and what split priors draw those of the
// next.
Tensor Density::sample(Index n, const Random& random, double temperature, Pass pass) const {
  check_context("density", flow_.context(), pass, n);
  if (!(temperature >= 0 && std::isfinite(temperature)))
    fail("sample", "expected a temperature of at least 0, got ", temperature);
  pass.latents = Latents{random, temperature, 1};
  return flow_.inverse(base_.sample(batch_of(n), random.at_epoch(0), temperature), pass);
}

Sample Density::sample_and_log_prob(Index n, const Random& random, double temperature,
                                    Pass pass) const {
  check_bijection("sample_and_log_prob");
  pass.inverse = Inverse::exact;
  const Tensor x = sample(n, random, temperature, pass);
  return {x, log_prob(x, pass)};
}

RecordedSample Density::recorded_sample_and_log_prob(Index n, const Random& random,
                                                     Pass& pass) const {
  check_bijection("recorded_sample_and_log_prob");
  check_context("density", flow_.context(), pass, n);
  const Var z = base_.sample(batch_of(n), random.at_epoch(0));
  const auto [x, logdet] = flow_.inverse_recorded(z, pass);
  return {x, base_.log_prob(z) - logdet};
}

}  // namespace backflow::inline BACKFLOW_PRECISION
