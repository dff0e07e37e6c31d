#include "backflow/flows/residual/residual.h"

#include <cmath>
#include <limits>

#include "backflow/flows/stack.h"
#include "backflow/ops/linalg.h"
#include "backflow/ops/matmul.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr int terms_of_estimates = 20;  // as the authors' evaluation

SeriesOptions series_of(const ResidualOptions& options) {
  const bool truncated = options.estimator == LogdetEstimator::truncated;
  const SeriesOptions series{options.series.terms, truncated ? 1 : options.series.stop};
  check_series(series);
  if (!truncated && series.stop == 1)
    fail("residual", "the probability to stop is 1, which is LogdetEstimator::truncated");
  return series;
}

}  // namespace

Residual::Residual(Index D, const ResidualOptions& options, const Random& random)
    : options_(options), net_(D, options.net, random) {
  options_.series = series_of(options);
  if (options.estimator == LogdetEstimator::exact && D > most_exact)
    fail("residual", "LogdetEstimator::exact is for up to ", most_exact, " dimensions, not ", D);
  add_module("net", net_);
}

void Residual::check_batch(const Shape& x, const Pass& pass) const {
  if (x.rank() != 2 || x[1] != net_.dimension())
    fail("residual", "a batch (B, ", net_.dimension(), ") expected, the shape is ", x);
  check_context("residual", context(), pass, x[0]);
}

Probe Residual::draw(const Random& random, const SeriesOptions& series, Index B, Pass& pass) const {
  const Random own = random.stream(pass.probes_drawn++);
  return draw_probe(uniform_noise("residual", own, pass, {B, net_.dimension() + 2}), series);
}

Var Residual::logdet(const Linearized& at, Pass& pass) const {
  const Index B = at.value.size(0), D = net_.dimension();
  if (pass.mode == Mode::exact && D > most_exact) {
    if (!pass.probes)
      fail("residual", "the exact log-determinant is for up to ", most_exact, " dimensions, not ",
           D, "; Density::log_prob_estimate() gives an unbiased estimate and its standard error");
    const double stop = options_.series.stop < 1 ? options_.series.stop : SeriesOptions{}.stop;
    return neumann_logdet(net_, at, draw(*pass.probes, {terms_of_estimates, stop}, B, pass));
  }
  if (pass.mode == Mode::exact || options_.estimator == LogdetEstimator::exact)
    return exact_logdet(net_, at);
  if (!pass.noise)
    fail("residual",
         "training estimates the log-determinant from random numbers: pass.noise is "
         "needed, another one in each epoch");
  const Probe probe = draw(*pass.noise, options_.series, B, pass);
  return options_.estimator == LogdetEstimator::neumann ? neumann_logdet(net_, at, probe)
                                                        : series_logdet(net_, at, probe);
}

Out Residual::forward(const Var& x, Pass& pass) const {
  check_batch(x.shape(), pass);
  const Linearized at = net_.at(x, pass.context);
  return {x + at.value, logdet(at, pass)};
}

Tensor Residual::inverse(const Tensor& z, Pass& pass) const {
  check_batch(z.shape(), pass);
  const NoGrad no_grad;
  const std::vector<Var> weights = net_.weights();
  const auto g = [&](const Tensor& x) { return net_.at(x, pass.context, weights).value.value(); };
  // Each step shrinks the error by that constant at least: 1e-17 of it is left after so many.
  const int most_steps = 100 + static_cast<int>(40 / (1 - net_.lipschitz()));
  return fixed_point("residual", z, g, most_steps);
}

// One step of Newton's method at the root x0, recorded with x0 and the Jacobian held fixed, as
// Transform's invert() has it: dx = (I + J)^-1 (dz - dg).
Out Residual::inverse_recorded(const Var& z, Pass& pass) const {
  const Index B = z.size(0), D = net_.dimension();
  if (D > most_exact)
    fail("residual", "an inverse with gradients is for up to ", most_exact, " dimensions, not ", D);
  const Tensor x0 = inverse(z.value(), pass);
  const Linearized at = net_.at(x0, pass.context);
  const Tensor slope = transposed_jacobian(net_, at).value() + Tensor::identity(D);
  std::vector<Tensor> inverses;
  for (Index b = 0; b < B; ++b)
    inverses.push_back(LU(slice(slope, 0, b, b + 1).reshape({D, D})).inverse());
  const Var excess = reshape(x0 + at.value - z, {B, 1, D});
  const Var step = B == 0 ? excess : matmul(excess, stack(inverses, 0));
  const Var x = x0 - reshape(step, {B, D});
  return {x, -forward(x, pass).logdet};
}

// A row is settled when rounding errors explain its step: it is as short as those of x, or short
// and has not become shorter for a while. In exact arithmetic each is shorter than the one before.
Tensor fixed_point(const char* flow, const Tensor& z, const std::function<Tensor(const Tensor&)>& g,
                   int most_steps) {
  constexpr int a_while = 20;
  constexpr double epsilon = std::numeric_limits<Real>::epsilon();
  const Index B = z.size(0);
  std::vector<double> shortest(B, std::numeric_limits<double>::infinity());
  std::vector<int> since(B);
  Tensor x = z;
  double longest = 0;
  int step = 0;
  for (bool settled = B == 0; !settled; ++step) {
    if (step == most_steps || !std::isfinite(longest))
      fail(flow, "the inverse did not converge in ", step, " steps: the last one has the length ",
           longest);
    const Tensor next = z - g(x), length = norm(next - x, {1}), size = norm(next, {1});
    x = next;
    settled = true;
    longest = 0;
    for (Index b = 0; b < B; ++b) {
      const double relative = length[b] / (1 + double{size[b]});
      since[b] = length[b] < shortest[b] ? 0 : since[b] + 1;
      shortest[b] = std::min<double>(shortest[b], length[b]);
      settled &= relative <= 2 * epsilon || (relative <= std::sqrt(epsilon) && since[b] >= a_while);
      longest = length[b] <= longest ? longest : length[b];  // NaN stays
    }
  }
  return x;
}

template <class Options>
static std::unique_ptr<Flow> stack_of(Index D, const Options& options, bool activation_first,
                                      const Random& random) {
  const LipschitzOptions net{options.hidden, options.activation, activation_first, options.c,
                             options.context};
  const ResidualOptions block{net, options.estimator, options.series};
  return stack("residual", D, options.blocks, [&](std::uint32_t i) {
    return std::make_unique<Residual>(D, block, random.stream(i));
  });
}

std::unique_ptr<Flow> residual_flow(Index D, const ResidualFlowOptions& options,
                                    const Random& random) {
  return stack_of(D, options, true, random);
}

std::unique_ptr<Flow> i_resnet(Index D, const IResNetOptions& options, const Random& random) {
  return stack_of(D, options, false, random);
}

}  // namespace backflow::inline BACKFLOW_PRECISION
