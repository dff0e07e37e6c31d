// Against tensors computed by the authors' published code (PyTorch, float64) at
// https://github.com/akandykeller/SelfNormalizingFlows.
//
// Their sign: it minimises a negative log-likelihood, a mean over the batch. So with gz the
// gradient of -log p_Z at z, the log-determinant enters once per batch, subtracted:
//
//   grad_W = 1/2 (gz^T x - R^T),   grad_R = 1/2 (-(gz W)^T z + W^T),
//
// with examples as rows. Our override is linear in its seeds and adds 1/2 sum(logdet seed) R^T to
// the gradient of W, -1/2 sum(logdet seed) W^T to that of R. So theirs is ours with the seed grad_z
// at z and -1/B at each of the B log-determinants: what minimising -mean(log_prob) seeds. The
// reconstruction loss is minimised on both sides.
#include "backflow/tests/flows/vectors.h"

#include <gtest/gtest-spi.h>

#include "backflow/flows/elementwise/activations.h"
#include "backflow/flows/elementwise/spline.h"
#include "backflow/flows/image/actnorm.h"
#include "backflow/flows/image/coupling.h"
#include "backflow/flows/image/preprocessing.h"
#include "backflow/flows/image/squeeze.h"
#include "backflow/flows/linear/conv1x1.h"
#include "backflow/flows/linear/conv_exponential.h"
#include "backflow/flows/linear/emerging.h"
#include "backflow/flows/linear/self_normalizing.h"
#include "backflow/flows/sequential.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

void expect_flow(Vectors& vectors, const Flow& flow) {
  for (const auto& [name, parameter] : flow.parameters()) parameter->set(vectors["param." + name]);
  const Var x = Var::leaf(vectors["x"]);
  Pass pass;
  const Out out = flow.forward(x, pass);
  vectors.expect("y", out.z.value());
  vectors.expect("logdet", out.logdet.value());
  const Tensor inverse = flow.inverse(out.z.value(), pass);
  vectors.expect("y", flow.forward(inverse, pass).z.value());
  const bool known = vectors.has("inverse_of_y");
  if (in_double) vectors.expect("x", inverse);  // floats may lose it where a layer squeezes much
  if (in_double && known) vectors.expect("inverse_of_y", inverse);
  if (known) vectors["inverse_of_y"];
  const Gradients gradients =
      backward(sum(out.z * vectors["grad_y"]) + sum(out.logdet * vectors["grad_logdet"]));
  vectors.expect("grad_x", gradients[x]);
  for (const auto& [name, parameter] : flow.parameters())
    vectors.expect("grad." + name, gradients[*parameter]);
}

TEST(Vectors, SmoothLeakyReLU) {
  Vectors vectors("smooth_leaky_relu");
  expect_flow(vectors, SmoothLeakyReLU());
}

TEST(Vectors, SmoothTanh) {
  Vectors vectors("smooth_tanh");
  expect_flow(vectors, SmoothTanh());
}

TEST(Vectors, LearnableLeakyReLU) {
  Vectors vectors("learnable_leaky_relu");
  expect_flow(vectors, LearnableLeakyReLU());
}

TEST(Vectors, SplineOfEachPixel) {
  Vectors vectors("spline_individual");
  const Tensor knots = Tensor::zeros({1, 2, 3, 3, 5}), inner = Tensor::zeros({1, 2, 3, 3, 4});
  expect_flow(vectors, SplineActivation(knots, knots, inner));
}

TEST(Vectors, SplineOfAllPixels) {
  Vectors vectors("spline_shared");
  const Tensor knots = Tensor::zeros({5}), inner = Tensor::zeros({4});
  expect_flow(vectors, SplineActivation(knots, knots, inner));
}

TEST(Vectors, Preprocessing) {
  Vectors vectors("preprocess");
  std::vector<std::unique_ptr<Flow>> layers;
  layers.push_back(std::make_unique<Normalization>(0, 256));
  layers.push_back(std::make_unique<Normalization>(-1e-6, 1 / (1 - 2e-6)));
  layers.push_back(std::make_unique<Logit>());
  const Out out = Sequential(std::move(layers)).forward(vectors["pixels"] + vectors["noise"]);
  vectors.expect("y", out.z.value());
  vectors.expect("logdet", out.logdet.value());
}

// ---- The layer of the paper -------------------------------------------------------------------

// Fully connected in selfnorm_fc, whose kernels have one tap; else a convolution.
struct Layer : SelfNormalizing {
  explicit Layer(Vectors& vectors, ReconstructionOptions options = {})
      : SelfNormalizing(weights(vectors, "W"), weights(vectors, "R"), vectors["b"], options) {}
  static Tensor weights(Vectors& vectors, const std::string& name) {
    const Tensor w = vectors[name];
    return vectors["x"].rank() == 2 ? w.reshape({w.size(0), w.size(1)}) : w;
  }
  const Parameter& W = *parameters()[0].parameter;
  const Parameter& b = *parameters()[1].parameter;
  const Parameter& R = *parameters()[2].parameter;
};

