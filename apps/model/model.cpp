#include "backflow/apps/model/model.h"

#include <cmath>

#include "backflow/apps/data/purposes.h"
#include "backflow/flows/elementwise/activations.h"
#include "backflow/flows/elementwise/spline.h"
#include "backflow/flows/image/actnorm.h"
#include "backflow/flows/image/coupling.h"
#include "backflow/flows/image/preprocessing.h"
#include "backflow/flows/image/squeeze.h"
#include "backflow/flows/linear/conv1x1.h"
#include "backflow/flows/linear/conv_exponential.h"
#include "backflow/flows/linear/emerging.h"
#include "backflow/flows/linear/random_orthogonal.h"
#include "backflow/flows/linear/self_normalizing.h"
#include "backflow/ops/conv.h"
#include "backflow/ops/linalg.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct Model::Parts {
  std::vector<std::unique_ptr<Flow>> layers;
  Shape latent;
  NecessaryProducts products;
};

namespace {

// Tensors of a layer beside each other: number `which`, and row 0 of it alone.
Tensor normal(const Random& random, std::uint32_t which, const Shape& shape) {
  return random.normal({1, shape.size()}, which << 20).reshape(shape);
}

ReconstructionOptions reconstruction(const Config& c) {
  return {c.recon_weight, c.recon_symmetric, c.recon_only_R, c.geco_rate, c.geco_decay};
}

double standard_deviation(const Tensor& x) {
  const Tensor centered = x - mean(x);
  return std::sqrt(sum(centered * centered).item() / std::max<double>(1, x.size() - 1));
}

// Adds one layer after another and keeps account of the shape of an example on its way, and of the
// products that each layer needs.
class Builder {
 public:
  Builder(const Config& config, const ImageShape& image,
          const std::optional<ParameterBudget>& budget)
      : c_(config), budget_(budget), C_(image.channels), H_(image.height), W_(image.width) {
    const double a = c_.logit_alpha;
    add<Dequantization>();
    add<Normalization>(0.0, 256.0);
    add<Normalization>(-a, 1 / (1 - 2 * a));
    add<Logit>();
  }

  void fully_connected() {
    const Index D = C_ * H_ * W_;
    for (Index i = 0; i < c_.num_layers; ++i) {
      if (i > 0) activation();
      linear(D, Random(c_.seed, purposes::initialization, static_cast<std::uint32_t>(i)));
    }
    latent_ = {D};
  }

  void convolutions() {
    for (Index block = 0; block < c_.num_blocks; ++block) {
      if (block > 0) squeeze();
      for (Index i = 0; i < c_.block_size; ++i) {
        convolution();
        if (block < c_.num_blocks - 1 || i < c_.block_size - 1) activation();
      }
    }
    latent_ = {C_, H_, W_};
  }

  void glow() {
    for (Index block = 0; block < c_.num_blocks; ++block) {
      squeeze();
      for (Index i = 0; i < c_.block_size; ++i) {
        add<ActNorm>(C_);
        convolution();
        claim_coupling();
        add<Coupling>(C_, c_.width, random());
        count_coupling();
      }
      if (block == c_.num_blocks - 1) continue;
      claim_coupling();
      add<SplitPrior>(C_, c_.width, random());
      count_coupling();
      C_ /= 2;
    }
    latent_ = {C_, H_, W_};
  }

  std::vector<std::unique_ptr<Flow>> layers;
  NecessaryProducts products;
  const Shape& latent() const { return latent_; }

 private:
  template <class Layer, class... Arguments>
  void add(Arguments&&... arguments) {
    layers.push_back(std::make_unique<Layer>(std::forward<Arguments>(arguments)...));
  }

  // Before a layer of at least so many parameters is made.
  void claim(Index parameters) {
    claimed_ += parameters;
    if (budget_ && claimed_ > budget_->values)
      fail(budget_->file, "its tensors hold ", budget_->values,
           " values, but the model of its configuration has at least ", claimed_,
           "; no memory was asked for; is the file damaged?");
  }

