#include "backflow/ops/recompute.h"

#include <thread>

#include "backflow/engine/module.h"
#include "backflow/engine/trace.h"
#include "backflow/ops/gradcheck.h"
#include "backflow/ops/matmul.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/random.h"
#include "backflow/ops/reduce.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Vars = std::vector<Var>;
using Bits = std::vector<std::vector<Real>>;

Var two_layers(const Vars& in) { return tanh(matmul(tanh(matmul(in[0], in[1])), in[2])); }

Vars two_results(const Vars& in) {
  const Var h = exp(in[0]);
  return {h * in[1], square(h)};
}

VarFunction checkpointed(const VarFunction& f) {
  return [f](const Vars& in) { return checkpoint(f, in); };
}

// f's values, and the gradients of the sum of their squares.
Bits values_and_gradients(const VarFunction& f, const Vars& leaves) {
  Bits all;
  Var total = Real(0);
  for (const Var& y : f(leaves)) {
    all.push_back(y.value().values());
    total = total + sum(square(y));
  }
  for (const Tensor& g : gradients(total, leaves)) all.push_back(g.values());
  return all;
}

Vars layer_leaves() {
  return {Var::leaf(Random(1).normal({65, 40})), Var::leaf(Random(2).normal({40, 30})),
          Var::leaf(Random(3).normal({30, 20}))};
}

const VarFunction layers = [](const Vars& in) { return Vars{two_layers(in)}; };

TEST(Recompute, ValuesAndGradientsHaveTheSameBits) {
  const Vars in = layer_leaves();
  EXPECT_EQ(values_and_gradients(checkpointed(layers), in), values_and_gradients(layers, in));
  const Vars pair{Var::leaf(Random(1).normal({50})), Var::leaf(Random(2).normal({50}))};
  EXPECT_EQ(values_and_gradients(checkpointed(two_results), pair),
            values_and_gradients(two_results, pair));
}

TEST(Recompute, OneResultNeedsNoList) {
  const Vars in = layer_leaves();
  const Var y = checkpoint(two_layers, in);
  EXPECT_EQ(y.value().values(), two_layers(in).value().values());
  EXPECT_EQ(backward(sum(y))[in[1]].values(), backward(sum(two_layers(in)))[in[1]].values());
}

TEST(Recompute, GradientsAgreeWithDifferences) {
  const std::vector<Tensor> in{Random(1).normal({5, 4}), Random(2).normal({4, 3}),
                               Random(3).normal({3, 2})};
  const auto report = gradcheck(checkpointed(layers), in);
  EXPECT_TRUE(report) << report.failure;
  const auto of_two = gradcheck(checkpointed(two_results), {in[0], in[0] * 2});
  EXPECT_TRUE(of_two) << of_two.failure;
}

TEST(Recompute, NestedHasTheSameBits) {
  const VarFunction inner = [](const Vars& in) {
    const Var h = checkpoint([](const Vars& v) { return tanh(exp(v[0])); }, {in[0]});
    return checkpoint(two_results, {h, in[1]});
  };
  const VarFunction plain = [](const Vars& in) { return two_results({tanh(exp(in[0])), in[1]}); };
  const Vars in{Var::leaf(Random(1).normal({50})), Var::leaf(Random(2).normal({50}))};
  EXPECT_EQ(values_and_gradients(checkpointed(inner), in), values_and_gradients(plain, in));
  EXPECT_EQ(values_and_gradients(checkpointed(checkpointed(inner)), in),
            values_and_gradients(plain, in));
}

TEST(Recompute, SameBitsOnAnyThreads) {
  expect_same_bits_on_any_threads([] {
    const Vars in = layer_leaves();
    const Var y = checkpoint(two_layers, in);
    std::vector<Tensor> all = gradients(sum(y), in);
    all.push_back(y.value());
    return all;
  });
}

TEST(Recompute, SeveralThreadsMayEachHaveTheirs) {
  const Vars in = layer_leaves();
  const Bits expected = values_and_gradients(layers, in);
  std::vector<Bits> found(4);
  std::vector<std::thread> all;
  for (Bits& bits : found)
    all.emplace_back([&] { bits = values_and_gradients(checkpointed(layers), in); });
  for (std::thread& thread : all) thread.join();
  for (const Bits& bits : found) EXPECT_EQ(bits, expected);
}

// ---- Memory and time --------------------------------------------------------------------------

constexpr int pieces = 10, ops_per_piece = 10;

Var piece(const Vars& in) {
  Var h = in[0];
  for (int i = 0; i < ops_per_piece; ++i) h = tanh(h);
  return h;
}

// The peak of a walk forward and back, in tensors of x's size.
double peak_of(Var (*part)(const Var&)) {
  const Var x = Var::leaf(Random(1).normal({100, 1000}));
  const Index before = live_bytes();
  reset_peak_bytes();
  Var h = x;
  for (int i = 0; i < pieces; ++i) h = part(h);
  backward(sum(h));
  return static_cast<double>(memory_use().peak_bytes - before) /
         static_cast<double>(bytes_of(x.shape()));
}

