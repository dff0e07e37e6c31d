#include "backflow/flows/transforms/logistic_mixture.h"

#include <cmath>
#include <limits>

namespace backflow::inline BACKFLOW_PRECISION {

static void check(const MixtureForm& form) {
  if (!(form.least_slope >= 0 && std::isfinite(form.least_slope)))
    fail("logistic_mixture", "the least slope must be at least 0 and finite, got ",
         form.least_slope);
  if (!(form.least_log_scale < std::numeric_limits<double>::infinity()))
    fail("logistic_mixture", "the least log-scale must be a number, or -infinity for none, got ",
         form.least_log_scale);
  if (!(form.cap > 0))
    fail("logistic_mixture", "the cap must be positive, or infinity for none, got ", form.cap);
}

LogisticMixture::LogisticMixture(Index components, const MixtureForm& form)
    : components_(components), form_(form) {
  if (components < 1) fail("logistic_mixture", "at least one component expected, got ", components);
  check(form);
}

Index LogisticMixture::parameters() const { return 3 * components_ + (form_.affine ? 2 : 0); }

std::array<Var, 2> LogisticMixture::forward(const Var& x, const Var& p) const {
  check_parameters("logistic_mixture", *this, x.shape(), p.shape());
  return logistic_mixture(x, p, form_);
}

Tensor LogisticMixture::inverse(const Tensor& z, const Tensor& p) const {
  check_parameters("logistic_mixture", *this, z.shape(), p.shape());
  return logistic_mixture_inverse(z, p, form_);
}

Tensor LogisticMixture::initial(const Random&) const {
  Tensor p = Tensor::zeros({parameters()});
  Real *u = p.mutable_data(), *v = u + components_;
  const bool sloped = form_.component == MixtureForm::sloped;
  for (Index k = 0; k < components_; ++k) {
    u[k] = static_cast<Real>(sloped ? std::log(std::expm1(1.0)) : 0);  // softplus(u) = 1, or e^-u
    v[k] = components_ > 1 ? static_cast<Real>(-2 + 4.0 * static_cast<double>(k) /
                                                        static_cast<double>(components_ - 1))
                           : Real(0);
  }
  return p;
}

}  // namespace backflow::inline BACKFLOW_PRECISION