  void claim_coupling() {
    claim(c_.width * (C_ / 2) * 9 + c_.width * c_.width + C_ * c_.width * 9);
  }

  // Of the layer that comes next.
  Random random() const {
    const auto index = static_cast<std::uint32_t>(layers.size() - preprocessing_layers);
    return Random(c_.seed, purposes::initialization, index);
  }

  void squeeze() {
    if (H_ % 2 != 0 || W_ % 2 != 0)
      fail("num_blocks", "images of ", H_, " x ", W_,
           " cannot be squeezed to half their size, but ", c_.num_blocks,
           " blocks ask for it; take fewer blocks, or images of another size");
    add<Squeeze>();
    C_ *= 4, H_ /= 2, W_ /= 2;
  }

  void activation() {
    const std::string& name = c_.activation;
    if (name == "identity") return add<Identity>();
    if (name == "leaky_relu") return add<LeakyReLU>(c_.alpha);
    if (name == "learnable_leaky_relu") return add<LearnableLeakyReLU>();
    if (name == "smooth_tanh") return add<SmoothTanh>(c_.alpha);
    if (name == "spline") return spline();
    add<SmoothLeakyReLU>(c_.alpha);
  }

  void spline() {
    constexpr Index bins = 5;
    constexpr Real spread = 0.01;
    const Random r = random();
    claim(C_ * H_ * W_ * (3 * bins - 1));
    add<SplineActivation>(normal(r, 0, {1, C_, H_, W_, bins}) * spread,
                          normal(r, 1, {1, C_, H_, W_, bins}) * spread,
                          normal(r, 2, {1, C_, H_, W_, bins - 1}) * spread);
  }

  // The authors' initial values: W = I and a bias as wide as the entries of that matrix; or, for
  // the relative gradient, a random orthogonal W and no bias. R = W^T, the inverse of both.
  void linear(Index D, const Random& r) {
    claim(D * D);
    const bool orthogonal = c_.init == "orthogonal";
    const Tensor W = orthogonal ? random_orthogonal(D, r) : Tensor::identity(D);
    const double spread = std::sqrt((1 - 1.0 / D) / D);
    const Tensor b = orthogonal ? Tensor::zeros({D}) : normal(r, 0, {D}) * spread;
    add_linear(W, transpose(W), b);
    // Self-normalizing: z, R z, W^T d_z, R^T e, dW, dR. Relative gradient: z, W^T z, W^T d_z, dW.
    // Exact: z, W^T d_z, dW, and 2 D^3 for an LU and an inverse.
    const int count = c_.layer == "self_normalizing" ? 6 : c_.layer == "exact" ? 3 : 4;
    count_product(count, {D}, {D, D});
    if (c_.layer == "exact") products.flop_per_step += 2.0 * D * D * D;
  }

  // Dirac's kernel and a little noise, or for a single tap a random orthogonal matrix; a bias as
  // wide as the noise; R is the flipped W.
  void same_convolution() {
    const Index K = c_.kernel_size;
    const Random r = random();
    const Shape shape{C_, C_, K, K};
    claim(shape.size());
    const double gain = 0.01, fan = static_cast<double>(C_ * K * K);
    const Tensor noise = normal(r, 1, shape) * (gain * std::sqrt(1 / fan));  // Xavier's normal
    Tensor W = noise;
    if (K == 1) {
      W = random_orthogonal(C_, r).reshape(shape);
    } else {
      for (Index c = 0; c < C_; ++c) W.mutable_data()[((c * C_ + c) * K + K / 2) * K + K / 2] += 1;
    }
    add_linear(W, flip_kernel(W), normal(r, 2, {C_}) * standard_deviation(noise));
    count_conv(c_.layer == "self_normalizing" ? 6 : 3, shape);
  }

