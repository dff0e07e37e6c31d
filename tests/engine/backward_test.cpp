#include "backflow/engine/backward.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <thread>

#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Reals = std::vector<Real>;

TEST(Backward, InputUsedDirectlyAndThroughASum) {  // p = x / (x + y)
  const Var x = Var::leaf(Tensor(2)), y = Var::leaf(Tensor(6));
  const Var z = x + y;
  const Gradients gradients = backward(x / z);
  EXPECT_EQ(gradients[x].item(), Real(6.0 / 64));
  EXPECT_EQ(gradients[y].item(), Real(-2.0 / 64));
}

TEST(Backward, InputOfANewAndAnOldNodeIsReadyOnlyAfterBoth) {
  const Var x = Var::leaf(Tensor(3));
  const Var early = square(x);
  const Var late = exp(early * Real(0)) * early;  // 1 * x^2, through a longer path
  const Var y = late * early;                     // x^4
  EXPECT_EQ(backward(y)[x].item(), 4 * 27);
}

TEST(Backward, RepeatedUseOfANode) {
  const Var x = Var::leaf(Tensor(2));
  EXPECT_EQ(backward(x * x * x * x)[x].item(), 32);
  EXPECT_EQ(backward(x + x + x)[x].item(), 3);
  Var power = x;  // x^(2^5): every node is both inputs of the next
  for (int i = 0; i < 5; ++i) power = power * power;
  EXPECT_EQ(backward(power)[x].item(), 32 * std::pow(Real(2), 31));
}

TEST(Backward, SixtyDoublingsAreWalkedOnce) {  // 2^60 paths
  const Var x = Var::leaf(Tensor(1));
  Var y = x;
  for (int i = 0; i < 60; ++i) y = y + y;
  EXPECT_EQ(backward(y)[x].item(), std::pow(Real(2), 60));
}

TEST(Backward, FanOutOfAThousand) {
  const Var x = Var::leaf(Tensor({2}, {1, 2}));
  const Var shared = square(x);
  Var sum = Tensor({2}, {0, 0});
  for (int i = 0; i < 1000; ++i) sum = sum + shared * Real(i % 3);
  const Real total = 333 * (0 + 1 + 2);
  const Gradients gradients = backward(sum, Tensor({2}, {1, 1}));
  EXPECT_EQ(gradients[x].values(), (Reals{2 * total, 4 * total}));
}

TEST(Backward, OnlyWhatTheRootReachesCounts) {
  const Var x = Var::leaf(Tensor(3)), other = Var::leaf(Tensor(5));
  const Var h = square(x);
  const Var metric = h * Real(100) + other, loss = h * Real(2);
  const Var newer_metric = exp(h);
  const Gradients gradients = backward(loss);
  EXPECT_EQ(gradients[x].item(), 12);
  EXPECT_TRUE(gradients.contains(x));
  EXPECT_FALSE(gradients.contains(other));
  EXPECT_EQ(gradients[other].item(), 0);
}

TEST(Backward, UnreachedLeafHasZerosOfItsShape) {
  const Var x = Var::leaf(Tensor(3)), other = Var::leaf(Tensor::full({2, 3}, 1));
  const Tensor gradient = backward(square(x))[other];
  EXPECT_EQ(gradient.shape(), (Shape{2, 3}));
  EXPECT_EQ(gradient.values(), Reals(6, 0));
}

// a + b hands the same gradient to both; x then adds a second contribution to its own.
TEST(Backward, SharedGradientIsNotWrittenInPlace) {
  const Tensor seed({2}, {1, 2});
  const Var x = Var::leaf(Tensor({2}, {3, 4})), y = Var::leaf(Tensor({2}, {5, 6}));
  const Gradients gradients = backward((x + y) + x + x, seed);
  EXPECT_EQ(gradients[x].values(), (Reals{3, 6}));
  EXPECT_EQ(gradients[y].values(), (Reals{1, 2}));
  EXPECT_EQ(seed.values(), (Reals{1, 2}));
}

TEST(Backward, GradientThatAClosureCapturedIsNotWrittenInPlace) {
  const Tensor captured({2}, {1, 2});
  const Var x = Var::leaf(Tensor({2}, {0, 0}));
  const auto op = [&] {
    return record("f", Tensor({2}, {0, 0}),
                  grad(x, [captured](const Tensor&) { return captured; }));
  };
  const Var y = op() + op() + op();
  EXPECT_EQ(backward(y, captured)[x].values(), (Reals{3, 6}));
  EXPECT_EQ(captured.values(), (Reals{1, 2}));
}

