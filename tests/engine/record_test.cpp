#include "backflow/engine/record.h"

#include <algorithm>
#include <cmath>
#include <thread>

#include "backflow/engine/backward.h"
#include "backflow/ops/pointwise.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Reals = std::vector<Real>;

TEST(Leaf, IsItsOwnHistory) {
  const Var x = Var::leaf(Tensor({2}, {1, 2}));
  EXPECT_TRUE(x.requires_grad());
  EXPECT_EQ(backward(x, Tensor({2}, {3, 4}))[x].values(), (Reals{3, 4}));
}

TEST(Constant, HasNoHistory) {
  const Var c = Tensor(2), d = Real(3);
  EXPECT_FALSE(c.requires_grad());
  EXPECT_FALSE((c * d).requires_grad());
  EXPECT_EQ((c * d).item(), 6);
}

TEST(Detach, SharesTheValueWithoutTheHistory) {
  const Var x = Var::leaf(Tensor({2}, {1, 2}));
  const Var y = square(x), d = y.detach();
  EXPECT_FALSE(d.requires_grad());
  EXPECT_EQ(d.value().data(), y.value().data());
  const Gradients gradients = backward(y * d, Tensor({2}, {1, 1}));  // only one factor counts
  EXPECT_EQ(gradients[x].values(), (Reals{2 * 1 * 1, 2 * 2 * 4}));
}

TEST(Record, OneClosurePerInputRunsOnce) {
  const Var x = Var::leaf(Tensor(1)), y = Var::leaf(Tensor(1)), constant = Tensor(1);
  int x_runs = 0, y_runs = 0, constant_runs = 0;
  const auto counting = [](int& runs, Real factor) {
    return [&runs, factor](const Tensor& g) {
      ++runs;
      return g * Tensor(factor);
    };
  };
  const Var z = record("f", Tensor(0), grad(x, counting(x_runs, 2)), grad(y, counting(y_runs, 3)),
                       grad(constant, counting(constant_runs, 5)));
  const Gradients gradients = backward(z);
  EXPECT_EQ(gradients[x].item(), 2);
  EXPECT_EQ(gradients[y].item(), 3);
  EXPECT_EQ(x_runs, 1);
  EXPECT_EQ(y_runs, 1);
  EXPECT_EQ(constant_runs, 0);
}

TEST(Record, ClosureOfAConstantIsDroppedWithAllItCaptured) {
  const Var x = Var::leaf(Tensor(1)), constant = Tensor(1);
  const Index big = bytes_of({10000}), before = live_bytes();
  Tensor captured = Tensor::zeros({10000});
  const Edge edge = grad(constant, [captured](const Tensor&) { return captured; });
  const Edge joint = joint_grad({constant}, [captured](const Tensor&) { return grads(captured); });
  EXPECT_EQ(live_bytes() - before, big);
  captured = Tensor();
  EXPECT_EQ(live_bytes(), before);
}

TEST(Record, ClosureOfAVariableKeepsWhatItCaptured) {
  const Var x = Var::leaf(Tensor(1));
  const Index big = bytes_of({10000}), before = live_bytes();
  Tensor captured = Tensor::zeros({10000});
  Edge edge = grad(x, [captured](const Tensor&) { return captured; });
  captured = Tensor();
  EXPECT_EQ(live_bytes() - before, big);
  edge = Edge();
  EXPECT_EQ(live_bytes(), before);
}

TEST(Record, NodeDoesNotHoldItsValue) {
  const Var x = Var::leaf(Tensor::zeros({10000}));
  const Index big = bytes_of({10000}), before = live_bytes();
  const Var y = exp(x + x);  // the sum is needed by nobody: exp keeps its output
  EXPECT_EQ(live_bytes() - before, big);
}

