#include "backflow/flows/transforms/affine.h"

#include <cmath>

#include "backflow/flows/transforms/scale_and_shift.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {

using namespace scaling;

namespace {

// ---- Affine -----------------------------------------------------------------------------------

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
    case ScaleForm::exp:
    case ScaleForm::learned_tanh:  // see with_log_scale()
      break;
  }
  return body(Plain{});
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
      return invert_elements("affine", z, q, [=](Real z, Real h, Real m) BACKFLOW_INLINED {
        return z * vector_math::exp(log_scale(h).value) + m;
      });
    return invert_elements("affine", z, q, [=](Real z, Real h, Real m) BACKFLOW_INLINED {
      return (z - m) * vector_math::exp(-log_scale(h).value);
    });
  });
}

Tensor Affine::initial(const Random&) const {
  const bool softplus = options_.scale == ScaleForm::softplus;
  return Tensor({2},
                {softplus ? static_cast<Real>(std::log(std::expm1(1 - options_.least))) : 0, 0});
}

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
