// The direct convolution for some images at a time, on the calling thread. Internal to conv2d and
// conv_net: no header includes this.
#pragma once

#include <optional>

#include "backflow/ops/plane_layout.h"

namespace backflow::inline BACKFLOW_PRECISION {

// Images (.., C, H, W) one behind another; what may be read ends at `end`.
struct ImagesView {
  const Real *data, *end;
  Index count;
};

// What it takes to compute a convolution of planes in a layout.
struct DirectKernel {
  DirectKernel(const ConvGeometry& g, const Tensor& w, const Tensor& bias,
               const planes::Layout& layout);

  ConvGeometry g;
  std::vector<Index> offsets;       // of the taps (c, u, v)
  std::vector<planes::Range> rows;  // of the kernel, for each pack of an image
  std::vector<Real> weights;        // in blocks of (taps, outputs of the block)
  Tensor bias;                      // (outputs)
};

class DirectConv {
 public:
  DirectConv(const ConvGeometry& g, const Tensor& w, const Tensor& bias);

  // How many images stay in the first cache in forward().
  Index few_images() const { return few_; }
  // y of at most so many images; then_relu: relu(y).
  void forward(const ImagesView& x, bool then_relu, Real* y) const;

 private:
  ConvGeometry g_;
  Index few_;
  planes::Layout layout_;
  DirectKernel kernel_;
};

class DirectGradient {
 public:
  static constexpr Index most_images = 16;  // at once: so many share the cost of fetching sums

  // w may be undefined: then dx cannot be asked for.
  DirectGradient(const ConvGeometry& g, const Tensor& w);

  // How many Reals the sums of all lanes are: at first zeros.
  Index lane_sums() const { return g_.O * g_.C * g_.taps() * planes::lanes; }
  // Of images x, and d, the gradients of what became of them: adds the gradient of w to the sums,
  // lane by lane, and that of the bias to db unless that is null, and writes the gradient of x to
  // dx unless that is null; from_relu: 0 where x is 0, for it is the output of a relu.
  void add(const ImagesView& d, const ImagesView& x, Real* lane_sums, Real* db, Real* dx,
           bool from_relu) const;
  // The gradient of w, (O, C, K, L), from the sums.
  void total(const Real* lane_sums, Real* dw) const;

 private:
  ConvGeometry g_;
  Index few_;  // images that stay in the first cache
  planes::Layout layout_;
  std::vector<Index> offsets_;
  std::vector<planes::Range> packs_;  // for each row of the kernel
  std::optional<DirectKernel> input_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION
