#include "backflow/ops/conv_net.h"

#include "backflow/engine/parallel.h"
#include "backflow/ops/conv_kernels.h"
#include "backflow/ops/conv_net_direct.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"
#include "backflow/ops/workspace.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// One convolution for one image, by unfolding as conv2d does: where that unfolds the output, as the
// adjoint of the convolution with the flipped kernel, whose geometry and kernel these are then.
struct Stage {
  ConvGeometry g;
  bool is_adjoint;
  Tensor w, bias, no_bias;
  Index size;        // of the result of an image
  Index sum_at = 0;  // where the sums of the gradients of its w and bias begin

  Stage(const ConvGeometry& conv, const Tensor& kernel, const Tensor& bias)
      : g(conv),
        is_adjoint(conv.unfolds_output()),
        w(is_adjoint ? flip_kernel(kernel) : kernel),
        bias(bias),
        no_bias(Tensor::zeros({conv.C})),
        size(conv.out_size()) {
    if (is_adjoint) g = ConvGeometry(conv.output(), w.shape(), conv.flipped());
  }

  void forward(const Real* x, Real* y) const {
    if (!is_adjoint) return conv_image(x, w.data(), bias.data(), g, y);
    conv_image_input_gradient(x, w.data(), g, y);
    add_bias_to_image(bias.data(), g.C, g.in_pixels(), y);
  }
  void input_gradient(const Real* d, Real* dx) const {
    if (!is_adjoint) return conv_image_input_gradient(d, w.data(), g, dx);
    conv_image(d, w.data(), no_bias.data(), g, dx);
  }
  // Into the place of this stage among the sums. The adjoint's leave the bias out.
  void add_gradients(const Real* d, const Real* x, bool first, Real* sums) const {
    Real *dw = sums + sum_at, *db = dw + w.size();
    if (is_adjoint) return add_image_weight_gradient(x, d, g, first, dw);
    add_image_weight_gradient(d, x, g, first, dw);
    add_image_bias_gradient(d, g, first, db);
  }
  Index sum_size() const { return w.size() + (is_adjoint ? 0 : g.O); }
  // Those of w and bias, from the sums and, for an adjoint's bias, from the gradient of the output.
  void take_gradients(const Tensor& sums, const Tensor& d, std::vector<Tensor>& all) const {
    const Index end = sum_at + w.size();
    const Tensor dw = slice(sums, 0, sum_at, end).reshape(w.shape());
    all.push_back(is_adjoint ? flip_kernel(dw) : dw);
    all.push_back(is_adjoint ? sum(d, {0, 2, 3}) : slice(sums, 0, end, end + g.O));
  }
};

class ConvNet {
 public:
  ConvNet(const Tensor& x, std::vector<Stage> stages)
      : x_(x), stages_(std::move(stages)), activations_(stages_.size() - 1) {
    for (Stage& stage : stages_) {
      stage.sum_at = sums_;
      sums_ += stage.sum_size();
      largest_ = std::max(largest_, stage.size);
    }
  }

  // With `keep`, the activations but the first stay for gradients().
  Tensor forward(const Shape& shape, bool keep) {
    Tensor y = Tensor::empty(shape);
    std::vector<Real*> to(activations_.size());
    for (std::size_t i = 1; keep && i < to.size(); ++i) {
      activations_[i] = Tensor::empty({images(), stages_[i].size});
      to[i] = activations_[i].mutable_data();
    }
    to.push_back(y.mutable_data());
    parallel_for(images(), images_per_chunk(images()), [&](Index image, Index end) {
      for (; image < end; ++image) forward_image(image, to);
    });
    return y;
  }

  // The gradients of x, w, b, w, b, ...
  std::vector<Tensor> gradients(const Tensor& g) const {
    Tensor dx = Tensor::empty(x_.shape());
    const Tensor sums = sum_over_groups(
        {sums_}, images(), [&, to = dx.mutable_data()](Index image, Index count, Real* sum) {
          for (Index i = 0; i < count; ++i)
            add_image_gradients(image + i, g, i == 0, sum, to + (image + i) * x_.size() / images());
        });
    std::vector<Tensor> all{dx};
    for (const Stage& stage : stages_) stage.take_gradients(sums, g, all);
    return all;
  }

