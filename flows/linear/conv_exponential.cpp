#include "backflow/flows/linear/conv_exponential.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "backflow/flows/linear/conv1x1.h"
#include "backflow/flows/linear/random_orthogonal.h"
#include "backflow/ops/conv.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr double largest_norm = 0.9;
constexpr int least_exact_terms = 13, reflections = 64;
constexpr Index most_channels_of_a_matrix = 64;

// So many terms that the next one would be lost in rounding. Term n is at most |T|^n / n! times x,
// and |T| at most the square root of the largest sum over a row of T times that over a column.
int exact_terms(const Tensor& kernel) {
  const Index C = kernel.size(0), taps = kernel.size() / (C * C);
  std::vector<double> rows(C), columns(C);
  for (Index i = 0; i < kernel.size(); ++i) {
    rows[i / (C * taps)] += std::abs(kernel[i]);
    columns[i / taps % C] += std::abs(kernel[i]);
  }
  const double norm = std::sqrt(*std::max_element(rows.begin(), rows.end()) *
                                *std::max_element(columns.begin(), columns.end()));
  double term = norm;
  int n = 1;
  for (; term > std::numeric_limits<Real>::epsilon() / 16 && n < 200; ++n) term *= norm / (n + 1);
  return std::max(n, least_exact_terms);
}

// x / |x|. Where squares would vanish or overflow, norm() still knows the length.
Tensor normalized(const Tensor& x) {
  const Real length = std::sqrt(sum(x * x).item());
  return length >= Real(1e-12) && length <= std::numeric_limits<Real>::max()
             ? x * (1 / length)
             : pointwise("normalized", x, norm(x), [](Real x, Real length) { return x / length; });
}

bool is_zero(const Tensor& x) {
  return std::all_of(x.data(), x.data() + x.size(), [](Real value) { return value == 0; });
}

// The initial values of a layer's tensor number `which`.
Tensor flat_normal(const Random& random, std::uint32_t which, Index size) {
  return random.normal({1, size}, which << 16).reshape({size});
}

Var centre_taps(const Var& kernel) {
  const Index C = kernel.size(0), taps = kernel.size() / (C * C);
  const Var centre = slice(reshape(kernel, {C, C, taps}), 2, taps / 2, taps / 2 + 1);
  return sum(reshape(centre, {C, C}) * Tensor::identity(C));
}

std::unique_ptr<Flow> make_conv1x1(Index channels, const Random& random) {
  if (channels <= most_channels_of_a_matrix)
    return std::make_unique<Conv1x1>(random_orthogonal(channels, random));
  return std::make_unique<HouseholderConv1x1>(random.normal({reflections, channels}));
}

}  // namespace

// The terms are p_0 = x and p_i = T p_(i-1) / i, and y is their sum. So the gradient of p_n is g,
// and that of p_(i-1) is g + T^T g_i / i with g_i the gradient of p_i. Each term adds to the
// kernel's gradient that of a convolution of p_(i-1) whose output has the gradient g_i / i.
Var conv_exp(const Var& x, const Var& kernel, int terms) {
  const Shape& shape = kernel.shape();
  if (shape.rank() != 4 || shape[0] != shape[1] || shape[2] % 2 == 0 || shape[3] % 2 == 0)
    fail("conv_exp", "a kernel (C, C, K, L) of odd sizes expected, the shape is ", shape);
  if (terms < 0) fail("conv_exp", "0 terms or more expected, not ", terms);
  const Conv2d same = Conv2d::same(shape);
  std::vector<Tensor> p{x.value()};
  Tensor y = x.value();
  for (int i = 1; i <= terms; ++i) {
    p.push_back(conv2d(p.back(), kernel.value() * (Real(1) / static_cast<Real>(i)), same));
    y = y + p.back();
  }
  p.pop_back();
  return record("conv_exp", y,
                joint_grad({x, kernel}, [p, K = kernel.value(), same](const Tensor& g) {
                  Tensor gp = g, gK = Tensor::zeros(K.shape());
                  for (std::size_t i = p.size(); i > 0; --i) {
                    const Real weight = Real(1) / static_cast<Real>(i);
                    const Tensor& before = p[i - 1];
                    add_into(gK, weight * conv2d_weight_gradient(gp, before, K.shape(), same));
                    gp = g + conv2d_input_gradient(gp, weight * K, before.shape(), same);
                  }
                  return grads(gp, gK);
                }));
}

ConvExponential::ConvExponential(Index channels, Index height, Index width, const Random& random)
    : kernel_(add_parameter("kernel_orig", (random.normal({1, channels * channels * 9}, 1u << 16) *
                                            (1 / static_cast<Real>(9 * channels)))
                                               .reshape({channels, channels, 3, 3}))),
      before_(add_parameter("pre_transform_bias", Tensor::zeros({1, channels, height, width}))),
      after_(add_parameter("post_transform_bias", Tensor::zeros({1, channels, height, width}))),
      conv1x1_(make_conv1x1(channels, random)),
      u_(add_buffer("kernel_u", normalized(flat_normal(random, 2, channels * height * width)))),
      v_(add_buffer("kernel_v", normalized(flat_normal(random, 3, channels * height * width)))),
      sigma_(add_buffer("kernel_sigma", Tensor(Real(1)))) {
  add_module("conv1x1", *conv1x1_);
}

Tensor ConvExponential::apply(const Tensor& flat) const {
  const Tensor& K = kernel_.value();
  return conv2d(flat.reshape(before_.shape()), K, Conv2d::same(K.shape())).reshape(flat.shape());
}

Tensor ConvExponential::apply_transposed(const Tensor& flat) const {
  const Tensor& K = kernel_.value();
  const Shape& image = before_.shape();
  return conv2d_input_gradient(flat.reshape(image), K, image, Conv2d::same(K.shape()))
      .reshape(flat.shape());
}

// A step of the power iteration: v = T^T u / |T^T u|, u = T v / |T v|, sigma = u^T T v. Where T^T u
// is 0, as for a kernel that is 0, the iteration would stay at 0 for ever: it begins again, with
// the same numbers each time.
void ConvExponential::begin_step(const Tensor&, const Pass&) const {
  const std::lock_guard lock(iteration_);
  Tensor v = apply_transposed(u_);
  if (is_zero(v)) {
    u_ = normalized(flat_normal(Random(0), 2, u_.size()));
    v = apply_transposed(u_);
  }
  const Tensor direction = is_zero(v) ? v_ : normalized(v), Tv = apply(direction);
  if (is_zero(v) || is_zero(Tv)) {  // T is 0, at least to rounding, whatever u and v
    sigma_ = Tensor(Real(0));
    return;
  }
  v_ = direction;
  u_ = normalized(Tv);
  sigma_ = sum(Tv * u_);
}

Var ConvExponential::normalized_kernel() const {
  const auto [u, v] = [this] {
    const std::lock_guard lock(iteration_);
    return std::pair(u_, v_);
  }();
  const Conv2d same = Conv2d::same(kernel_.shape());
  const Shape image = before_.shape();
  const Var sigma = sum(conv2d(v.reshape(image), kernel_, same) * u.reshape(image));
  const Var excess = sigma.item() > largest_norm ? sigma * (1 / largest_norm) : Var(Real(1));
  return kernel_ / (excess + 1e-5);
}

void ConvExponential::check_images(const Shape& x) const {
  const Shape& image = before_.shape();
  if (x.rank() != 4 || x[1] != image[1] || x[2] != image[2] || x[3] != image[3])
    fail("conv_exponential", "images of ", image[1], " x ", image[2], " x ", image[3],
         " expected, the shape is ", x);
}

Out ConvExponential::forward(const Var& x, Pass& pass) const {
  check_images(x.shape());
  const bool training = pass.mode == Mode::train;
  if (training && !pass.step_begun) begin_step(x.value(), pass);
  const Var kernel = normalized_kernel();
  const Out mixed = conv1x1_->forward(x + before_, pass);
  const Var z = conv_exp(mixed.z, kernel, training ? training_terms : exact_terms(kernel.value()));
  const Real pixels = static_cast<Real>(x.size(2) * x.size(3));
  return {z + after_, mixed.logdet + pixels * centre_taps(kernel)};
}

Tensor ConvExponential::inverse(const Tensor& z, Pass& pass) const {
  check_images(z.shape());
  const NoGrad no_grad;
  const Tensor kernel = normalized_kernel().value();
  const Tensor mixed = conv_exp(z - after_.value(), -kernel, exact_terms(kernel)).value();
  return conv1x1_->inverse(mixed, pass) - before_.value();
}

}  // namespace backflow::inline BACKFLOW_PRECISION