TEST(Record, UnusedOutputArrivesAsZerosOfItsShape) {
  const Var x = Var::leaf(Tensor({2}, {5, 7}));
  std::vector<Tensor> seen;
  const auto [a, b, c] =
      record("split", {Tensor({2}, {1, 2}), Tensor({2, 2}, {1, 2, 3, 4}), Tensor(9)},
             grad(x, [&seen](const Tensor& ga, const Tensor& gb, const Tensor& gc) {
               seen = {ga, gb, gc};
               return ga;
             }));
  EXPECT_EQ(c.output(), 2);
  EXPECT_EQ(backward(a, Tensor({2}, {3, 4}))[x].values(), (Reals{3, 4}));
  EXPECT_EQ(seen[0].values(), (Reals{3, 4}));
  EXPECT_EQ(seen[1].shape(), (Shape{2, 2}));
  EXPECT_EQ(seen[1].values(), (Reals{0, 0, 0, 0}));
  EXPECT_EQ(seen[2].shape(), Shape());
  EXPECT_EQ(seen[2].item(), 0);
}

TEST(Record, OutputsMeetInOneBackward) {
  const Var x = Var::leaf(Tensor(3));
  int runs = 0;
  const auto [a, b] =
      record("both", {Tensor(3), Tensor(9)}, grad(x, [&runs](const Tensor& ga, const Tensor& gb) {
               ++runs;
               return ga + gb * Tensor(6);
             }));
  EXPECT_EQ(backward(a * Real(10) + b)[x].item(), 16);
  EXPECT_EQ(runs, 1);
}

TEST(Record, ClosuresMayBeWrittenInEveryForm) {
  const Var x = Var::leaf(Tensor(1));
  using Span = std::span<const Tensor>;
  const auto gradient_of = [&x](Edge edge) {
    const auto outputs = record("two", {Tensor(0), Tensor(0)}, std::move(edge));
    return backward(outputs[0] * Real(2) + outputs[1] * Real(3))[x].item();
  };
  EXPECT_EQ(gradient_of(grad(x, [](const Tensor& a, const Tensor& b) { return a + b; })), 5);
  EXPECT_EQ(gradient_of(grad(x, [](Span g) { return g[0] + g[1]; })), 5);
  const auto one = [&x](Edge edge) { return backward(record("f", Tensor(0), edge))[x].item(); };
  EXPECT_EQ(one(grad(x, [](const Tensor& g, Accumulator& into) { into.add(g); })), 1);
  EXPECT_EQ(one(grad(x, [](const Tensor&) { return Real(4); })), 4);
}

TEST(Record, EdgesMayBeAListThatIsMadeAtRunTime) {
  const std::vector<Var> inputs = {Var::leaf(Tensor(1)), Tensor(2), Var::leaf(Tensor(3))};
  std::vector<Edge> edges;
  for (const Var& x : inputs)
    edges.push_back(grad(x, [X = x.value()](const Tensor& g) { return g * X; }));
  const Gradients gradients = backward(record("f", Tensor(0), edges));
  EXPECT_EQ(gradients[inputs[0]].item(), 1);
  EXPECT_EQ(gradients[inputs[2]].item(), 3);
}

TEST(Record, TakesTheOutputsInBraces) {
  const Var x = Var::leaf(Tensor(0));
  const Tensor S = Tensor(0), C = Tensor(1);
  auto [s, c] =
      record("sin_cos", {S, C},
             grad(x, [S, C](const Tensor& gs, const Tensor& gc) { return gs * C - gc * S; }));
  EXPECT_EQ(s.item(), 0);
  EXPECT_EQ(c.item(), 1);
  EXPECT_EQ(backward(s)[x].item(), 1);
}

TEST(JointGrad, ReturnsOneGradientPerInput) {
  const Var x = Var::leaf(Tensor(3)), y = Var::leaf(Tensor(5));
  const Var z = record("multiply", Tensor(15), joint_grad({x, y}, [](const Tensor& g) {
                         return grads(g * Tensor(5), g * Tensor(3));
                       }));
  const Gradients gradients = backward(z);
  EXPECT_EQ(gradients[x].item(), 5);
  EXPECT_EQ(gradients[y].item(), 3);
}

TEST(JointGrad, GradientOfAConstantGoesNowhere) {
  const Var x = Var::leaf(Tensor(3)), constant = Tensor(5), y = Var::leaf(Tensor(5));
  const Var z = record("f", Tensor(15), joint_grad({x, constant, y}, [&](const Tensor& g) {
                         return grads(g * Tensor(2), g, g * Tensor(7));
                       }));
  const Gradients gradients = backward(z);
  EXPECT_EQ(gradients[x].item(), 2);
  EXPECT_EQ(gradients[y].item(), 7);
  EXPECT_FALSE(gradients.contains(constant));
}

TEST(JointGrad, RuleThatReturnsOneTensorForSeveralInputsFails) {
  const Var constant = Tensor(3), x = Var::leaf(Tensor(5));
  const Var z =
      record("f", Tensor(0), joint_grad({constant, x}, [](const Tensor& g) { return g; }));
  EXPECT_EQ(error_of([&] { backward(z); }), "[f] the rule gave 1 gradients for 2 inputs");
}

TEST(JointGrad, UndefinedTensorStandsForNoGradient) {
  const Var x = Var::leaf(Tensor({2}, {1, 2})), y = Var::leaf(Tensor(5));
  const Var z = record("f", Tensor(0),
                       joint_grad({x, y}, [](const Tensor& g) { return grads(Tensor(), g); }));
  const Gradients gradients = backward(z);
  EXPECT_EQ(gradients[x].values(), (Reals{0, 0}));
  EXPECT_EQ(gradients[y].item(), 1);
}

TEST(JointGrad, SameInputTwiceGetsBothGradients) {
  const Var x = Var::leaf(Tensor(3));
  const Var z = record("f", Tensor(9), joint_grad({x, x}, [](const Tensor& g) {
                         return grads(g * Tensor(2), g * Tensor(5));
                       }));
  EXPECT_EQ(backward(z)[x].item(), 7);
}

// sum = beta * sum + 10, the way BLAS does it.
struct Product {
  std::vector<Real>& betas;
  void operator()(Tensor& sum, Real beta) const {
    betas.push_back(beta);
    Real* y = sum.mutable_data();
    for (Index i = 0; i < sum.size(); ++i) y[i] = (beta == 0 ? 0 : beta * y[i]) + 10;
  }
};

TEST(Accumulator, FirstProductOverwritesLaterOnesAdd) {
  Accumulator gradient(Shape{2});
  std::vector<Real> betas;
  gradient.add_in_place(Product{betas});
  gradient.add_in_place(Product{betas});
  gradient.add(Tensor({2}, {1, 2}));
  gradient.add_in_place(Product{betas});
  EXPECT_EQ(betas, (Reals{0, 1, 1}));
  EXPECT_EQ(gradient.take().values(), (Reals{31, 32}));
}

TEST(Accumulator, ProductLeavesABorrowedTensorAlone) {
  const Tensor g({2}, {1, 2});
  Accumulator gradient(g.shape());
  std::vector<Real> betas;
  gradient.add(g);
  EXPECT_EQ(gradient.sum().data(), g.data()) << "the first contribution is borrowed";
  gradient.add_in_place(Product{betas});
  EXPECT_EQ(betas, Reals{1});
  EXPECT_EQ(gradient.sum().values(), (Reals{11, 12}));
  EXPECT_EQ(g.values(), (Reals{1, 2}));
}

TEST(Accumulator, ThirdContributionIsAddedInPlace) {
  const Tensor a({2}, {1, 2}), b({2}, {3, 4});
  Accumulator gradient(a.shape());
  gradient.add(a);
  gradient.add(b);
  const Real* sum = gradient.sum().data();
  gradient.add(a);
  EXPECT_EQ(gradient.sum().data(), sum);
  EXPECT_EQ(gradient.take().values(), (Reals{5, 8}));
  EXPECT_EQ(a.values(), (Reals{1, 2}));
  EXPECT_EQ(b.values(), (Reals{3, 4}));
}

TEST(Accumulator, EmptyOneGivesZeros) {
  EXPECT_EQ(Accumulator(Shape{3}).take().values(), (Reals{0, 0, 0}));
}

TEST(NoGrad, RecordsNothingAndNests) {
  const Var x = Var::leaf(Tensor(2));
  {
    const NoGrad outer;
    EXPECT_FALSE(square(x).requires_grad());
    {
      const NoGrad inner;
      EXPECT_FALSE(square(x).requires_grad());
    }
    EXPECT_FALSE(square(x).requires_grad()) << "the inner one switched recording on";
    EXPECT_FALSE(grad_enabled());
  }
  EXPECT_TRUE(square(x).requires_grad());
}

