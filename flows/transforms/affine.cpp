#include "backflow/flows/transforms/affine.h"

#include <cmath>

#include "backflow/ops/pointwise.h"
#include "backflow/ops/shape.h"
#include "backflow/ops/vector_math.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// ---- One node for z and its log-derivative ----------------------------------------------------

struct Outputs {
  Real z, log_slope;
};
struct ElementGradients {
  Real x, h, m;
};

// A function of one element is inlined, so that loops of it become vector instructions.
#define BACKFLOW_INLINED __attribute__((always_inline))

// f(x, h, m) gives Outputs and rule(x, h, m, gz, gl) ElementGradients, of one element.
template <class F, class G>
std::array<Var, 2> transform_elements(OpName op, const Var& x, const Var& p, F f, G rule) {
  const Tensor X = x.value(), P = p.value();
  Tensor z = Tensor::empty(X.shape()), log_slope = Tensor::empty(X.shape());
  for_each_element(X.size(), [f, x = X.data(), p = P.data(), z = z.mutable_data(),
                              l = log_slope.mutable_data()](Index i) BACKFLOW_INLINED {
    const Outputs out = f(x[i], p[2 * i], p[2 * i + 1]);
    z[i] = out.z;
    l[i] = out.log_slope;
  });
  return record(
      op, {z, log_slope}, joint_grad({x, p}, [X, P, rule](const Tensor& gz, const Tensor& gl) {
        Tensor gx = Tensor::empty(X.shape()), gp = Tensor::empty(P.shape());
        for_each_element(
            X.size(), [rule, x = X.data(), p = P.data(), gz = gz.data(), gl = gl.data(),
                       gx = gx.mutable_data(), gp = gp.mutable_data()](Index i) BACKFLOW_INLINED {
              const ElementGradients g = rule(x[i], p[2 * i], p[2 * i + 1], gz[i], gl[i]);
              gx[i] = g.x;
              gp[2 * i] = g.h;
              gp[2 * i + 1] = g.m;
            });
        return grads(gx, gp);
      }));
}

// f(z, h, m) gives x.
template <class F>
Tensor invert_elements(const Tensor& z, const Tensor& p, F f) {
  Tensor x = Tensor::empty(z.shape());
  for_each_element(z.size(), [f, z = z.data(), p = p.data(), x = x.mutable_data()](Index i)
                                 BACKFLOW_INLINED { x[i] = f(z[i], p[2 * i], p[2 * i + 1]); });
  return x;
}

// ---- Affine -----------------------------------------------------------------------------------

// What a form makes of h, log s for Affine, and its derivative by h.
struct LogScale {
  Real value, slope;
};

// A type for each form, so that loops have no branch.
struct Plain {
  BACKFLOW_INLINED LogScale operator()(Real h) const { return {h, 1}; }
};
struct Capped {
  BACKFLOW_INLINED LogScale operator()(Real h) const {
    const Real t = vector_math::tanh(h / cap);
    return {cap * t, 1 - t * t};
  }
  Real cap;
};
struct Softplus {
  BACKFLOW_INLINED LogScale operator()(Real h) const {
    const Real s = vector_math::softplus(h) + least;
    // There log(1 + e^h) is e^h to rounding, and further out below the smallest number.
    const bool is_exp = least == 0 && h < -40;
    return {is_exp ? h : vector_math::log(s), is_exp ? Real(1) : vector_math::sigmoid(h) / s};
  }
  Real least;
};

template <class Body>
auto with_form(const AffineOptions& options, Body body) {
  switch (options.scale) {
    case ScaleForm::capped:
      return body(Capped{static_cast<Real>(options.cap)});
    case ScaleForm::softplus:
      return body(Softplus{static_cast<Real>(options.least)});
    default:
      return body(Plain{});
  }
}

template <class F>
std::array<Var, 2> scale_and_shift(const Var& x, const Var& p, F log_scale) {
  return transform_elements(
      "affine", x, p,
      [=](Real x, Real h, Real m) BACKFLOW_INLINED -> Outputs {
        const Real l = log_scale(h).value;
        return {x * vector_math::exp(l) + m, l};
      },
      [=](Real x, Real h, Real, Real gz, Real gl) BACKFLOW_INLINED -> ElementGradients {
        const LogScale l = log_scale(h);
        const Real gx = gz * vector_math::exp(l.value);
        return {gx, (gx * x + gl) * l.slope, gz};
      });
}