TEST(Recompute, MemoryIsThatOfTheInputsAndOfOnePiece) {
  const double whole = peak_of([](const Var& x) { return piece({x}); });
  const double cut = peak_of([](const Var& x) { return checkpoint(piece, {x}); });
  EXPECT_GE(whole, pieces * ops_per_piece);
  EXPECT_LE(cut, pieces + ops_per_piece + 4);
}

TEST(Recompute, AWalkForwardKeepsTheInputsAlone) {
  const Var x = Var::leaf(Random(1).normal({100, 1000}));
  const Index before = live_bytes(), one = bytes_of(x.shape());
  const Var y = checkpoint(piece, {x});
  EXPECT_LE(live_bytes() - before, one + 1024) << "y alone, x being there already";
  reset_peak_bytes();
  const Var z = checkpoint(piece, {y});
  EXPECT_LE(memory_use().peak_bytes - before, 4 * one) << "nor does it hold more meanwhile";
}

class Count : public Tracer {
 public:
  void on_forward(const char* op, std::span<const Tensor>) override { tanh += op == name; }
  void on_backward(const char*, std::span<const Tensor>) override {}
  const std::string name = "tanh";
  int tanh = 0;
};

TEST(Recompute, TheFunctionIsCalledTwiceWhenDifferentiated) {
  const Var x = Var::leaf(Random(1).normal({3}));
  Count count;
  const Var y = checkpoint(piece, {x});
  EXPECT_EQ(count.tanh, ops_per_piece);
  backward(sum(y));
  EXPECT_EQ(count.tanh, 2 * ops_per_piece);
}

TEST(Recompute, ReleasesEverythingAfterBackward) {
  const Vars in = layer_leaves();
  const Index before = live_bytes();
  backward(sum(checkpoint(two_layers, in)));
  EXPECT_EQ(live_bytes(), before);
}

TEST(Recompute, TheHistoryMayBeWalkedAgain) {
  const Var x = Var::leaf(Tensor({2}, {0.5, 1}));
  const Var y = sum(checkpoint(piece, {x}));
  const auto once = backward(y, {}, Graph::keep)[x].values();
  EXPECT_EQ(backward(y)[x].values(), once);
}

// ---- Inputs -----------------------------------------------------------------------------------

TEST(Recompute, InputsMayBeConstantsAndResults) {
  const Var x = Var::leaf(Tensor({2}, {1, 2})), constant = Tensor({2}, {3, 4});
  const Var h = exp(x);
  const auto product = [](const Vars& in) { return in[0] * in[1]; };
  const Var cut = sum(checkpoint(product, {h, constant})), whole = sum(h * constant);
  EXPECT_EQ(backward(cut, {}, Graph::keep)[x].values(),
            backward(whole, {}, Graph::keep)[x].values());
  EXPECT_FALSE(checkpoint(product, {constant, constant}).requires_grad());
}

TEST(Recompute, AnInputThatIsUsedTwiceOrReturnedGetsAllItsGradient) {
  const Var x = Var::leaf(Tensor(3));
  const auto product = [](const Vars& in) { return in[0] * in[1]; };
  EXPECT_EQ(backward(checkpoint(product, {x, x}))[x].item(), 6);
  EXPECT_EQ(backward(checkpoint([](const Vars& in) { return in[0]; }, {x}))[x].item(), 1);
  const Vars both = checkpoint([](const Vars& in) { return Vars{in[0], in[0]}; }, {x});
  EXPECT_EQ(backward(both[0] * both[1])[x].item(), 6);
}

TEST(Recompute, AnUnusedInputHasZeroGradient) {
  const Var x = Var::leaf(Tensor(3)), y = Var::leaf(Tensor(4));
  const Var z = checkpoint([](const Vars& in) { return square(in[0]); }, {x, y});
  const Gradients found = backward(z);
  EXPECT_EQ(found[x].item(), 6);
  EXPECT_EQ(found[y].item(), 0);
  EXPECT_EQ(backward(checkpoint([](const Vars&) { return Var(Real(1)); }, {x}))[x].item(), 0);
}

struct Layer : Module {
  Layer() : w(add_parameter("w", Random(4).normal({40, 40}))) {}
  Var operator()(const Var& x) const { return tanh(matmul(x, w)); }
  Parameter& w;
};

TEST(Recompute, AModulesParametersMayBeReachedIfTheyAreAmongTheInputs) {
  const Layer layer;
  const Var x = Var::leaf(Random(1).normal({65, 40}));
  const auto f = [&](const Vars& in) { return layer(layer(in[0])); };
  const Gradients expected = backward(sum(f({x})));
  const Gradients found = backward(sum(checkpoint(f, {x, layer.w})));
  EXPECT_EQ(found[x].values(), expected[x].values());
  EXPECT_EQ(found[layer.w].values(), expected[layer.w].values());
}

