// What the authors' code (jornpeters/integer_discrete_flows) does otherwise: densenets on images
// with split priors, and 1e-8 added to every P, so that no P is below e^-18.4 and they do not sum
// to 1.
#include "backflow/flows/discrete/integer_discrete_flow.h"

#include <cmath>
#include <limits>
#include <numbers>

#include "backflow/flows/permute.h"
#include "backflow/flows/sequential.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/rounding.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {

static Index checked_outputs(Index D, Index kept) {
  if (D < 2) fail("discrete_coupling", "2 coordinates at least can be split, got D = ", D);
  if (kept < 1 || kept >= D)
    fail("discrete_coupling", "1 ... ", D - 1, " of ", D, " coordinates must be kept, got ", kept);
  return D - kept;
}

static double checked_step(const char* flow, double step) {
  int exponent = 0;
  if (!(step > 0 && std::isfinite(step)) || std::frexp(step, &exponent) != 0.5)
    fail(flow, "the step must be a power of two, such as 1 or 1/256, got ", step,
         ": multiples of others are rounded");
  return step;
}

DiscreteCoupling::DiscreteCoupling(Index D, Index kept, const Net& net, const Random& random,
                                   double step, Start start)
    : D_(D),
      kept_(kept),
      step_(checked_step("discrete_coupling", step)),
      net_(kept, checked_outputs(D, kept), net, random) {
  add_module("net", net_);
  if (start == Start::constant) net_.start_at(Tensor::zeros({D - kept}));
}

// Sums of multiples below the limit are exact, and a sum beyond it is not rounded to below it.
void DiscreteCoupling::check_on_grid(const Tensor& x, const char* what) const {
  constexpr Real limit = 1 / std::numeric_limits<Real>::epsilon() * 2;
  const Real* const values = x.data();
  const auto is_off = [values, per_step = static_cast<Real>(1 / step_)](Index i) {
    const Real steps = values[i] * per_step;
    return std::abs(steps) < limit && std::nearbyint(steps) == steps ? 0 : 1;
  };
  if (sum_in_lanes(x.size(), is_off) == 0) return;
  Index i = 0;
  while (!is_off(i)) ++i;
  fail("discrete_coupling", what, "[", i / D_, ", ", i % D_, "] is ", values[i],
       ", expected a multiple of ", step_, " of less than ", limit * step_);
}

Out DiscreteCoupling::shifted(const Var& x, Pass& pass, Real sign) const {
  if (x.rank() != 2 || x.size(1) != D_)
    fail("discrete_coupling", "a batch (B, ", D_, ") expected, the shape is ", x.shape());
  check_on_grid(x.value(), "the input");
  const Var kept = slice(x, 1, 0, kept_), shift = round_through(net_(kept, pass), step_);
  const Var out = concat({kept, slice(x, 1, kept_, D_) + sign * shift}, 1);
  check_on_grid(out.value(), "the output");
  return {out, Tensor::zeros({x.size(0)})};
}

Out DiscreteCoupling::forward(const Var& x, Pass& pass) const { return shifted(x, pass, 1); }

Out DiscreteCoupling::inverse_recorded(const Var& z, Pass& pass) const {
  return shifted(z, pass, -1);
}

Tensor DiscreteCoupling::inverse(const Tensor& z, Pass& pass) const {
  const NoGrad no_grad;
  return shifted(z, pass, -1).z.value();
}

std::unique_ptr<Flow> integer_discrete_flow(Index D, const IdfOptions& options,
                                            const Random& random) {
  if (options.layers < 1)
    fail("integer_discrete_flow", "at least one layer expected, got ", options.layers);
  const Index quarter = (D + 3) / 4;
  std::vector<Index> last_first;  // the last quarter in front of the others
  for (Index i = 0; i < D; ++i) last_first.push_back((i + D - quarter) % D);
  std::vector<std::unique_ptr<Flow>> layers;
  for (int i = 0; i < options.layers; ++i) {
    if (i > 0) layers.push_back(std::make_unique<Permute>(last_first));
    layers.push_back(std::make_unique<DiscreteCoupling>(
        D, D - quarter, options.net, random.stream(static_cast<std::uint32_t>(i)), options.step,
        options.start));
  }
  return std::make_unique<Sequential>(std::move(layers));
}

WholeNumbers::WholeNumbers(double step) : step_(checked_step("whole_numbers", step)) {}

Out WholeNumbers::forward(const Var& x, Pass&) const {
  return {x * step_, Tensor::zeros({x.size(0)})};
}

Out WholeNumbers::inverse_recorded(const Var& z, Pass&) const {
  return {z * (1 / step_), Tensor::zeros({z.size(0)})};
}

Tensor WholeNumbers::inverse(const Tensor& z, Pass& pass) const {
  const NoGrad no_grad;
  return inverse_recorded(z, pass).z.value();
}

Tensor code_length(const Tensor& log_prob) {
  return log_prob * Tensor(-std::numbers::log2e_v<Real>);
}

}  // namespace backflow::inline BACKFLOW_PRECISION