template <class F>
std::array<Var, 2> shift_and_divide(const Var& x, const Var& p, F log_scale) {
  return transform_elements(
      "affine", x, p,
      [=](Real x, Real h, Real m) BACKFLOW_INLINED -> Outputs {
        const Real l = log_scale(h).value;
        return {(x - m) * vector_math::exp(-l), -l};
      },
      [=](Real x, Real h, Real m, Real gz, Real gl) BACKFLOW_INLINED -> ElementGradients {
        const LogScale l = log_scale(h);
        const Real gx = gz * vector_math::exp(-l.value);
        return {gx, -(gx * (x - m) + gl) * l.slope, -gx};
      });
}

}  // namespace

Affine::Affine(const AffineOptions& options) : options_(options) {
  if (!(options.cap > 0 && std::isfinite(options.cap)))
    fail("affine", "the cap must be positive and finite, got ", options.cap);
  if (!(options.least >= 0 && options.least < 1))
    fail("affine", "the least scale must be at least 0 and below 1, got ", options.least);
  if (options.elements < 1) fail("affine", "scales for ", options.elements, " elements");
  if (options.scale == ScaleForm::learned_tanh)
    scale_ = &add_parameter("scale", Tensor::full({options.elements}, 1));
}

// A learned scale is the one that needs more than h: with it h becomes the logarithm, as if the
// form were exp.
Var Affine::with_log_scale(const Var& p) const {
  if (!scale_) return p;
  const Shape& shape = p.shape();
  if (options_.elements != 1 && options_.elements != shape[1])
    fail("affine", options_.elements, " scales are no scales of ", shape[1], " elements");
  const Var h = slice(p, 2, 0, 1), m = slice(p, 2, 1, 2);
  return concat({tanh(h) * reshape(*scale_, Shape{options_.elements, 1}), m}, 2);
}

std::array<Var, 2> Affine::forward(const Var& x, const Var& p) const {
  check_parameters("affine", *this, x.shape(), p.shape());
  const Var q = with_log_scale(p);
  return with_form(options_, [&](auto log_scale) {
    return options_.divides ? shift_and_divide(x, q, log_scale) : scale_and_shift(x, q, log_scale);
  });
}

Tensor Affine::inverse(const Tensor& z, const Tensor& p) const {
  check_parameters("affine", *this, z.shape(), p.shape());
  const NoGrad no_grad;
  const Tensor q = with_log_scale(p).value();
  return with_form(options_, [&](auto log_scale) {
    if (options_.divides)
      return invert_elements(z, q, [=](Real z, Real h, Real m) BACKFLOW_INLINED {
        return z * vector_math::exp(log_scale(h).value) + m;
      });
    return invert_elements(z, q, [=](Real z, Real h, Real m) BACKFLOW_INLINED {
      return (z - m) * vector_math::exp(-log_scale(h).value);
    });
  });
}

Tensor Affine::initial(const Random&) const {
  const bool softplus = options_.scale == ScaleForm::softplus;
  return Tensor({2},
                {softplus ? static_cast<Real>(std::log(std::expm1(1 - options_.least))) : 0, 0});
}

// ---- Gate -------------------------------------------------------------------------------------

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
    return invert_elements(z, p, [=](Real z, Real h, Real m) BACKFLOW_INLINED {
      return z + vector_math::exp(-(bias + gate(h).value)) * (z - m);
    });
  });
}

Tensor Gate::initial(const Random&) const { return Tensor::zeros({2}); }

// ---- Additive ---------------------------------------------------------------------------------

std::array<Var, 2> Additive::forward(const Var& x, const Var& p) const {
  check_parameters("additive", *this, x.shape(), p.shape());
  return {x + reshape(p, x.shape()), Tensor::zeros(x.shape())};
}

Tensor Additive::inverse(const Tensor& z, const Tensor& p) const {
  check_parameters("additive", *this, z.shape(), p.shape());
  return z - p.reshape(z.shape());
}

Tensor Additive::initial(const Random&) const { return Tensor::zeros({1}); }

}  // namespace backflow::inline BACKFLOW_PRECISION