TEST(Recompute, ALeafThatIsBothReachedAndAnArgumentGetsTheSum) {
  const Var w = Var::leaf(Tensor(3));
  const auto f = [&](const Vars& in) { return in[0] * w * in[1]; };  // w^3
  EXPECT_EQ(backward(checkpoint(f, {w, w}))[w].item(), 27);
}

// ---- What would be lost -----------------------------------------------------------------------

TEST(Recompute, RefusesALeafThatIsNoInput) {
  const Layer layer;
  const Var x = Var::leaf(Random(1).normal({2, 40}));
  const std::string message =
      "[checkpoint] the function reaches a leaf of shape (40, 40) that is no input: its gradient "
      "would be lost; pass it among the inputs";
  const auto f = [&](const Vars& in) { return exp(layer(in[0])); };
  EXPECT_EQ(error_of([&] { checkpoint(f, {x}); }), message);
  EXPECT_EQ(error_of([&] { checkpoint(f, {x.detach()}); }), message) << "at constants as well";
  EXPECT_EQ(error_of([&] { checkpoint([&](const Vars&) { return layer.w.var(); }, {x}); }),
            message);
  const auto twice = [&](const Vars& in) { return checkpoint(f, in); };
  EXPECT_EQ(error_of([&] { checkpoint(twice, {x}); }), message) << "nested";
  EXPECT_EQ(error_of([&] {
              checkpoint([](const Vars& in) { return in[0] * Var::leaf(Tensor(1)); }, {x});
            }),
            "[checkpoint] the function reaches a leaf of shape () that is no input: its gradient "
            "would be lost; pass it among the inputs");
}

TEST(Recompute, RefusesAResultFromOutside) {
  const Var x = Var::leaf(Tensor({2}, {1, 2})), h = exp(x);
  const std::string message =
      "[checkpoint] the function reaches the result of 'exp' of shape (2), computed outside of it: "
      "its gradient would be lost; pass it among the inputs and use the argument in its place";
  const auto f = [&](const Vars& in) { return in[0] * h; };
  EXPECT_EQ(error_of([&] { checkpoint(f, {x}); }), message);
  EXPECT_EQ(error_of([&] { checkpoint(f, {h}); }), message);
}

TEST(Recompute, ALeafWhoseGradientGoesNowhereIsNoMistake) {
  const Var x = Var::leaf(Tensor(3)), w = Var::leaf(Tensor(5));
  const auto f = [&](const Vars& in) { return in[0] * (w * w).detach(); };
  EXPECT_EQ(backward(checkpoint(f, {x}))[x].item(), 25);
}

// The inner function reaches an argument of the outer one, which is a leaf at the second call only.
TEST(Recompute, AnOuterArgumentThatAnInnerOneReachesIsNotLostInSilence) {
  const Var x = Var::leaf(Tensor(3)), y = Var::leaf(Tensor(4));
  const auto outer = [](const Vars& in) {
    return checkpoint([&](const Vars& v) { return v[0] * in[1]; }, {in[0]});
  };
  const Var z = checkpoint(outer, {x, y});
  EXPECT_NE(error_of([&] { backward(z); }).find("reaches a leaf of shape () that is no input"),
            std::string::npos);
}

TEST(Recompute, UnderNoGradTheFunctionIsJustCalled) {
  const Layer layer;
  const NoGrad no_grad;
  const Var x = Random(1).normal({2, 40});
  const Var y = checkpoint([&](const Vars& in) { return layer(in[0]); }, {x});
  EXPECT_EQ(y.value().values(), layer(x).value().values());
  EXPECT_FALSE(y.requires_grad());
}

TEST(Recompute, BackwardUnderNoGradRecordsAllTheSame) {
  const Var x = Var::leaf(Tensor(3));
  const Var y = checkpoint([](const Vars& in) { return square(in[0]); }, {x});
  const NoGrad no_grad;
  EXPECT_EQ(backward(y)[x].item(), 6);
  EXPECT_FALSE(grad_enabled());
}

TEST(Recompute, RefusesAFunctionThatGivesSomethingElseTheSecondTime) {
  const Var x = Var::leaf(Tensor({2}, {1, 2}));
  int calls = 0;
  const auto f = [&](const Vars& in) { return ++calls == 1 ? exp(in[0]) : sum(in[0]); };
  const Var y = sum(checkpoint(f, {x}));
  EXPECT_EQ(error_of([&] { backward(y); }),
            "[checkpoint] called a second time, the function gave results of other shapes; it must "
            "be a function of its inputs alone");
}

TEST(Recompute, AnErrorOfTheFunctionIsPassedOnAsItIs) {
  const Var x = Var::leaf(Tensor::zeros({2, 3}));
  const auto f = [](const Vars& in) { return matmul(in[0], in[0]); };
  EXPECT_EQ(error_of([&] { checkpoint(f, {x}); }), error_of([&] { f({x}); }));
  EXPECT_EQ(error_of([&] { checkpoint(VarFunction(), {x}); }),
            "[checkpoint] the function is empty");
  EXPECT_EQ(error_of([&] { checkpoint(std::function<Var(const Vars&)>(), {x}); }),
            "[checkpoint] the function is empty");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
