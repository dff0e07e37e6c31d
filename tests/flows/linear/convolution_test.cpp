// The linear layers as convolutions: equal to the dense layers of their Toeplitz matrices.
#include "backflow/flows/density.h"
#include "backflow/flows/linear/self_normalizing.h"
#include "backflow/flows/sequential.h"
#include "backflow/ops/conv.h"
#include "backflow/ops/conv_lu.h"
#include "backflow/ops/matmul.h"
#include "backflow/ops/shape.h"
#include "backflow/tests/factorizations.h"
#include "backflow/tests/flows/check_flow.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr double tolerance = in_double ? 1e-9 : 2e-3;

Tensor normal(const Shape& shape, std::uint64_t seed) { return Random(seed).normal(shape); }

Tensor near_dirac(const Shape& shape, std::uint64_t seed, double noise = 0.1) {
  Tensor w = normal(shape, seed) * noise;
  const Index K = shape[2], L = shape[3];
  for (Index c = 0; c < shape[0]; ++c)
    w.mutable_data()[((c * shape[1] + c) * K + K / 2) * L + L / 2] += 1;
  return w;
}

// The matrix of a convolution: its columns are the images of the unit vectors.
Tensor toeplitz(const Tensor& w, Index H, Index W) {
  const Index n = w.size(1) * H * W;
  const Tensor units = Tensor::identity(n).reshape({n, w.size(1), H, W});
  return transpose(conv2d(units, w, Conv2d::same(w.shape())).reshape({n, n}));
}

struct Case {
  Shape x, w;
};
const std::vector<Case> cases = {{{3, 2, 4, 5}, {2, 2, 3, 3}},
                                 {{2, 1, 6, 4}, {1, 1, 5, 3}},
                                 {{3, 3, 3, 2}, {3, 3, 1, 1}},
                                 {{2, 2, 2, 2}, {2, 2, 5, 5}},
                                 {{1, 4, 1, 1}, {4, 4, 3, 3}}};

template <class F>
void for_each_case(const F& f) {
  for (const Case& c : cases) {
    std::ostringstream what;
    what << c.x << " by " << c.w;
    SCOPED_TRACE(what.str());
    f(c);
  }
}

TEST(ConvolutionFlows, AreFlows) {
  Pass pass;
  pass.inverse = Inverse::exact;
  for_each_case([&](const Case& c) {
    const Tensor W = near_dirac(c.w, 1), R = near_dirac(c.w, 2), b = normal({c.w[0]}, 3);
    const Tensor x = normal(c.x, 4), extremes = normal(c.x, 5) * 1e6;
    check_flow("exact", Exact(W, b), x, extremes);
    check_flow("self-normalizing", SelfNormalizing(W, R, b), x, extremes, pass);
  });
}

// The gradients in train mode of sum(z * gz) + sum(logdet * gl) - weight * loss.
struct Trained {
  Tensor z, x, W, b, R, loss;
  Trained(const SelfNormalizing& flow, const Tensor& input, const Tensor& gz, const Tensor& gl) {
    const Var leaf = Var::leaf(input);
    Pass pass;
    pass.mode = Mode::train;
    const Out out = flow.forward(leaf, pass);
    loss = pass.losses.at(0).value.value();
    const Var root = sum(out.z * gz) + sum(out.logdet * gl) - pass.losses[0].value * 1.5;
    const Gradients gradients = backward(root);
    const auto parameters = flow.parameters();
    z = out.z.value(), x = gradients[leaf];
    W = gradients[*parameters[0].parameter], b = gradients[*parameters[1].parameter];
    R = gradients[*parameters[2].parameter];
  }
};

// Sums the gradient of a dense matrix over the places where each entry of the kernel stands.
Tensor onto_kernel(const Tensor& gradient, const Tensor& w, Index H, Index W) {
  const Var kernel = Var::leaf(w);
  const Index n = w.size(1) * H * W;
  const Tensor units = Tensor::identity(n).reshape({n, w.size(1), H, W});
  const Var columns = reshape(conv2d(units, kernel, Conv2d::same(w.shape())), Shape{n, n});
  return backward(sum(columns * transpose(gradient)))[kernel];
}