TEST(Recording, IsPutOnWithinNoGradAndOffAgainBehindIt) {
  const Var x = Var::leaf(Tensor(2));
  const NoGrad no_grad;
  {
    const Recording recording(true);
    EXPECT_TRUE(record("f", Tensor(1), grad(x, [](const Tensor& g) { return g; })).requires_grad());
  }
  EXPECT_FALSE(grad_enabled());
}

TEST(NoGrad, IsUndoneByAnException) {
  EXPECT_THROW(
      {
        const NoGrad no_grad;
        fail("test", "leaves the scope");
      },
      Error);
  EXPECT_TRUE(grad_enabled());
}

TEST(NoGrad, IsOfOneThread) {
  const NoGrad no_grad;
  bool elsewhere = false;
  std::thread([&] { elsewhere = grad_enabled(); }).join();
  EXPECT_TRUE(elsewhere);
  EXPECT_FALSE(grad_enabled());
}

TEST(Unbroadcasting, ClosureMayReturnTheOutputsShape) {
  const Tensor large({2, 3}, {1, 2, 3, 4, 5, 6});
  for (const auto& [shape, expected] : std::vector<std::pair<Shape, Reals>>{
           {{3}, {5, 7, 9}}, {{1, 3}, {5, 7, 9}}, {{2, 1}, {6, 15}}, {{}, {21}}, {{1, 1}, {21}}}) {
    const Var x = Var::leaf(Tensor::zeros(shape));
    const Var y =
        record("f", Tensor::zeros({2, 3}), grad(x, [large](const Tensor&) { return large; }));
    const Tensor gradient = backward(y, Tensor::zeros({2, 3}))[x];
    EXPECT_EQ(gradient.shape(), shape);
    EXPECT_EQ(gradient.values(), expected) << shape;
  }
}

TEST(Unbroadcasting, ClosureMayReturnTheShapeOfAnyOutput) {
  const Var x = Var::leaf(Tensor::zeros({3}));
  const auto [a, b] = record("f", {Tensor(0), Tensor::zeros({2, 3})},
                             grad(x, [](const Tensor&, const Tensor& gb) { return gb; }));
  EXPECT_EQ(backward(b, Tensor::full({2, 3}, 1))[x].values(), (Reals{2, 2, 2}));
}

// The error that backward() makes of a rule that returns g for an input of shape (3).
std::string error_of_gradient(const Tensor& g, const Tensor& output) {
  const Var other = Var::leaf(Tensor(1)), x = Var::leaf(Tensor::zeros({3}));
  const Var y = record("f", output, grad(other, [](const Tensor&) { return Tensor(1); }),
                       grad(x, [g](const Tensor&) { return g; }));
  return error_of([&] { backward(y, output); });
}

TEST(Unbroadcasting, GradientOfAWrongShapeFailsWithTheOpAndTheInput) {
  EXPECT_EQ(
      error_of_gradient(Tensor::zeros({4, 3}), Tensor::zeros({2, 3})),
      "[f] the gradient of input 1 has the shape (4, 3), expected the input's (3) or the op's "
      "output's (2, 3), to be un-broadcast");
  EXPECT_EQ(error_of_gradient(Tensor(1), Tensor::zeros({2, 3})),
            "[f] the gradient of input 1 has the shape (), expected the input's (3) or the op's "
            "output's (2, 3), to be un-broadcast");
}

TEST(Unbroadcasting, GradientThatOnlyHappensToBroadcastFails) {
  EXPECT_EQ(error_of_gradient(Tensor::zeros({1000, 3}), Tensor::zeros({3})),
            "[f] the gradient of input 1 has the shape (1000, 3), expected the input's (3) or the "
            "op's output's (3), to be un-broadcast");
}

TEST(Unbroadcasting, OutputsShapeThatDoesNotBroadcastFails) {  // (5) is no enlarged (3)
  EXPECT_EQ(error_of_gradient(Tensor::zeros({5}), Tensor::zeros({5})),
            "[f] the gradient of input 1 has the shape (5), expected the input's (3) or the op's "
            "output's (5), to be un-broadcast");
}

