#include "backflow/apps/model/activations.h"

#include "backflow/flows/elementwise/activations.h"
#include "backflow/flows/elementwise/spline.h"
#include "backflow/ops/pointwise.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr double any_alpha = std::numeric_limits<double>::infinity();

std::unique_ptr<Flow> spline(const Site& site) {
  constexpr Index bins = 5;
  constexpr Real spread = 0.01;
  site.claim(site.size() * (3 * bins - 1));
  const auto values = [&](std::uint32_t which, Index count) {
    return normal(site.random, which, {1, site.C, site.H, site.W, count}) * spread;
  };
  return std::make_unique<SplineActivation>(values(0, bins), values(1, bins), values(2, bins - 1));
}

// Makes a flow that takes the configuration's alpha.
template <class Activation>
std::unique_ptr<Flow> with_alpha(const Site& site) {
  return std::make_unique<Activation>(site.config.alpha);
}

template <class Activation>
std::unique_ptr<Flow> without_alpha(const Site&) {
  return std::make_unique<Activation>();
}

}  // namespace

const Table<ActivationRow>& activations() {
  static const Table<ActivationRow> all(
      "activation",
      {{"identity", "nothing between the layers", "no activation", any_alpha,
        without_alpha<Identity>},
       {"leaky_relu", "x, below 0 alpha x", "leaky ReLU", any_alpha, with_alpha<LeakyReLU>},
       {"learnable_leaky_relu", "the slope below 0 is learned, from 0.5 to 1.5",
        "learnable leaky ReLU", any_alpha, without_alpha<LearnableLeakyReLU>},
       {"smooth_leaky_relu", "alpha x + (1 - alpha) log(1 + e^x)", "smooth leaky ReLU", 1,
        with_alpha<SmoothLeakyReLU>},
       {"smooth_tanh", "tanh(alpha x) + x / 10", "smooth tanh", any_alpha, with_alpha<SmoothTanh>},
       {"spline", "a learned monotone curve for each value of an example", "spline", any_alpha,
        spline}});
  return all;
}

}  // namespace backflow::inline BACKFLOW_PRECISION