TEST(SelfNormalizingConvolution, IsTheDenseLayerOfItsToeplitzMatrices) {
  for_each_case([](const Case& c) {
    for (bool symmetric : {false, true}) {
      const Index B = c.x[0], H = c.x[2], width = c.x[3], n = c.x[1] * H * width;
      const Tensor W = near_dirac(c.w, 1), R = near_dirac(c.w, 2), b = normal({c.w[0]}, 3);
      const Tensor dense_b = broadcast_to(b.reshape({c.w[0], 1, 1}), {c.w[0], H, width});
      const ReconstructionOptions options{1, symmetric, false};
      const SelfNormalizing conv(W, R, b, options);
      const SelfNormalizing dense(toeplitz(W, H, width), toeplitz(R, H, width),
                                  dense_b.reshape({n}), options);
      const Tensor x = normal(c.x, 4), gz = normal(c.x, 5), gl = normal({B}, 6);
      const Trained ours(conv, x, gz, gl);
      const Trained expected(dense, x.reshape({B, n}), gz.reshape({B, n}), gl);
      expect_close(ours.z, expected.z.reshape(c.x), tolerance, "z");
      expect_close(ours.x, expected.x.reshape(c.x), tolerance, "gradient of x");
      expect_close(ours.loss, expected.loss, tolerance, "loss");
      expect_close(ours.W, onto_kernel(expected.W, W, H, width), tolerance, "gradient of W");
      expect_close(ours.R, onto_kernel(expected.R, R, H, width), tolerance, "gradient of R");
      expect_close(ours.b, sum(expected.b.reshape({c.w[0], H, width}), {1, 2}), tolerance,
                   "gradient of b");
    }
  });
}

TEST(ConvolutionFlows, HaveTheLogdetAndInverseOfTheirToeplitzMatrix) {
  for_each_case([](const Case& c) {
    const Tensor W = near_dirac(c.w, 1), b = normal({c.w[0]}, 3), z = normal(c.x, 4);
    const Index H = c.x[2], width = c.x[3], n = c.x[1] * H * width;
    const LU lu(toeplitz(W, H, width));
    const Exact flow(W, b);
    EXPECT_NEAR(flow.forward(z).logdet.value()[0], lu.log_abs_det(), tolerance);
    const Tensor shifted = (z - b.reshape({c.w[0], 1, 1})).reshape({c.x[0], n});
    const Tensor expected = transpose(lu.solve(transpose(shifted))).reshape(c.x);
    expect_close(flow.inverse(z), expected, tolerance, "inverse");
  });
}

TEST(ConvolutionFlows, FactoriseOnceUntilTheWeightsOrTheImagesChange) {
  const Tensor W = near_dirac({2, 2, 3, 3}, 1);
  Exact flow(W, Tensor::zeros({2}));
  const Tensor x = normal({3, 2, 4, 4}, 2);
  const auto walks = [&](const Tensor& x) {
    return factorizations_of([&] {
      for (int i = 0; i < 3; ++i) {
        flow.forward(x);
        flow.inverse(x);
      }
    });
  };
  const Index once = factorizations_of([&] { ConvLU(W, 4, 4); });
  const Index once_if_wider = factorizations_of([&] { ConvLU(W, 4, 6); });
  EXPECT_EQ(walks(x), once);
  EXPECT_EQ(walks(x), 0);
  EXPECT_EQ(walks(normal({7, 2, 4, 4}, 2)), 0);  // another batch, the same image
  EXPECT_EQ(walks(normal({3, 2, 4, 6}, 2)), once_if_wider);
  flow.parameters()[0].parameter->update([](Tensor&) {});
  EXPECT_EQ(walks(normal({3, 2, 4, 6}, 2)), once_if_wider);
}

TEST(SelfNormalizingConvolution, TrainingAndLearnedSamplingFactoriseNothing) {
  const SelfNormalizing flow(near_dirac({2, 2, 3, 3}, 1), near_dirac({2, 2, 3, 3}, 2),
                             Tensor::zeros({2}));
  const Index before = factorizations();
  const Tensor x = normal({3, 2, 4, 4}, 2);
  Trained(flow, x, x, normal({3}, 1));
  flow.inverse(x);
  EXPECT_EQ(factorizations(), before);
}

TEST(ConvolutionFlows, NeedNoDenseFactorization) {
  const Exact flow(near_dirac({4, 4, 3, 3}, 1, 0.05), Tensor::zeros({4}));
  const Tensor x = normal({2, 4, 14, 14}, 2);
  const Index tallest = tallest_factorization_of([&] {
    const Out out = flow.forward(x);
    backward(sum(out.logdet));
    flow.inverse(x);
  });
  EXPECT_EQ(tallest, 2 * 14 * 4);  // two image rows: the whole image is seven times as high
}

