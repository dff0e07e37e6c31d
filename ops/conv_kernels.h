// The four ways to convolve that stand behind conv2d (ops/conv.h); see the top of each .cpp.
// Internal to conv2d and conv_net: no header includes this.
#pragma once

#include <array>
#include <functional>

#include "backflow/ops/conv.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct ConvGeometry {
  Index B, C, H, W;  // x
  Index O, K, L;     // w
  Index Ho, Wo;      // y
  Conv2d pad;

  // Fails, for conv2d, where the shapes do not fit.
  ConvGeometry(const Shape& x, const Shape& w, const Conv2d& options);

  Index taps() const { return K * L; }
  Index in_pixels() const { return H * W; }
  Index out_pixels() const { return Ho * Wo; }
  Index in_size() const { return C * in_pixels(); }  // of an image
  Index out_size() const { return O * out_pixels(); }
  Shape output() const { return {B, O, Ho, Wo}; }
  bool can_flip() const {
    return pad.stride == 1 && std::max(pad.top, pad.bottom) < K &&
           std::max(pad.left, pad.right) < L;
  }
  Conv2d flipped() const {
    return {1, K - 1 - pad.top, L - 1 - pad.left, K - 1 - pad.bottom, L - 1 - pad.right};
  }
  bool direct() const { return can_flip() && Ho == H && Wo == W && C * O <= 512; }
  // Unfolding copies each input pixel once per tap: then the output, which has fewer.
  bool unfolds_output() const { return !direct() && O < C && can_flip() && !pointwise(); }
  // Copies nothing for a kernel of one tap.
  bool pointwise() const { return taps() == 1 && pad.stride == 1 && Ho == H && Wo == W; }
  // Whether a product per row of the kernel is large enough to run at full rate.
  bool unfolds_rows() const { return pad.stride == 1 && K > 1 && C * L >= 160; }
};

// Fails, for conv2d, unless the shapes agree.
void expect_shape(const Shape& found, const Shape& expected, const char* what);

// ---- conv_direct.cpp: few channels, outputs as large as the inputs ------------------------------

Tensor direct_conv(const Tensor& x, const Tensor& w, const Tensor& bias, const ConvGeometry& g);
Tensor direct_weight_gradient(const Tensor& d, const Tensor& x, const ConvGeometry& g);
// With the gradient of the bias, (O), which is added up while d is in the cache.
std::array<Tensor, 2> direct_weight_and_bias_gradient(const Tensor& d, const Tensor& x,
                                                      const ConvGeometry& g);

// ---- conv_unfolded.cpp: products of matrices ----------------------------------------------------

Tensor unfolded_conv(const Tensor& x, const Tensor& w, const Real* bias, const ConvGeometry& g);
Tensor unfolded_input_gradient(const Tensor& d, const Tensor& w, const Shape& x,
                               const ConvGeometry& g);
Tensor unfolded_weight_gradient(const Tensor& d, const Tensor& x, const ConvGeometry& g);
// With the gradient of the bias, (O), which is added up while d is in the cache.
std::array<Tensor, 2> unfolded_weight_and_bias_gradient(const Tensor& d, const Tensor& x,
                                                        const ConvGeometry& g);

// The same for one image at a time, on the calling thread; w is (O, C K L). An image's gradient of
// the parameters is added to those of the images before it; that of the first one overwrites.
void conv_image(const Real* x, const Real* w, const Real* bias, const ConvGeometry& g, Real* y);
void conv_image_input_gradient(const Real* d, const Real* w, const ConvGeometry& g, Real* dx);
void add_image_weight_gradient(const Real* d, const Real* x, const ConvGeometry& g, bool first,
                               Real* dw);
void add_image_bias_gradient(const Real* d, const ConvGeometry& g, bool first, Real* db);

// ---- conv_rows.cpp: the same with fewer copies, for unfolds_rows() -----------------------------

Tensor rows_conv(const Tensor& x, const Tensor& w, const Real* bias, const ConvGeometry& g);
Tensor rows_input_gradient(const Tensor& d, const Tensor& w, const Shape& x, const ConvGeometry& g);
Tensor rows_weight_gradient(const Tensor& d, const Tensor& x, const ConvGeometry& g);

// ---- conv_lanes.cpp: many outputs, kernels of several taps, stride 1
// -----------------------------

// Whether the outputs fill the lanes well, and nothing else is as fast; the second for the gradient
// of the weights.
bool has_outputs_in_lanes(const ConvGeometry& g);
bool has_gradient_in_lanes(const ConvGeometry& g);
Tensor lanes_conv(const Tensor& x, const Tensor& w, const Real* bias, const ConvGeometry& g);
Tensor lanes_weight_gradient(const Tensor& d, const Tensor& x, const ConvGeometry& g);

// ---- For all: groups of images are the tasks, cut by shape alone -------------------------------

constexpr Index images_at_once = 4;  // in a chunk of a cheap walk over images
// Where nothing is added up over images: of few, each is a chunk, so that no thread waits for long.
constexpr Index images_per_chunk(Index images) { return images < 32 ? 1 : images_at_once; }

// Adds up one tensor per eighth of the images, in order: body(first image, count, sum) fills each.
Tensor sum_over_groups(const Shape& shape, Index images,
                       const std::function<void(Index, Index, Real*)>& body);

void add_bias_to_image(const Real* bias, Index channels, Index pixels, Real* y);

}  // namespace backflow::inline BACKFLOW_PRECISION