TEST(Backward, WritingAGradientLeavesTheOthersAlone) {
  const Var x = Var::leaf(Tensor(3)), y = Var::leaf(Tensor(5));
  const Gradients gradients = backward(x + y);
  Tensor g = gradients[x];
  g.mutable_data()[0] = 100;
  EXPECT_EQ(gradients[x].item(), 1);
  EXPECT_EQ(gradients[y].item(), 1);
}

TEST(Backward, SeedWeighsTheOutputs) {
  const Var x = Var::leaf(Tensor({3}, {1, 2, 3}));
  EXPECT_EQ(backward(square(x), Tensor({3}, {1, 10, 100}))[x].values(), (Reals{2, 40, 600}));
  EXPECT_EQ(backward(x * Real(2), Tensor({3}, {0, 0, 0}))[x].values(), (Reals{0, 0, 0}));
}

TEST(Backward, RootOfOneElementNeedsNoSeed) {
  const Var x = Var::leaf(Tensor::full({1, 1}, 3));
  const Tensor gradient = backward(square(x))[x];
  EXPECT_EQ(gradient.shape(), (Shape{1, 1}));
  EXPECT_EQ(gradient.item(), 6);
}

TEST(Backward, RootThatIsNoScalarNeedsASeed) {
  const Var x = Var::leaf(Tensor::zeros({2, 3}));
  EXPECT_EQ(error_of([&] { backward(exp(x)); }),
            "[backward] the root must be a scalar, its shape is (2, 3); sum it, or pass a seed "
            "gradient of that shape");
}

TEST(Backward, SeedMustHaveTheRootsShape) {
  const Var x = Var::leaf(Tensor::zeros({2, 3}));
  EXPECT_EQ(error_of([&] {
              backward(exp(x), Tensor::zeros({3, 2}));
            }),
            "[backward] the seed's shape (3, 2) is not the root's (2, 3)");
}

TEST(Backward, ConstantRootIsRefused) {
  const std::string expected = "[backward] the root depends on no leaf: nothing to differentiate";
  EXPECT_EQ(error_of([] { backward(exp(Var(Tensor(1)))); }), expected);
  const Var x = Var::leaf(Tensor(1));
  EXPECT_EQ(error_of([&] { backward(exp(x).detach()); }), expected);
}

TEST(Backward, SecondSweepNeedsTheGraphToBeKept) {
  const Var x = Var::leaf(Tensor(3));
  const Var y = square(x);
  EXPECT_EQ(backward(y, {}, Graph::keep)[x].item(), 6);
  EXPECT_EQ(backward(y, {}, Graph::keep)[x].item(), 6);
  EXPECT_EQ(backward(y)[x].item(), 6);
  EXPECT_EQ(error_of([&] { backward(y); }),
            "[backward] the history of 'square' was released by an earlier backward(); pass "
            "Graph::keep to that one");
}

TEST(Backward, SharedHistoryIsReleasedForTheOtherRootToo) {
  const Var x = Var::leaf(Tensor(3));
  const Var h = exp(x), a = h * Real(2), b = h * Real(3);
  backward(a);
  EXPECT_EQ(error_of([&] { backward(b); }),
            "[backward] the history of 'exp' was released by an earlier backward(); pass "
            "Graph::keep to that one");
}

TEST(Backward, LeavesMayBeUsedInManySweeps) {
  const Var x = Var::leaf(Tensor(3));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(backward(square(x))[x].item(), 6);
}

TEST(Backward, FreesWhatAClosureCapturedBeforeTheNextRuns) {
  const Index big = bytes_of({10000});
  const Var x = Var::leaf(Tensor(1));
  std::vector<Var> vars{x};  // every node stays alive
  std::vector<Index> live;   // as each closure sees it, the newest first
  for (int i = 0; i < 5; ++i)
    vars.push_back(record(
        "f", Tensor(1), grad(vars.back(), [&live, extra = Tensor::zeros({10000})](const Tensor& g) {
          live.push_back(live_bytes());
          return g;
        })));
  const Index before = live_bytes();
  const Gradients gradients = backward(vars.back());
  ASSERT_EQ(live.size(), 5u);
  for (int i = 1; i < 5; ++i) EXPECT_EQ(live[i - 1] - live[i], big) << "after " << i << " rules";
  EXPECT_LE(live_bytes(), before - 5 * big + bytes_of({}));
}