 private:
  Index images() const { return x_.size(0); }
  const Real* image_of(const Tensor& x, Index image) const {
    return x.data() + image * (x.size() / images());
  }

  // What stage number i makes of x: an activation, but for the last.
  void run(std::size_t i, const Real* x, Real* y) const {
    stages_[i].forward(x, y);
    if (i + 1 < stages_.size())
      for (Index k = 0; k < stages_[i].size; ++k) y[k] = y[k] < 0 ? Real(0) : y[k];
  }

  // to[i] is where the results of stage number i lie, null for those that nobody keeps.
  void forward_image(Index image, const std::vector<Real*>& to) const {
    const Workspace odd(largest_), even(largest_);
    const Real* x = image_of(x_, image);
    for (std::size_t i = 0; i < stages_.size(); ++i) {
      Real* y = to[i] ? to[i] + image * stages_[i].size : (i % 2 ? odd : even).data();
      run(i, x, y);
      x = y;
    }
  }

  void add_image_gradients(Index image, const Tensor& g, bool first, Real* sums, Real* dx) const {
    const Workspace first_activation(largest_), odd(largest_), even(largest_);
    if (stages_.size() > 1) run(0, image_of(x_, image), first_activation.data());
    const Real* d = image_of(g, image);
    for (std::size_t i = stages_.size(); i-- > 0;) {
      const Real* x = i == 0   ? image_of(x_, image)
                      : i == 1 ? first_activation.data()
                               : image_of(activations_[i - 1], image);
      stages_[i].add_gradients(d, x, first, sums);
      Real* to = i == 0 ? dx : (i % 2 ? odd : even).data();
      stages_[i].input_gradient(d, to);
      if (i > 0)
        for (Index k = 0; k < stages_[i - 1].size; ++k) to[k] = x[k] <= 0 ? Real(0) : to[k];
      d = to;
    }
  }

  Tensor x_;
  std::vector<Stage> stages_;
  std::vector<Tensor> activations_;  // those that are kept, of all stages but the last
  Index sums_ = 0;                   // how many Reals the gradients of all parameters are
  Index largest_ = 0;                // result of a stage for one image
};

// The same of separate ops.
Var of_ops(const Var& x, const std::vector<ConvLayer>& layers) {
  Var y = x;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const auto& [w, b, options] = layers[i];
    y = conv2d(i == 0 ? y : relu(y), w, b, options);
  }
  return y;
}

}  // namespace

// One node for what a net computes all at once: forward(keep), and gradients(g) of the inputs.
template <class Net, class... Arguments>
static Var record_net(const std::vector<Var>& inputs, Net net, const Arguments&... arguments) {
  bool keep = false;
  for (const Var& input : inputs) keep = keep || input.requires_grad();
  const Tensor y = net.forward(arguments..., keep && grad_enabled());
  return record("conv_net", y, joint_grad(inputs, [net = std::move(net)](const Tensor& g) {
                  return net.gradients(g);
                }));
}

Var conv_net(const Var& x, const std::vector<ConvLayer>& layers) {
  if (layers.empty()) fail("conv_net", "at least one layer expected");
  std::vector<Stage> stages;
  std::vector<DirectStage> direct_stages;
  std::vector<Var> inputs{x};
  Shape shape = x.shape();
  bool by_image = true, direct = true;
  for (const auto& [w, b, options] : layers) {
    const ConvGeometry g(shape, w.shape(), options);
    expect_shape(b.shape(), {g.O}, "the bias");
    shape = g.output();
    direct = direct && g.direct() && shape.size() > 0 && w.size() > 0;
    // Where an adjoint is not the last, its bias would be added up in another order than sum()'s.
    by_image = by_image && !g.direct() && shape.size() > 0 && w.size() > 0 &&
               !(g.unfolds_output() && stages.size() + 1 < layers.size());
    stages.emplace_back(g, w.value(), b.value());
    by_image = by_image && !stages.back().g.unfolds_rows();  // that is not for single images
    direct_stages.push_back({g, w.value(), b.value()});
    inputs.insert(inputs.end(), {w, b});
  }
  if (direct) return record_net(inputs, DirectNet(x.value(), std::move(direct_stages)));
  if (by_image) return record_net(inputs, ConvNet(x.value(), std::move(stages)), shape);
  return of_ops(x, layers);
}

}  // namespace backflow::inline BACKFLOW_PRECISION
