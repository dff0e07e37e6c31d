#include "backflow/flows/image/actnorm.h"

#include <cmath>

#include "backflow/engine/parallel.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {

ActNorm::ActNorm(Index channels)
    : translation_(add_parameter("translation", Tensor::zeros({channels}))),
      log_scale_(add_parameter("log_scale", Tensor::zeros({channels}))),
      initialized_(add_buffer("initialized", Tensor(Real(0)))) {}

Shape ActNorm::per_channel(const Shape& x) const {
  const Index C = translation_.shape()[0];
  if ((x.rank() != 2 && x.rank() != 4) || x[1] != C)
    fail("actnorm", "a batch with ", C, " channels expected, the shape is ", x);
  return x.rank() == 2 ? Shape{C} : Shape{C, 1, 1};
}

void ActNorm::initialize(const Tensor& x) const {
  const std::vector<int> others = x.rank() == 2 ? std::vector{0} : std::vector{0, 2, 3};
  const Index n = x.size() / x.size(1);
  if (n < 2)
    fail("actnorm", "the first batch needs two values per channel, its shape is ", x.shape());
  const Tensor centered = x - mean(x, others, true);
  const Tensor variance = sum(centered * centered, others) * (Real(1) / static_cast<Real>(n - 1));
  translation_.set(mean(x, others));
  log_scale_.set(
      backflow::pointwise(variance, [](Real v) { return std::log(std::sqrt(v) + Real(1e-8)); }));
  initialized_ = Tensor(Real(1));
}

bool ActNorm::awaits_first_batch() const {
  const std::lock_guard lock(first_batch_);
  return initialized_.item() == 0;
}

void ActNorm::begin_step(const Tensor& x, const Pass&) const {
  const std::lock_guard lock(first_batch_);
  if (initialized_.item() != 0) return;  // from then on x may be anything
  per_channel(x.shape());                // fails for other shapes
  initialize(x);
}

// x = z e^log_scale + translation has mean 0 and variance 1 where log_scale = -log(std) and
// translation = -mean / std.
void ActNorm::begin_inverse_step(const Tensor& z) const {
  const std::lock_guard lock(first_batch_);
  if (initialized_.item() != 0) return;
  initialize(z);
  log_scale_.set(-log_scale_.value());
  translation_.set(-translation_.value() * exp(log_scale_).value());
}

// What a gradient by channel is made of, for C channels: sum(gz), and behind it sum(gz z).
using ChannelSums = std::vector<double>;

// Of a plane alone, taken while the cache holds it.
static ChannelSums scale_planes(const Tensor& gz, const Tensor& z, const Tensor& scale,
                                Tensor& gx) {
  const Index C = z.size(1), planes = z.size(0) * C, pixels = z.size(2) * z.size(3);
  ChannelSums of_plane(2 * planes), total(2 * C);
  parallel_for(planes, std::max<Index>(1, elements_per_chunk / std::max<Index>(1, pixels)),
               [&, to = gx.mutable_data()](Index plane, Index end) {
                 for (; plane < end; ++plane) {
                   const Real *g = gz.data() + plane * pixels, *y = z.data() + plane * pixels;
                   const Real s = scale[plane % C];
                   for (Index i = 0; i < pixels; ++i) to[plane * pixels + i] = s * g[i];
                   of_plane[2 * plane] = sum_in_lanes(pixels, [=](Index i) { return g[i]; });
                   of_plane[2 * plane + 1] =
                       sum_in_lanes(pixels, [=](Index i) { return g[i] * y[i]; });
                 }
               });
  for (Index plane = 0; plane < planes; ++plane) {
    total[plane % C] += of_plane[2 * plane];
    total[C + plane % C] += of_plane[2 * plane + 1];
  }
  return total;
}

// Of so many rows at a time, for which the sums of all channels stay in the cache.
static ChannelSums scale_rows(const Tensor& gz, const Tensor& z, const Tensor& scale, Tensor& gx) {
  constexpr Index rows = 64;
  const Index B = z.size(0), C = z.size(1), chunks = (B + rows - 1) / rows;
  ChannelSums of_chunk(2 * C * chunks), total(2 * C);
  parallel_for(chunks, std::max<Index>(1, elements_per_chunk / std::max<Index>(1, rows * C)),
               [&, s = scale.data(), to = gx.mutable_data()](Index chunk, Index end) {
                 for (; chunk < end; ++chunk) {
                   double* const sums = of_chunk.data() + 2 * C * chunk;
                   for (Index b = chunk * rows; b < std::min(B, (chunk + 1) * rows); ++b) {
                     const Real *g = gz.data() + b * C, *y = z.data() + b * C;
                     for (Index c = 0; c < C; ++c) {
                       to[b * C + c] = s[c] * g[c];
                       sums[c] += g[c];
                       sums[C + c] += g[c] * y[c];
                     }
                   }
                 }
               });
  for (Index i = 0; i < std::ssize(of_chunk); ++i) total[i % (2 * C)] += of_chunk[i];
  return total;
}