TEST(Sequential, FactorisesItsLayersBeforeTheWalk) {
  std::vector<std::unique_ptr<Flow>> layers;
  for (int i = 0; i < 5; ++i)
    layers.push_back(std::make_unique<Exact>(near_dirac({2, 2, 3, 3}, i), Tensor::zeros({2})));
  const Sequential flow(std::move(layers));
  const Tensor x = normal({3, 2, 4, 4}, 2);
  expect_same_bits_on_any_threads([&] {
    std::vector<Tensor> all;
    for (int step = 0; step < 2; ++step) {  // the first time no layer knows its images yet
      for (const auto& [name, parameter] : flow.parameters()) parameter->update([](Tensor&) {});
      const Out out = flow.forward(x);
      const Gradients gradients = backward(sum(out.z) + sum(out.logdet));
      all.push_back(out.logdet.value());
      for (const auto& [name, parameter] : flow.parameters()) all.push_back(gradients[*parameter]);
    }
    return all;
  });
}

// ---- GECO -------------------------------------------------------------------------------------

TEST(Geco, WeightGrowsWithTheMovingAverageOfTheLoss) {
  ReconstructionOptions options;
  options.weight = 2, options.geco_rate = 0.01, options.geco_decay = 0.75;
  const SelfNormalizing flow(near_dirac({2, 2, 3, 3}, 1), near_dirac({2, 2, 3, 3}, 2),
                             Tensor::zeros({2}), options);
  double weight = 2, average = 0;
  for (int step = 0; step < 4; ++step) {
    Pass pass;
    pass.mode = Mode::train;
    flow.forward(normal({3, 2, 4, 4}, 10 + step), pass);
    const auto& [value, used, adapt] = pass.losses.at(0);
    EXPECT_NEAR(used, weight, 1e-5 * weight);
    const double loss = value.item();
    average = step == 0 ? loss : 0.75 * average + 0.25 * loss;
    weight *= std::exp(0.01 * average);
    adapt(loss);
  }
  EXPECT_GT(weight, 2);
}

TEST(Geco, WeightAndAverageAreBuffers) {
  ReconstructionOptions options;
  options.geco_rate = 0.01;
  const Tensor w = near_dirac({2, 2, 3, 3}, 1), b = Tensor::zeros({2});
  std::vector<std::string> names;
  const SelfNormalizing adaptive(w, w, b, options);
  for (const auto& [name, buffer] : adaptive.buffers()) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"recon_loss_weight", "recon_loss_ema"}));
  EXPECT_TRUE(SelfNormalizing(w, w, b).buffers().empty());
}

// ---- Errors -------------------------------------------------------------------------------------

TEST(ConvolutionFlows, WrongShapesAreNamed) {
  const auto error = [](const Shape& w, const Shape& b) {
    return error_of([&] { Exact(Tensor::zeros(w), Tensor::zeros(b)); });
  };
  EXPECT_EQ(error({2, 3, 3, 3}, {2}),
            "[linear] W must keep the number of channels, its shape is (2, 3, 3, 3)");
  EXPECT_EQ(error({2, 2, 2, 2}, {2}),
            "[linear] W must be kernels of odd sizes, its shape is (2, 2, 2, 2)");
  EXPECT_EQ(error({2, 2, 3, 3}, {3}),
            "[linear] W is (2, 2, 3, 3), so b must be (2), its shape is (3)");
  EXPECT_EQ(error_of([] {
              RelativeGradient(Tensor::zeros({2, 2, 3, 3}), Tensor::zeros({2}));
            }),
            "[relative_gradient] W must be a square matrix, its shape is (2, 2, 3, 3)");
  const Exact flow(near_dirac({2, 2, 3, 3}, 1), Tensor::zeros({2}));
  for (const Shape& shape : {Shape{3, 8}, Shape{3, 1, 4, 4}})
    EXPECT_NE(error_of([&] { flow.forward(Tensor::zeros(shape)); }).find("images with 2 channels"),
              std::string::npos);
}

TEST(ConvolutionFlows, SingularWeightsFailOnlyWhereTheirInverseIsNeeded) {
  const Tensor W = Tensor::zeros({2, 2, 3, 3}), x = normal({3, 2, 4, 4}, 1);
  const SelfNormalizing flow(W, W, Tensor::zeros({2}));
  Pass pass;
  pass.mode = Mode::train;
  EXPECT_EQ(error_of([&] { flow.forward(x, pass), flow.inverse(x); }), "no error");
  EXPECT_NE(error_of([&] { flow.forward(x); }).find("singular"), std::string::npos);
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
