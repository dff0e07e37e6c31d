// Convolutions as one op, against the same of separate ops.
#include "backflow/ops/conv_net.h"

#include <thread>

#include "backflow/engine/trace.h"
#include "backflow/ops/gradcheck.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/random.h"
#include "backflow/ops/reduce.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Vars = std::vector<Var>;
using Bits = std::vector<std::vector<Real>>;
using Options = std::vector<Conv2d>;

struct Case {
  std::string what;
  Shape x;
  std::vector<Shape> w;
  Options options;
};

const Conv2d same = Conv2d::padded(1);
// A coupling's: 1 to 3 channels inside of 40 to 600.
const Case coupling{
    "coupling", {9, 3, 5, 6}, {{200, 3, 3, 3}, {200, 200, 1, 1}, {6, 200, 3, 3}}, {same, {}, same}};
const std::vector<Case> by_image = {
    coupling,
    {"one layer", {9, 30, 4, 4}, {{40, 30, 3, 3}}, {same}},
    {"one adjoint layer", {9, 40, 4, 4}, {{30, 40, 3, 3}}, {same}},
    {"two layers", {3, 2, 4, 7}, {{300, 2, 3, 3}, {4, 300, 3, 3}}, {same, same}},
    {"five layers of many sizes",
     {17, 4, 9, 8},
     {{150, 4, 3, 3}, {30, 150, 1, 1}, {40, 30, 3, 3}, {50, 40, 2, 2}, {20, 50, 3, 3}},
     {Conv2d::padded(1, 2), {}, {}, Conv2d::padded(2), same}},
    {"an image", {1, 2, 1, 1}, {{300, 2, 3, 3}, {2, 300, 1, 1}}, {same, {}}}};
// Few channels everywhere; 300 images are more than two in each eighth of what is shared out.
const Case few{
    "few channels", {19, 2, 5, 6}, {{8, 2, 3, 3}, {8, 8, 1, 1}, {4, 8, 3, 3}}, {same, {}, same}};
const std::vector<Case> direct = {
    few,
    {"one layer of few channels", {9, 3, 4, 4}, {{5, 3, 3, 3}}, {same}},
    {"many images", {300, 1, 3, 3}, {{9, 1, 3, 3}, {2, 9, 2, 2}}, {same, {1, 1, 0, 0, 1}}},
    {"wide rows",
     {3, 1, 2, 40},
     {{3, 1, 1, 35}, {17, 3, 3, 1}, {2, 17, 1, 1}},
     {{1, 0, 17, 0, 17}, {1, 1, 0, 1, 0}, {}}},
    {"a pixel", {2, 2, 1, 1}, {{17, 2, 3, 3}, {2, 17, 1, 1}}, {same, {}}}};
const std::vector<Case> by_ops = {
    {"few channels at the end", {5, 3, 4, 4}, {{200, 3, 3, 3}, {2, 200, 1, 1}}, {same, {}}},
    {"products per row of the kernel", {3, 55, 4, 4}, {{60, 55, 3, 3}}, {same}},
    {"an adjoint in between",
     {9, 3, 4, 4},
     {{200, 3, 3, 3}, {20, 200, 3, 3}, {40, 20, 3, 3}},
     {same, same, same}},
    {"no image", {0, 3, 4, 4}, {{200, 3, 3, 3}, {200, 200, 1, 1}}, {same, {}}}};

template <class F>
void for_each_case(const F& f) {
  for (const auto* cases : {&by_image, &direct, &by_ops})
    for (const Case& c : *cases) {
      SCOPED_TRACE(c.what);
      f(c);
    }
}

std::vector<ConvLayer> layers_of(const Vars& in, const Options& options) {
  std::vector<ConvLayer> layers;
  for (std::size_t i = 0; i < options.size(); ++i)
    layers.push_back({in[1 + 2 * i], in[2 + 2 * i], options[i]});
  return layers;
}

Var fused(const Vars& in, const Options& options) {
  return conv_net(in[0], layers_of(in, options));
}

Var of_separate_ops(const Vars& in, const Options& options) {
  Var y = conv2d(in[0], in[1], in[2], options[0]);
  for (std::size_t i = 1; i < options.size(); ++i)
    y = conv2d(relu(y), in[1 + 2 * i], in[2 + 2 * i], options[i]);
  return y;
}

// x, w, b, w, b, ...
std::vector<Tensor> values_for(const Case& c) {
  std::vector<Tensor> in{Random(1).normal(c.x)};
  for (const Shape& w : c.w) {
    in.push_back(Random(in.size() + 1).normal(w) * Real(0.1));
    in.push_back(Random(in.size() + 1).normal({w[0]}));
  }
  return in;
}

