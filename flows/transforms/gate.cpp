//   z = s x + (1 - s) m,   s = sigmoid(bias + h)
#include "backflow/flows/transforms/gate.h"

#include <cmath>

#include "backflow/flows/transforms/scale_and_shift.h"

namespace backflow::inline BACKFLOW_PRECISION {

using namespace scaling;

// The argument of the sigmoid is the bias and what body's function of h gives.
template <class Body>
static auto with_gate(const GateOptions& options, Body body) {
  return std::isinf(options.cap) ? body(Plain{}) : body(Capped{static_cast<Real>(options.cap)});
}

Gate::Gate(const GateOptions& options) : options_(options) {
  if (!std::isfinite(options.bias)) fail("gate", "the bias must be finite, got ", options.bias);
  if (!(options.cap > 0)) fail("gate", "the cap must be positive, got ", options.cap);
}

std::array<Var, 2> Gate::forward(const Var& x, const Var& p) const {
  check_parameters("gate", *this, x.shape(), p.shape());
  return with_gate(options_, [&, bias = static_cast<Real>(options_.bias)](auto gate) {
    return transform_elements(
        "gate", x, p,
        [=](Real x, Real h, Real m) BACKFLOW_INLINED -> Outputs {
          const Real g = bias + gate(h).value;
          return {vector_math::sigmoid(g) * x + vector_math::sigmoid(-g) * m,
                  -vector_math::softplus(-g)};
        },
        [=](Real x, Real h, Real m, Real gz, Real gl) BACKFLOW_INLINED -> ElementGradients {
          const auto [value, slope] = gate(h);
          const Real g = bias + value;
          const Real s = vector_math::sigmoid(g), rest = vector_math::sigmoid(-g);
          return {gz * s, (gz * (x - m) * s + gl) * rest * slope, gz * rest};
        });
  });
}

// z - m = s (x - m), and 1 / s = 1 + e^-g.
Tensor Gate::inverse(const Tensor& z, const Tensor& p) const {
  check_parameters("gate", *this, z.shape(), p.shape());
  return with_gate(options_, [&, bias = static_cast<Real>(options_.bias)](auto gate) {
    return invert_elements("gate", z, p, [=](Real z, Real h, Real m) BACKFLOW_INLINED {
      return z + vector_math::exp(-(bias + gate(h).value)) * (z - m);
    });
  });
}

Tensor Gate::initial(const Random&) const { return Tensor::zeros({2}); }

}  // namespace backflow::inline BACKFLOW_PRECISION