// ---- Mistakes in what is recorded -------------------------------------------------------------

TEST(Rule, WhatFailsInsideNamesTheOp) {
  const Var x = Var::leaf(Tensor::zeros({3}));
  const Var y =
      record("f", Tensor(0),
             grad(x, [](const Tensor&) { return Tensor::zeros({3}) + Tensor::zeros({4}); }));
  EXPECT_EQ(error_of([&] { backward(y); }),
            "[f] in its rule for backward: [add] shapes do not broadcast: (3) and (4)");
}

TEST(Rule, ThatTakesTheGradientsOfOtherOutputsThanThereAreFails) {
  const Var x = Var::leaf(Tensor(1)), constant = Tensor(1);
  const auto of_two = [](const Tensor& a, const Tensor& b) { return a + b; };
  const auto of_one = [](const Tensor& g) { return g; };
  EXPECT_EQ(error_of([&] { record("f", Tensor(0), grad(constant, of_one), grad(x, of_two)); }),
            "[f] the rule for input 1 takes 2 gradients, but the op has 1 outputs, and so many "
            "gradients");
  EXPECT_EQ(error_of([&] {
              record("f", {Tensor(0), Tensor(0)}, grad(x, of_one));
            }),
            "[f] the rule for input 0 takes 1 gradients, but the op has 2 outputs, and so many "
            "gradients");
}

TEST(Undefined, InputIsNamedByItsNumber) {
  const Var x = Var::leaf(Tensor(1));
  const auto rule = [](const Tensor& g) { return g; };
  EXPECT_EQ(error_of([&] { record("f", Tensor(1), grad(x, rule), grad(Var(), rule)); }),
            "[f] input 1 is undefined: it has no values");
  EXPECT_EQ(error_of([&] {
              override_gradient("f", Tensor(1), {x, x, Var()},
                                [](const Tensor& g) { return grads(g, g, g); });
            }),
            "[f] input 2 is undefined: it has no values");
  EXPECT_EQ(error_of([] { exp(Var()); }), "[exp] input 0 is undefined: it has no values");
  EXPECT_EQ(error_of([] { -Var(); }), "[negate] input 0 is undefined: it has no values");
  EXPECT_EQ(error_of([&] { where(x.value(), x, Var()); }),
            "[where] input 2 is undefined: it has no values");
  EXPECT_EQ(error_of([&] { x + Var(); }), "[add] input 1 is undefined: it has no values");
  EXPECT_EQ(error_of([&] { Var() * x; }), "[multiply] input 0 is undefined: it has no values");
  EXPECT_EQ(error_of([] { Tensor() / Tensor(); }),
            "[divide] input 0 is undefined: it has no values");
}

TEST(Undefined, OutputAndLeafFail) {
  const Var x = Var::leaf(Tensor(1));
  const auto rule = [](const Tensor& g) { return g; };
  EXPECT_EQ(error_of([&] { record("f", Tensor(), grad(x, rule)); }),
            "[f] output 0 is undefined: it has no values");
  EXPECT_EQ(error_of([&] {
              override_gradient("f", {Tensor(1), Tensor()}, {x},
                                [](const Tensor& g, const Tensor&) { return grads(g); });
            }),
            "[f] output 1 is undefined: it has no values");
  EXPECT_EQ(error_of([] { Var::leaf(Tensor()); }),
            "[leaf] the tensor is undefined: it has no values");
}

// A name in a buffer would dangle: it is no constant, so OpName's constructor cannot be evaluated.
char name_in_a_buffer[] = "a name";
template <auto* name>
concept IsAnOpName = requires {
  std::bool_constant<(OpName(*name), true)>();
};
constexpr char constant_name[] = "a name";
static_assert(IsAnOpName<&constant_name>);
static_assert(!IsAnOpName<&name_in_a_buffer>);
static_assert(!std::is_constructible_v<OpName, const char*>);
static_assert(!std::is_constructible_v<OpName, std::string>);

TEST(OpName, IsTheLiteral) {
  EXPECT_STREQ(Var::leaf(Tensor(1)).node()->op, "leaf");
  EXPECT_EQ(std::string(name_in_a_buffer), OpName(constant_name).text());
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