Vars leaves_for(const Case& c) {
  Vars leaves;
  for (const Tensor& x : values_for(c)) leaves.push_back(Var::leaf(x));
  return leaves;
}

using Net = Var (*)(const Vars&, const Options&);

// The value, and the gradients of the sum of its squares.
std::vector<Tensor> value_and_gradients(Net net, const Vars& leaves, const Options& options) {
  const Var y = net(leaves, options);
  std::vector<Tensor> all = gradients(sum(square(y)), leaves);
  all.push_back(y.value());
  return all;
}

// As unsigned numbers would be: NaN is equal to NaN, and 0 is not -0.
void expect_same_bits(const std::vector<Tensor>& found, const std::vector<Tensor>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t k = 0; k < found.size(); ++k) {
    ASSERT_EQ(found[k].shape(), expected[k].shape()) << k;
    for (Index i = 0; i < found[k].size(); ++i) {
      const Real a = found[k][i], b = expected[k][i];
      ASSERT_TRUE((std::isnan(a) && std::isnan(b)) ||
                  (a == b && std::signbit(a) == std::signbit(b)))
          << "tensor " << k << ", element " << i << ": " << a << " and " << b;
    }
  }
}

class Ops : public Tracer {
 public:
  void on_forward(const char* op, std::span<const Tensor>) override { names.emplace_back(op); }
  void on_backward(const char*, std::span<const Tensor>) override {}
  std::vector<std::string> names;
};

TEST(ConvNet, ValuesAndGradientsHaveTheBitsOfSeparateOps) {
  for_each_case([](const Case& c) {
    const Vars in = leaves_for(c);
    expect_same_bits(value_and_gradients(fused, in, c.options),
                     value_and_gradients(of_separate_ops, in, c.options));
  });
}

TEST(ConvNet, IsOneOpWhereAllLayersHaveManyChannelsOrAllHaveFew) {
  for (const auto* cases : {&by_image, &direct})
    for (const Case& c : *cases) {
      const Vars in = leaves_for(c);
      Ops ops;
      fused(in, c.options);
      EXPECT_EQ(ops.names, std::vector<std::string>{"conv_net"}) << c.what;
    }
  for (const Case& c : by_ops) {
    const Vars in = leaves_for(c);
    Ops ops;
    fused(in, c.options);
    EXPECT_EQ(ops.names.front(), "conv2d") << c.what;
  }
}

TEST(ConvNet, GradientsAgreeWithDifferences) {
  const Case many{
      "", {2, 2, 3, 3}, {{300, 2, 3, 3}, {20, 300, 1, 1}, {30, 20, 3, 3}}, {same, {}, same}};
  const Case some{"", {2, 2, 3, 3}, {{10, 2, 3, 3}, {4, 10, 1, 1}, {3, 4, 3, 3}}, {same, {}, same}};
  for (const Case& c : {many, some}) {
    std::vector<Tensor> in = values_for(c);
    in[2] = in[2] * Real(0.1) + Tensor(Real(4));  // far from the kinks of ReLU, on either side
    for (Index i = 0; i < in[2].size() / 2; ++i) in[2].mutable_data()[i] -= 8;
    in[4] = in[4] * Real(0.1) + Tensor(Real(20));
    const auto report = gradcheck([&](const Vars& v) { return Vars{fused(v, c.options)}; }, in);
    EXPECT_TRUE(report) << report.failure;
  }
}

TEST(ConvNet, SameBitsOnAnyThreads) {
  for_each_case([](const Case& c) {
    expect_same_bits_on_any_threads(
        [&] { return value_and_gradients(fused, leaves_for(c), c.options); });
  });
}

TEST(ConvNet, SeveralThreadsMayEachHaveTheirs) {
  for (const Case& c : {coupling, few}) {
    const Vars in = leaves_for(c);
    const auto expected = value_and_gradients(of_separate_ops, in, c.options);
    std::vector<std::vector<Tensor>> found(4);
    std::vector<std::thread> all;
    for (auto& each : found)
      all.emplace_back([&] { each = value_and_gradients(fused, in, c.options); });
    for (std::thread& thread : all) thread.join();
    for (const auto& each : found) expect_same_bits(each, expected);
  }
}

TEST(ConvNet, NanAndInfinityPassAsThroughSeparateOps) {
  constexpr Real nan = std::numeric_limits<Real>::quiet_NaN();
  constexpr Real infinity = std::numeric_limits<Real>::infinity();
  for (const Case& c : {coupling, few})
    for (const std::size_t number : {0, 1, 2, 4, 6})
      for (const Real value : {nan, infinity, -infinity}) {
        SCOPED_TRACE(value);
        std::vector<Tensor> values = values_for(c);
        values[number].mutable_data()[1] = value;
        const Vars in(values.begin(), values.end());
        const Tensor y = fused(in, c.options).value();
        expect_same_bits({y}, {of_separate_ops(in, c.options).value()});
        if (std::isnan(value)) {
          EXPECT_TRUE(
              std::any_of(y.data(), y.data() + y.size(), [](Real v) { return std::isnan(v); }))
              << "of input " << number;
        }
      }
}