TEST(Backward, FreesWhatAClosureCapturedBeforeTheNextOfItsNodeRuns) {
  const Index big = bytes_of({10000});
  const Var x = Var::leaf(Tensor(1)), y = Var::leaf(Tensor(1));
  std::vector<Index> live;  // as each closure sees it
  const auto watching = [&live] {
    return [&live, extra = Tensor::zeros({10000})](const Tensor& g) {
      live.push_back(live_bytes());
      return g;
    };
  };
  backward(record("f", Tensor(1), grad(x, watching()), grad(y, watching())));
  ASSERT_EQ(live.size(), 2u);
  EXPECT_EQ(live[0] - live[1], big);
}

TEST(Backward, HistoryOfALivingRootIsFreed) {
  const Var x = Var::leaf(Tensor(1));
  std::weak_ptr<Node> middle;
  const Var y = [&] {
    const Var h = exp(x);
    middle = h.node();
    return exp(h);
  }();
  backward(y, {}, Graph::keep);
  EXPECT_FALSE(middle.expired());
  backward(y);
  EXPECT_TRUE(middle.expired());
}

TEST(Backward, KeptGraphFreesNothing) {
  const Index big = bytes_of({10000});
  const Var x = Var::leaf(Tensor(1));
  const Index before = live_bytes();
  const Var y = record("f", Tensor(1),
                       grad(x, [extra = Tensor::zeros({10000})](const Tensor& g) { return g; }));
  backward(y, {}, Graph::keep);
  EXPECT_GE(live_bytes() - before, big);
  backward(y);
  EXPECT_LT(live_bytes() - before, big);
}

TEST(Backward, TwoThreadsSweepGraphsThatShareALeaf) {
  const Var x = Var::leaf(Tensor::full({1000}, 2));
  const Tensor ones = Tensor::full({1000}, 1);
  std::vector<int> wrong(2);
  std::vector<std::thread> sweepers;
  for (int t = 0; t < 2; ++t)
    sweepers.emplace_back([&, t] {
      for (int i = 0; i < 300; ++i) {
        const Var y = square(x) * Real(t + 1) + x;
        const Tensor gradient = backward(y, ones)[x];
        if (gradient.values() != Reals(1000, 4 * (t + 1) + 1)) ++wrong[t];
      }
    });
  for (std::thread& sweeper : sweepers) sweeper.join();
  EXPECT_EQ(wrong, (std::vector<int>{0, 0}));
}

TEST(Backward, NodesMayBeMadeOnOtherThreads) {
  const Var x = Var::leaf(Tensor(3));
  Var left, right;
  std::thread([&] { left = square(x); }).join();
  const Var middle = left * x;
  std::thread([&] { right = middle * left; }).join();  // x^2 x x^2
  Gradients gradients;
  std::thread([&] { gradients = backward(right); }).join();
  EXPECT_EQ(gradients[x].item(), 5 * 81);
}

Var cubed_twice(const Var& x) { return square(square(x) * x) * x; }  // x^7

// Keeps the input alone and computes the history again when it is needed.
Var checkpoint(const Var& x, std::function<Var(const Var&)> f) {
  Tensor y;
  {
    const NoGrad no_grad;
    y = f(x).value();
  }
  return override_gradient("checkpoint", y, {x}, [X = x.value(), f](const Tensor& g) {
    const Var again = Var::leaf(X);
    return backward(f(again), g)[again];
  });
}

TEST(Backward, RuleMayCallBackward) {
  const Var x = Var::leaf(Tensor({2}, {2, 3})), plain = Var::leaf(x.value());
  const Tensor seed({2}, {1, 10});
  const auto twice = [](const Var& v) { return checkpoint(v, cubed_twice); };
  const Var y = checkpoint(x * Real(0.5), cubed_twice) + checkpoint(x, twice);
  EXPECT_EQ(backward(y, seed)[x].values(),
            backward(cubed_twice(plain * Real(0.5)) + cubed_twice(plain), seed)[plain].values());
}

TEST(Backward, RuleThatThrowsLeavesNoLeakAndAClearHistory) {
  const Index before = live_bytes();
  {
    const Var x = Var::leaf(Tensor::zeros({1000})), z = Var::leaf(Tensor::zeros({1000}));
    const Var h = exp(x);
    const Var bad = record("bad", Tensor::zeros({1000}),
                           grad(h, [h = h.value()](const Tensor& g) { return g * h; }),
                           grad(z, [](const Tensor&) -> Tensor { fail("bad", "on purpose"); }));
    const Var y = exp(bad);
    EXPECT_EQ(error_of([&] { backward(y, Tensor::full({1000}, 1)); }), "[bad] on purpose");
    EXPECT_EQ(error_of([&] { backward(bad, Tensor::full({1000}, 1)); }),
              "[backward] the history of 'bad' was released by an earlier backward(); pass "
              "Graph::keep to that one");
    EXPECT_EQ(backward(h, Tensor::full({1000}, 2))[x][0], 2) << "what was not reached still works";
  }
  EXPECT_EQ(live_bytes(), before);
}