  void add_linear(const Tensor& W, const Tensor& R, const Tensor& b) {
    if (c_.layer == "exact") return add<Exact>(W, b);
    if (c_.layer == "relative_gradient") return add<RelativeGradient>(W, b);
    add<SelfNormalizing>(W, R, b, reconstruction(c_));
  }

  void convolution() {
    claim(C_ * C_);
    if (c_.layer == "emerging") {
      add<Emerging>(C_, random());
      count_conv(3, {C_, C_, 1, 1});
      count_conv(2 * 3, {C_, C_, 2, 2});
    } else if (c_.layer == "exponential") {
      constexpr int terms = 6;
      add<ConvExponential>(C_, H_, W_, random());
      count_conv(3, {C_, C_, 1, 1});
      count_conv(3 * terms, {C_, C_, 3, 3});
    } else if (c_.layer == "conv1x1") {
      add<Conv1x1>(random_orthogonal(C_, random()));
      count_conv(3, {C_, C_, 1, 1});
    } else {
      same_convolution();
    }
  }

  void count_product(int times, const Shape& x, const Shape& w) {
    const auto flop = [](const Shape& x, const Shape& w) {
      return w.rank() == 0 ? 0 : 2.0 * w.size() * (w.rank() == 4 ? x[1] * x[2] : 1);
    };
    products.flop_per_example += times * flop(x, w);
    if (flop(x, w) > flop(products.x, products.w)) products.x = x, products.w = w;
  }

  void count_conv(int times, const Shape& w) { count_product(times, {w[1], H_, W_}, w); }

  // Value, gradient of the input, gradient of the weights.
  void count_coupling() {
    count_conv(3, {c_.width, C_ / 2, 3, 3});
    count_conv(3, {c_.width, c_.width, 1, 1});
    count_conv(3, {C_, c_.width, 3, 3});
  }

  static constexpr std::size_t preprocessing_layers = 4;

  const Config& c_;
  const std::optional<ParameterBudget>& budget_;
  Index claimed_ = 0;
  Index C_, H_, W_;
  Shape latent_;
};

}  // namespace

ImageShape image_shape_of(const std::string& dataset) {
  if (dataset == "mnist" || dataset == "fashion_mnist") return {1, 28, 28};
  return {3, 32, 32};
}

Model::Parts Model::build(const Config& config, const ImageShape& image,
                          const std::optional<ParameterBudget>& budget) {
  Builder builder(config, image, budget);
  if (config.architecture == "fc") builder.fully_connected();
  if (config.architecture == "cnn") builder.convolutions();
  if (config.architecture == "glow") builder.glow();
  return {std::move(builder.layers), builder.latent(), builder.products};
}

Model::Model(const Config& config, const ImageShape& image,
             const std::optional<ParameterBudget>& budget)
    : Model(build(config, image, budget), config, image) {}

Model::Model(Parts parts, const Config& config, const ImageShape& image)
    : image_(image),
      has_learned_inverse_(config.layer == "self_normalizing"),
      objective_is_likelihood_(config.layer == "exact" || config.layer == "conv1x1" ||
                               config.layer == "emerging"),
      products_(parts.products),
      flow_(std::make_unique<Sequential>(std::move(parts.layers))),
      density_(*flow_, parts.latent) {}

Index Model::parameter_count() const {
  Index count = 0;
  for (const auto& [name, parameter] : flow_->parameters()) count += parameter->value().size();
  return count;
}

Index parameter_count(Config config, const ImageShape& image) {
  const Index steps = config.block_size;
  const auto with_steps = [&](Index n) {
    config.block_size = n;
    return Model(config, image).parameter_count();
  };
  if (config.architecture != "glow" || steps < 3) return with_steps(steps);
  const Index one = with_steps(1);
  return one + (steps - 1) * (with_steps(2) - one);
}

}  // namespace backflow::inline BACKFLOW_PRECISION