TEST(ConvNet, AConstantInputGetsNoGradient) {
  Vars in = leaves_for(coupling);
  const Vars leaves = in;
  in[0] = in[0].detach(), in[3] = in[3].detach();
  const Var fused_y = sum(fused(in, coupling.options)),
            y = sum(of_separate_ops(in, coupling.options));
  const Gradients found = backward(fused_y), expected = backward(y);
  for (std::size_t i = 0; i < in.size(); ++i) {
    EXPECT_EQ(found.contains(leaves[i]), i != 0 && i != 3) << i;
    expect_same_bits({found[leaves[i]]}, {expected[leaves[i]]});
  }
  for (Var& v : in) v = v.detach();
  EXPECT_FALSE(fused(in, coupling.options).requires_grad());
}

TEST(ConvNet, TheHistoryMayBeWalkedAgain) {
  const Vars in = leaves_for(coupling);
  const Var y = sum(square(fused(in, coupling.options)));
  const Tensor once = backward(y, {}, Graph::keep)[in[1]];
  expect_same_bits({backward(y)[in[1]]}, {once});
}

// ---- Memory -------------------------------------------------------------------------------------

const Case wide{
    "wide", {64, 2, 8, 8}, {{300, 2, 3, 3}, {300, 300, 1, 1}, {4, 300, 3, 3}}, {same, {}, same}};

TEST(ConvNet, KeepsAllActivationsButTheFirst) {
  const Vars in = leaves_for(wide);
  const Index one = bytes_of({64, 300, 8, 8}), before = live_bytes();
  const auto kept = [&](Net net) {
    const Var y = net(in, wide.options);
    return static_cast<double>(live_bytes() - before) / static_cast<double>(one);
  };
  EXPECT_GE(kept(of_separate_ops), 2);
  EXPECT_GE(kept(fused), 1);
  EXPECT_LE(kept(fused), 1.1);
  const NoGrad no_grad;
  EXPECT_LE(kept(fused), 0.1);
}

TEST(ConvNet, NeitherWalkHoldsMoreMeanwhile) {
  const Vars in = leaves_for(wide);
  const Index one = bytes_of({64, 300, 8, 8}), before = live_bytes();
  reset_peak_bytes();
  backward(sum(fused(in, wide.options)));
  // The activation, and the sums of the gradients of eight groups of images.
  const Index sums = 10 * bytes_of({300 * (300 + 2 * 9 + 4 * 9 + 3)});
  EXPECT_LE(memory_use().peak_bytes - before, one + one / 10 + sums);
  EXPECT_EQ(live_bytes(), before);
}

// ---- Errors -------------------------------------------------------------------------------------

TEST(ConvNet, ErrorsAreThoseOfConv2d) {
  const auto error = [](const Shape& x, const Shape& w, const Shape& b) {
    const Var first = Tensor::zeros({200, 3, 3, 3}), bias = Tensor::zeros({200});
    return error_of([&] {
      conv_net(Tensor::zeros(x), {{first, bias, same}, {Tensor::zeros(w), Tensor::zeros(b)}});
    });
  };
  EXPECT_EQ(error({2, 4, 5, 5}, {9, 200, 1, 1}, {9}),
            "[conv2d] channels differ: images (2, 4, 5, 5), kernels (200, 3, 3, 3)");
  EXPECT_EQ(error({2, 3, 5, 5}, {9, 100, 1, 1}, {9}),
            "[conv2d] channels differ: images (2, 200, 5, 5), kernels (9, 100, 1, 1)");
  EXPECT_EQ(error({2, 3, 5, 5}, {9, 200, 1, 1}, {8}),
            "[conv2d] the bias has the shape (8), expected (9)");
  EXPECT_EQ(error({3, 5, 5}, {9, 200, 1, 1}, {9}),
            "[conv2d] images (B, C, H, W) and kernels (O, C, K, L) expected: (3, 5, 5) and "
            "(200, 3, 3, 3)");
  EXPECT_EQ(error_of([] {
              conv_net(Tensor::zeros({2, 3, 5, 5}), {});
            }),
            "[conv_net] at least one layer expected");
  EXPECT_NE(error_of([] { conv_net(Tensor::zeros({2, 3, 5, 5}), {ConvLayer{}}); }), "no error");
  EXPECT_NE(error_of([] {
              conv_net(Var(), {{Tensor::zeros({2, 3, 1, 1}), Tensor::zeros({2})}});
            }),
            "no error");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