// z = (x - t) s for a translation t and a scale s of each channel.
static Tensor normalized(const Tensor& x, const Tensor& translation, const Tensor& scale) {
  const Index C = x.size(1), pixels = x.rank() == 2 ? 1 : x.size(2) * x.size(3);
  Tensor z = Tensor::empty(x.shape());
  parallel_for(x.size(0), std::max<Index>(1, elements_per_chunk / std::max<Index>(1, C * pixels)),
               [=, from = x.data(), to = z.mutable_data(), t = translation.data(),
                s = scale.data()](Index example, Index end) {
                 const Index last = end * C * pixels;
                 if (pixels == 1) {
                   for (Index i = example * C; i < last; i += C)
                     for (Index c = 0; c < C; ++c) to[i + c] = (from[i + c] - t[c]) * s[c];
                   return;
                 }
                 for (Index i = example * C * pixels, c = 0; i < last; i += pixels, ++c) {
                   const Real shift = t[c % C], stretch = s[c % C];
                   for (Index k = i; k < i + pixels; ++k) to[k] = (from[k] - shift) * stretch;
                 }
               });
  return z;
}

// With the scale s = exp(-log_scale) of a channel: gx = s gz, the translation's gradient is
// -s sum(gz), and the log-scale's -sum(gz z) - pixels sum(glogdet). The sums are in double.
static std::array<Tensor, 3> gradients(const Tensor& gz, const Tensor& glogdet, const Tensor& z,
                                       const Tensor& scale) {
  const Index B = z.size(0), C = z.size(1), pixels = z.rank() == 2 ? 1 : z.size(2) * z.size(3);
  Tensor gx = Tensor::empty(z.shape());
  const ChannelSums sums = (z.rank() == 2 ? scale_rows : scale_planes)(gz, z, scale, gx);
  const double shrunk =
      static_cast<double>(pixels) * sum_in_lanes(B, [g = glogdet.data()](Index b) { return g[b]; });
  Tensor g_translation = Tensor::empty({C}), g_log_scale = Tensor::empty({C});
  for (Index c = 0; c < C; ++c) {
    g_translation.mutable_data()[c] = static_cast<Real>(-sums[c] * scale[c]);
    g_log_scale.mutable_data()[c] = static_cast<Real>(-sums[C + c] - shrunk);
  }
  return grads(gx, g_translation, g_log_scale);
}

Out ActNorm::forward(const Var& x, Pass& pass) const {
  per_channel(x.shape());  // fails for other shapes
  check_context("actnorm", 0, pass, x.size(0));
  // Even if the step was begun: a flow around this layer might not hand begin_step() on to its
  // parts.
  if (pass.mode == Mode::train) begin_step(x.value(), pass);
  const Real pixels = x.rank() == 2 ? Real(1) : static_cast<Real>(x.size(2) * x.size(3));
  const Tensor scale = exp(Var(-log_scale_.value())).value();
  const Tensor Z = normalized(x.value(), translation_.value(), scale);
  const Tensor L = Tensor::full({x.size(0)}, -pixels * sum(log_scale_.value()).item());
  const auto [z, logdet] = record("actnorm", {Z, L},
                                  joint_grad({x, translation_, log_scale_},
                                             [Z, scale](const Tensor& gz, const Tensor& glogdet) {
                                               return gradients(gz, glogdet, Z, scale);
                                             }));
  return {z, logdet};
}

Tensor ActNorm::inverse(const Tensor& z, Pass& pass) const {
  const Shape shape = per_channel(z.shape());
  check_context("actnorm", 0, pass, z.size(0));
  return z * exp(log_scale_).value().reshape(shape) + translation_.value().reshape(shape);
}

Out ActNorm::inverse_recorded(const Var& z, Pass& pass) const {
  const Shape shape = per_channel(z.shape());
  check_context("actnorm", 0, pass, z.size(0));
  if (pass.mode == Mode::train) begin_inverse_step(z.value());
  const Real pixels = z.rank() == 2 ? Real(1) : static_cast<Real>(z.size(2) * z.size(3));
  const Var scale = exp(reshape(log_scale_, shape));
  return {z * scale + reshape(translation_, shape),
          broadcast_to(pixels * sum(log_scale_), {z.size(0)})};
}

}  // namespace backflow::inline BACKFLOW_PRECISION