// ---- Which gradients are kept -----------------------------------------------------------------

TEST(Gradients, OfWhatIsNoLeafFail) {
  const Var x = Var::leaf(Tensor(3)), h = square(x), constant = Tensor(5);
  const Gradients gradients = backward(h * constant);
  EXPECT_EQ(error_of([&] { gradients[h]; }),
            "[gradients] 'square' is not a leaf, so its gradient was not kept; ask for it with "
            "gradients(root, {x})");
  EXPECT_EQ(error_of([&] { gradients[constant]; }),
            "[gradients] a constant has no gradient; begin its history with Var::leaf()");
  EXPECT_EQ(error_of([&] { gradients[Var()]; }),
            "[gradients] a constant has no gradient; begin its history with Var::leaf()");
  EXPECT_FALSE(gradients.contains(h));
  EXPECT_FALSE(gradients.contains(constant));
}

TEST(Gradients, OfALeafThatTheRootDoesNotReachAreZeros) {
  const Var x = Var::leaf(Tensor(3)), other = Var::leaf(Tensor({2}, {1, 2}));
  const Gradients of_leaves = backward(square(x));
  EXPECT_EQ(of_leaves[other].values(), (Reals{0, 0}));
  EXPECT_FALSE(of_leaves.contains(other));
  EXPECT_EQ(gradients(square(x), {other})[0].values(), (Reals{0, 0}));
}

TEST(Gradients, OfAnyVarsComeInTheOrderOfTheList) {
  const Var x = Var::leaf(Tensor({2}, {1, 2})), c = Tensor(5);
  const Var h = square(x), y = h * c;
  const std::vector<Tensor> g = gradients(y, {h, x, y, h}, Tensor({2}, {1, 10}));
  ASSERT_EQ(g.size(), 4u);
  EXPECT_EQ(g[0].values(), (Reals{5, 50}));
  EXPECT_EQ(g[1].values(), (Reals{10, 200}));
  EXPECT_EQ(g[2].values(), (Reals{1, 10}));
  EXPECT_EQ(g[3].values(), (Reals{5, 50}));
}

TEST(Gradients, OfAnInnerVarAreCompleteWhenItIsUsedOften) {
  const Var x = Var::leaf(Tensor(2)), h = square(x);
  const Var root = h * h + exp(h * Real(0)) + h;
  EXPECT_EQ(gradients(root, {h})[0].item(), 2 * 4 + 1);
}

TEST(Gradients, OfTheOutputsOfOneNodeAreTheirOwn) {
  const Var x = Var::leaf(Tensor(3));
  const auto [a, b] = record("both", {Tensor(3), Tensor({2}, {9, 9})},
                             grad(x, [](const Tensor& ga, const Tensor&) { return ga; }));
  const std::vector<Tensor> g = gradients(a * Real(7), {b, a, x});
  EXPECT_EQ(g[0].values(), (Reals{0, 0}));
  EXPECT_EQ(g[1].item(), 7);
  EXPECT_EQ(g[2].item(), 7);
}

TEST(Gradients, OfAVarNewerThanTheRootAreZeros) {
  const Var x = Var::leaf(Tensor(3)), root = square(x), newer = exp(root);
  EXPECT_EQ(gradients(root, {newer, x})[0].item(), 0);
}

TEST(Gradients, OfAConstantInTheListFail) {
  const Var x = Var::leaf(Tensor(3)), constant = Tensor(5);
  EXPECT_EQ(error_of([&] {
              gradients(square(x), {x, constant});
            }),
            "[gradients] number 1 of the list is a constant, which has no gradient; begin its "
            "history with Var::leaf()");
}

TEST(Gradients, ReleaseTheHistoryUnlessItIsKept) {
  const Var x = Var::leaf(Tensor(3)), h = square(x), y = exp(h) * h;
  const Reals once = gradients(sum(y), {h, x}, {}, Graph::keep)[1].values();
  EXPECT_EQ(gradients(sum(y), {x}, {}, Graph::keep)[0].values(), once);
  EXPECT_EQ(backward(y)[x].values(), once);
  EXPECT_NE(error_of([&] { gradients(y, {x}); }).find("was released"), std::string::npos);
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