void expect_training(Vectors& vectors) {
  const Layer layer(vectors);
  const Var x = Var::leaf(vectors["x"]);
  Pass pass;
  pass.mode = Mode::train;
  const Out out = layer.forward(x, pass);
  vectors.expect("z", out.z.value());
  const Gradients gradients = backward(sum(out.z * vectors["grad_z"]) - mean(out.logdet));
  vectors.expect("grad_x", gradients[x]);
  vectors.expect("grad_W", gradients[layer.W]);
  vectors.expect("grad_R", gradients[layer.R]);
  vectors.expect("grad_b", gradients[layer.b]);
}

void expect_reconstruction(Vectors& vectors, const std::string& name,
                           const ReconstructionOptions& options) {
  const Layer layer(vectors, options);
  Pass pass;
  pass.mode = Mode::train;
  layer.forward(vectors["x"], pass);
  const Var loss = pass.losses.at(0).value;
  const Gradients gradients = backward(loss);
  vectors.expect(name + "_loss", loss.value());
  vectors.expect(name + "_grad_W", gradients[layer.W]);
  vectors.expect(name + "_grad_R", gradients[layer.R]);
}

void expect_evaluation(Vectors& vectors) {
  const Layer layer(vectors);
  const Out out = layer.forward(vectors["x"]);
  const Var logabsdet = mean(out.logdet);  // the same for each example
  vectors.expect("z", out.z.value());
  vectors.expect("logabsdet", logabsdet.value());
  vectors.expect("grad_logabsdet_W", backward(logabsdet)[layer.W]);
  Pass pass;
  pass.inverse = Inverse::exact;
  vectors.expect("inverse_exact", layer.inverse(vectors["z"], pass));
  pass.inverse = Inverse::learned;
  vectors.expect("inverse_learned", layer.inverse(vectors["z"], pass));
}

TEST(Vectors, SelfNormalizing) {
  for (const char* name : {"selfnorm_fc", "selfnorm_conv1", "selfnorm_conv3", "selfnorm_conv5"}) {
    Vectors vectors(name);
    expect_training(vectors);
    expect_reconstruction(vectors, "recon", {});
    expect_reconstruction(vectors, "recon_sym", {.symmetric = true});
    expect_reconstruction(vectors, "recon_only_R", {.only_R = true});
    expect_evaluation(vectors);
  }
}

// ---- Its rivals and companions ------------------------------------------------------------------

TEST(Vectors, ActNorm) {
  Vectors vectors("actnorm");
  expect_flow(vectors, ActNorm(3));
  Vectors first_batch("actnorm_init");
  const ActNorm flow(3);
  Pass pass;
  pass.mode = Mode::train;
  flow.forward(first_batch["x"], pass);
  for (const auto& [name, parameter] : flow.parameters())
    first_batch.expect(name, parameter->value());
}

TEST(Vectors, Conv1x1) {
  Vectors vectors("conv1x1"), householder("conv1x1_householder");
  expect_flow(vectors, Conv1x1(Tensor::identity(4)));
  expect_flow(householder, HouseholderConv1x1(Tensor::zeros({3, 5})));
}

TEST(Vectors, ImageCoupling) {
  Vectors vectors("coupling");
  expect_flow(vectors, ImageCoupling(4, 8, Random(1)));
}

TEST(Vectors, SplitPrior) {
  Vectors vectors("split_prior");
  expect_flow(vectors, SplitPrior(4, 8, Random(1)));
}

TEST(Vectors, AutoregressiveConv) {
  Vectors vectors("emerging_conv");
  expect_flow(vectors, AutoregressiveConv(Tensor::zeros({4, 4, 2, 2}), Tensor::zeros({4})));
}

TEST(Vectors, ConvolutionExponential) {
  Vectors vectors("conv_exponential");
  constexpr int terms = 12;
  const Var x = Var::leaf(vectors["x"]), kernel = Var::leaf(vectors["kernel"]);
  const Var y = conv_exp(x, kernel, terms);
  vectors.expect("y", y.value());
  const Tensor identity = Tensor::identity(3);
  const Var centre = slice(slice(kernel, 2, 1, 2), 3, 1, 2);  // its trace, for each of 5 x 5 pixels
  const Var logdet = 25.0 * sum(reshape(centre, {3, 3}) * identity);
  vectors.expect("logdet", logdet.value());
  const Gradients gradients = backward(sum(y * vectors["grad_y"]) + logdet);
  vectors.expect("grad_kernel", gradients[kernel]);
  vectors.expect("grad_x", gradients[x]);
  vectors.expect("inverse_of_y", conv_exp(y.value(), -kernel.value(), terms).value());
}

TEST(Vectors, Squeeze) {
  Vectors vectors("squeeze");
  vectors.expect("y", Squeeze().forward(vectors["x"]).z.value());
  vectors.expect("x", Unsqueeze().forward(vectors["y"]).z.value());
}

TEST(Vectors, ATensorThatIsNeverComparedFails) {
  EXPECT_NONFATAL_FAILURE(
      {
        Vectors vectors("preprocess");
        for (const char* tensor : {"pixels", "noise", "y"}) vectors[tensor];
      },
      "preprocess holds 'logdet', never compared");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
