#include "backflow/flows/variational/radial.h"

#include <cmath>
#include <limits>
#include <numbers>

#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// The root r >= 0 of r (p + r) / (a + r) = R, which is r^2 - (R - p) r - a R = 0. Of the
// quadratic's two formulas the one is taken that adds numbers of the same sign.
double distance_before(double R, double a, double p) {
  const double half = (R - p) / 2, root = std::hypot(half, std::sqrt(a) * std::sqrt(R));
  return half > 0 ? half + root : a * (R / (root - half));
}

}  // namespace

Radial::Radial(Index D, Offset offset, const Random& random)
    : x0_(add_parameter("x0", random.stream(0).normal({1, D}).reshape({D}))),
      // Then a is log 2, and so is a + beta_hat: the identity.
      alpha_(add_parameter(
          "alpha", Tensor::full({1}, offset == Offset::absolute ? std::numbers::ln2_v<Real> : 0))),
      beta_(add_parameter("beta", Tensor::zeros({1}))),
      offset_(offset) {
  if (D < 1) fail("radial", "examples of at least one value expected, got ", D);
}

Radial::Profile Radial::profile() const {
  const Var a = offset_ == Offset::absolute ? abs(alpha_) : softplus(alpha_), p = softplus(beta_);
  if (std::min(a.item(), p.item()) < std::numeric_limits<Real>::min())
    fail("radial", "all of a ball goes to one point, or a point to a ball: a = ", a.item(),
         " and a + b = ", p.item(), " must be above 0");
  return {a, p};
}

Var Radial::from_centre(const Var& x, const Pass& pass) const {
  const Index D = x0_.shape()[0];
  if (x.rank() != 2 || x.size(1) != D)
    fail("radial", "a batch (B, ", D, ") expected, the shape is ", x.shape());
  check_context("radial", 0, pass, x.size(0));
  return x - x0_;
}

// With the shares q = r / (a + r) of r in a + r and 1 - q of a:
//
//   R / r = (p + r) / (a + r),   dR/dr = q (1 + (1 - q)) + (1 - q) p / (a + r)
Radial::Stretch Radial::stretch(const Var& r, const Profile& profile) const {
  const auto& [a, p] = profile;
  const Var h = 1 / (a + r), rest = a * h;
  return {(p + r) * h, r * h * (1 + rest) + rest * p * h};
}

Var Radial::logdet(const Stretch& stretch) const {
  const Real others = static_cast<Real>(x0_.shape()[0] - 1);
  return reshape(others * log(stretch.across) + log(stretch.along), {-1});
}

Out Radial::forward(const Var& x, Pass& pass) const {
  const Var d = from_centre(x, pass), r = norm(d, {1}, true);
  const Stretch stretch = this->stretch(r, profile());
  return {x0_ + stretch.across * d, logdet(stretch)};
}

// The gradients of r are those of a step of Newton's method at the root r0, with r0 and the slope
// there held fixed: see invert() in flows/transforms/transform.h.
Out Radial::inverse_recorded(const Var& z, Pass& pass) const {
  const Profile profile = this->profile();
  const Var d = from_centre(z, pass), R = norm(d, {1}, true);
  const Tensor r0 = pointwise(R.value(), [a = profile.a.item(), p = profile.p.item()](Real R) {
    return static_cast<Real>(distance_before(R, a, p));
  });
  const Stretch at_root = stretch(r0, profile);
  const Var r = Var(r0) - (r0 * at_root.across - R) / Var(at_root.along.value());
  const Stretch stretch = this->stretch(r, profile);
  return {x0_ + d / stretch.across, -logdet(stretch)};
}

Tensor Radial::inverse(const Tensor& z, Pass& pass) const {
  const NoGrad no_grad;
  return inverse_recorded(z, pass).z.value();
}

std::unique_ptr<Flow> radial(Index D, const RadialOptions& options, const Random& random) {
  if (options.layers < 1) fail("radial", "at least one layer expected, got ", options.layers);
  std::vector<std::unique_ptr<Flow>> layers;
  for (int i = 0; i < options.layers; ++i)
    layers.push_back(
        std::make_unique<Radial>(D, options.offset, random.stream(static_cast<std::uint32_t>(i))));
  return between_ends(D, options.ends, std::move(layers));
}

}  // namespace backflow::inline BACKFLOW_PRECISION
