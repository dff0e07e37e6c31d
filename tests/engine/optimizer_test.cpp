#include "backflow/engine/optimizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>

#include "backflow/engine/parallel.h"
#include "backflow/ops/global_norm.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/random.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr double precision = sizeof(Real) == sizeof(double) ? 1e-14 : 5e-7;

// A bag of parameters whose gradients the test chooses.
struct Model : Module {
  Parameter& weight = add_parameter("weight", Random(1).normal({37}));
  Parameter& bias = add_parameter("bias", Tensor({2}, {1, -1}));
  Parameter& unused = add_parameter("unused", Tensor({2}, {5, 6}));
};

Tensor chosen_gradient(const Shape& shape, int step) {
  return Random(2, Purpose::testing, step).normal(shape);
}

// The gradients of weight and bias at a step, times `size`; `unused` has none.
Gradients gradients_at(const Model& model, int step, Real size = 1) {
  const Var both = record(
      "chosen", Tensor(0),
      grad(model.weight, [=](const Tensor&) { return chosen_gradient({37}, 2 * step) * size; }),
      grad(model.bias, [=](const Tensor&) { return chosen_gradient({2}, 2 * step + 1) * size; }));
  return backward(both);
}

// Each of the optimizers, and the letters of its state.
struct Kind {
  std::string name, letters;
  std::function<std::unique_ptr<Optimizer>(std::vector<NamedParameter>)> make;
};

template <class Kept, class... Options>
auto maker(const Options&... options) {
  return [=](std::vector<NamedParameter> parameters) -> std::unique_ptr<Optimizer> {
    return std::make_unique<Kept>(std::move(parameters), options...);
  };
}

std::vector<Kind> kinds() {
  return {{"sgd", "", maker<SGD>()},
          {"sgd", "v", maker<SGD>(0.9)},
          {"adam", "mv", maker<Adam>()},
          {"adamw", "mv", maker<AdamW>(AdamOptions{}, 0.1)},
          {"adamax", "mu", maker<Adamax>()}};
}

std::vector<double> as_doubles(const Tensor& x) { return {x.data(), x.data() + x.size()}; }

void expect_near(const Tensor& found, const std::vector<double>& expected, double tolerance) {
  for (Index i = 0; i < found.size(); ++i)
    ASSERT_NEAR(found[i], expected[i], tolerance * std::max(1.0, std::abs(expected[i])))
        << "element " << i;
}

TEST(SGD, AgreesWithAPlainLoop) {
  Model model;
  SGD sgd(model.parameters());
  std::vector<double> p = as_doubles(model.weight.value());
  for (int step = 1; step <= 20; ++step) {
    const double rate = 0.1 / step, scale = 0.5;
    sgd.step(gradients_at(model, step), rate, scale);
    const Tensor g = chosen_gradient({37}, 2 * step);
    for (int i = 0; i < 37; ++i) p[i] -= rate * scale * g[i];
    expect_near(model.weight.value(), p, 5 * precision);
  }
  EXPECT_EQ(sgd.steps(), 20);
}

TEST(Adam, AgreesWithAPlainLoop) {
  const double b1 = 0.8, b2 = 0.999, epsilon = 1e-6, rate = 0.03, scale = 0.25;
  Model model;
  Adam adam(model.parameters(), {b1, b2, epsilon});
  std::vector<double> p = as_doubles(model.weight.value()), m(37), v(37);
  for (int step = 1; step <= 20; ++step) {
    adam.step(gradients_at(model, step), rate, scale);
    const Tensor gradient = chosen_gradient({37}, 2 * step);
    for (int i = 0; i < 37; ++i) {
      const double g = scale * gradient[i];
      m[i] = b1 * m[i] + (1 - b1) * g;
      v[i] = b2 * v[i] + (1 - b2) * g * g;
      const double m_hat = m[i] / (1 - std::pow(b1, step)), v_hat = v[i] / (1 - std::pow(b2, step));
      p[i] -= rate * m_hat / (std::sqrt(v_hat) + epsilon);
    }
    expect_near(model.weight.value(), p, precision);
  }
}

// ---- Three steps of one number, computed by hand ----------------------------------------------

struct Number : Module {
  Parameter& p = add_parameter("p", Tensor({1}, {1}));
};

// Where 1 comes to by the gradients of three steps, at a learning rate of 0.1.
template <class Made>
std::array<double, 3> path(const std::array<double, 3>& gradients, const Made& make) {
  Number number;
  const auto optimizer = make(number.parameters());
  std::array<double, 3> places;
  for (int i = 0; i < 3; ++i) {
    const Tensor g({1}, {static_cast<Real>(gradients[i])});
    optimizer->step(
        backward(record("f", Tensor(0), grad(number.p, [g](const Tensor&) { return g; }))), 0.1);
    places[i] = number.p.value().item();
  }
  return places;
}

void expect_path(const std::array<double, 3>& found, const std::array<double, 3>& expected) {
  for (int i = 0; i < 3; ++i) EXPECT_NEAR(found[i], expected[i], 4 * precision) << "step " << i + 1;
}

TEST(SGD, MomentumIsAddedAsTorchDoes) {
  const auto places = path({0.5, 0.25, -1}, [](std::vector<NamedParameter> parameters) {
    return std::make_unique<SGD>(std::move(parameters), 0.9);
  });
  // v: 0.5, 0.9 * 0.5 + 0.25 = 0.7, 0.9 * 0.7 - 1 = -0.37
  expect_path(places, {1 - 0.05, 0.95 - 0.07, 0.88 + 0.037});
}

TEST(AdamW, DecaysTheParameterAndNotTheGradient) {
  const auto places = path({0.5, 0, -0.5}, [](std::vector<NamedParameter> parameters) {
    return std::make_unique<AdamW>(std::move(parameters), AdamOptions{0.9, 0.99, 0}, 0.2);
  });
  const double first = 1 * (1 - 0.1 * 0.2) - 0.1;  // the first step of Adam is of size lr
  // m = 0.9 * 0.05 = 0.045 of 0.19, v = 0.99 * 0.0025 = 0.002475 of 0.0199
  const double second = first * 0.98 - 0.1 * (0.045 / 0.19) / std::sqrt(0.002475 / 0.0199);
  // m = 0.0405 - 0.05 = -0.0095 of 0.271, v = 0.00245025 + 0.0025 = 0.00495025 of 0.029701
  const double third = second * 0.98 + 0.1 * (0.0095 / 0.271) / std::sqrt(0.00495025 / 0.029701);
  expect_path(places, {first, second, third});
}

TEST(AdamW, WithoutDecayIsAdamToTheBit) {
  Model decayed, plain;
  AdamW adamw(decayed.parameters(), {}, 0);
  Adam adam(plain.parameters());
  for (int step = 1; step <= 5; ++step) {
    adamw.step(gradients_at(decayed, step), 0.01);
    adam.step(gradients_at(plain, step), 0.01);
  }
  EXPECT_EQ(decayed.weight.value().values(), plain.weight.value().values());
}

TEST(Adamax, DividesByTheLargestGradientWhichFades) {
  const auto places = path({0.5, 0.125, -1}, [](std::vector<NamedParameter> parameters) {
    return std::make_unique<Adamax>(std::move(parameters), AdamOptions{0.9, 0.5, 0});
  });
  // m: 0.05, 0.045 + 0.0125 = 0.0575, 0.05175 - 0.1 = -0.04825; u: 0.5, 0.25, 1
  const double second = 0.9 - 0.1 / 0.19 * 0.0575 / 0.25;
  expect_path(places, {0.9, second, second + 0.1 / 0.271 * 0.04825});
}

TEST(Adamax, EpsilonIsAddedToTheGradientAsTorchDoes) {
  const auto places = path({0.5, 0.125, 0}, [](std::vector<NamedParameter> parameters) {
    return std::make_unique<Adamax>(std::move(parameters), AdamOptions{0.9, 0, 0.5});
  });
  const double second = 0.95 - 0.1 / 0.19 * 0.0575 / 0.625;  // u: 1, 0.625, 0.5
  expect_path(places, {0.95, second, second - 0.1 / 0.271 * 0.05175 / 0.5});
}

TEST(Adamax, AGradientOfZeroMovesNothing) {
  const auto places = path({0, 0, 0}, [](std::vector<NamedParameter> parameters) {
    return std::make_unique<Adamax>(std::move(parameters));
  });
  EXPECT_EQ(places, (std::array<double, 3>{1, 1, 1}));
}

TEST(Optimizer, AScaleOfTheGradientIsAGradientOfThatSize) {
  for (const Kind& kind : kinds()) {
    Model scaled, small;
    const auto by_scale = kind.make(scaled.parameters()), by_size = kind.make(small.parameters());
    for (int step = 1; step <= 3; ++step) {
      by_scale->step(gradients_at(scaled, step), 0.1, 0.25);  // a power of 2: exact
      by_size->step(gradients_at(small, step, 0.25), 0.1);
    }
    EXPECT_EQ(scaled.weight.value().values(), small.weight.value().values()) << kind.name;
  }
}

// ---- Steps and state --------------------------------------------------------------------------

TEST(Adam, FirstStepIsTheLearningRateWhateverTheGradientsSize) {
  for (double scale : {1e-3, 1.0, 1e6}) {
    Model model;
    const Tensor before = model.weight.value();
    Adam adam(model.parameters(), {0.9, 0.999, 0});
    adam.step(gradients_at(model, 1), 0.01, scale);
    for (Index i = 0; i < 37; ++i)
      EXPECT_NEAR(std::abs(model.weight.value()[i] - before[i]), 0.01, 0.01 * 20 * precision);
  }
}

TEST(Optimizer, ParameterWithoutAGradientIsLeftAlone) {
  Model model;
  Adam adam(model.parameters());
  SGD sgd(model.parameters());
  const auto version = model.unused.version(), used_version = model.bias.version();
  adam.step(gradients_at(model, 1), 0.1);
  sgd.step(gradients_at(model, 1), 0.1);
  EXPECT_EQ(model.unused.value().values(), (std::vector<Real>{5, 6}));
  EXPECT_EQ(model.unused.version(), version);
  EXPECT_EQ(model.bias.version(), used_version + 2);
}

TEST(Optimizer, WritesInPlaceUnlessAClosureSharesTheBuffer) {
  Model model;
  SGD sgd(model.parameters());
  const Real* buffer = model.bias.value().data();
  sgd.step(gradients_at(model, 1), 0.1);
  EXPECT_EQ(model.bias.value().data(), buffer);
  const std::vector<Real> old = model.bias.value().values();
  const Var y = square(model.bias);  // its closure holds the value
  sgd.step(gradients_at(model, 2), 0.1);
  EXPECT_NE(model.bias.value().data(), buffer);
  EXPECT_NE(model.bias.value().values(), old);
  const Tensor gradient = backward(y, Tensor({2}, {1, 1}))[model.bias];
  EXPECT_EQ(gradient.values(), (std::vector<Real>{2 * old[0], 2 * old[1]}));
}

TEST(Optimizer, GradientThatIsTheParameterItselfIsReadBeforeItIsOverwritten) {
  struct One : Module {
    Parameter& p = add_parameter("p", Tensor({2}, {3, 4}));
  } model;
  const Var y = override_gradient("half_square", Tensor(0), {model.p.var()},
                                  [P = model.p.value()](const Tensor&) { return P; });
  SGD sgd(model.parameters());
  sgd.step(backward(y), 0.5);
  EXPECT_EQ(model.p.value().values(), (std::vector<Real>{1.5, 2}));
}

TEST(Optimizer, StateIsNamedAfterTheParameters) {
  for (const Kind& kind : kinds()) {
    Model model;
    const auto optimizer = kind.make(model.parameters());
    std::vector<std::string> names, expected;
    for (const auto& [name, tensor] : optimizer->state()) names.push_back(name);
    for (const auto& [name, parameter] : model.parameters())
      for (const char letter : kind.letters)
        expected.push_back(kind.name + "." + letter + "." + name);
    EXPECT_EQ(names, expected);
    if (!names.empty()) {
      EXPECT_EQ(optimizer->state()[0].tensor->shape(), model.weight.shape());
    }
  }
}

// The gradients of weight and bias at a step and, from one on, that of `unused`.
Gradients late_gradients_at(const Model& model, int step, int first) {
  if (step < first) return gradients_at(model, step);
  const auto chosen = [step](const Shape& shape) {
    return [=](const Tensor&) { return chosen_gradient(shape, step); };
  };
  return backward(record("chosen", Tensor(0), grad(model.weight, chosen({37})),
                         grad(model.bias, chosen({2})), grad(model.unused, chosen({2}))));
}

TEST(Adam, FirstStepIsTheLearningRateWheneverItComes) {
  Model model;
  Adam adam(model.parameters(), {0.9, 0.999, 0});
  for (int step = 1; step <= 1000; ++step) adam.step(gradients_at(model, step), 0.01);
  adam.step(late_gradients_at(model, 1001, 1001), 0.01);
  for (Index i = 0; i < 2; ++i)
    EXPECT_NEAR(std::abs(model.unused.value()[i] - Real(5 + i)), 0.01, 0.01 * 1e3 * precision);
}

TEST(Adam, ParametersMoveAsIfEachHadAnOptimizerOfItsOwn) {
  Model together, alone;
  const auto parameters = alone.parameters();
  Adam all(together.parameters()), late({parameters[2]}), always({parameters[0], parameters[1]});
  for (int step = 1; step <= 6; ++step) {
    all.step(late_gradients_at(together, step, 4), 0.01);
    always.step(late_gradients_at(alone, step, 4), 0.01);
    if (step >= 4) late.step(late_gradients_at(alone, step, 4), 0.01);
  }
  for (std::size_t i = 0; i < 3; ++i)
    EXPECT_EQ(together.parameters()[i].parameter->value().values(),
              parameters[i].parameter->value().values());
}

TEST(Optimizer, TellsTheStepsThatAreNotThoseOfAll) {
  Model model;
  Adam adam(model.parameters());
  EXPECT_TRUE(adam.other_steps().empty());
  for (int step = 1; step <= 5; ++step) adam.step(late_gradients_at(model, step, 4), 0.01);
  ASSERT_EQ(adam.other_steps().size(), 1u);
  EXPECT_EQ(adam.other_steps()[0].name, "unused");
  EXPECT_EQ(adam.other_steps()[0].steps, 2);
  adam.set_steps(5);
  EXPECT_TRUE(adam.other_steps().empty());
}

TEST(Optimizer, RefusesStepsThatCannotBeAndKeepsItsOwn) {
  Model model;
  SGD sgd(model.parameters());
  sgd.set_steps(7, {{"bias", 3}});
  EXPECT_EQ(error_of([&] { sgd.set_steps(-1); }), "[optimizer] -1 steps, expected at least 0");
  EXPECT_EQ(error_of([&] {
              sgd.set_steps(9, {{"weight", 10}});
            }),
            "[optimizer] 10 steps of 'weight', expected 0 to 9");
  EXPECT_EQ(error_of([&] {
              sgd.set_steps(9, {{"weight", -1}});
            }),
            "[optimizer] -1 steps of 'weight', expected 0 to 9");
  EXPECT_EQ(error_of([&] {
              sgd.set_steps(9, {{"weights", 1}});
            }),
            "[optimizer] steps of 'weights', which is none of the parameters");
  EXPECT_EQ(sgd.steps(), 7);
  ASSERT_EQ(sgd.other_steps().size(), 1u);
  EXPECT_EQ(sgd.other_steps()[0].steps, 3);
}

TEST(Optimizer, ParameterGivenTwiceMovesOnce) {
  Model model;
  std::vector<NamedParameter> twice = model.parameters();
  for (const auto& [name, parameter] : model.parameters())
    twice.push_back({"2." + name, parameter});
  SGD sgd(twice);
  sgd.step(backward(square(model.bias), Tensor({2}, {1, 1})), 0.25);
  EXPECT_EQ(model.bias.value().values(), (std::vector<Real>{0.5, -0.5}));
  Adam adam(twice);
  EXPECT_EQ(adam.state().size(), 6u);
}

TEST(Adam, StateOfTwoParametersOfOneNameFails) {
  Model a, b;
  std::vector<NamedParameter> both = a.parameters();
  for (const NamedParameter& named : b.parameters()) both.push_back(named);
  Adam adam(both);
  EXPECT_EQ(error_of([&] { adam.state(); }),
            "[adam] two parameters have the name 'weight'; a checkpoint needs one for each");
}

TEST(Optimizer, StateOfAnotherShapeFailsBeforeAnythingMoves) {
  for (const Kind& kind : kinds()) {
    if (kind.letters.empty()) continue;
    Model model;
    const auto optimizer = kind.make(model.parameters());
    *optimizer->state()[kind.letters.size()].tensor = Tensor::zeros({1});
    const std::vector<Real> before = model.weight.value().values();
    EXPECT_EQ(error_of([&] { optimizer->step(gradients_at(model, 1), 0.1); }),
              "[" + kind.name + "] the state of 'bias' has the shape (1), expected (2)");
    EXPECT_EQ(model.weight.value().values(), before);
    EXPECT_EQ(optimizer->steps(), 0);
  }
}

TEST(Optimizer, GoesOnFromItsStateWithTheSameBits) {
  const auto at = [](const Model& model, int step) { return late_gradients_at(model, step, 3); };
  for (const Kind& kind : kinds()) {
    Model whole, resumed;
    const auto always = kind.make(whole.parameters()), later = kind.make(resumed.parameters());
    for (int step = 1; step <= 3; ++step) always->step(at(whole, step), 0.01);
    for (std::size_t i = 0; i < always->state().size(); ++i)
      *later->state()[i].tensor = *always->state()[i].tensor;
    for (std::size_t i = 0; i < whole.parameters().size(); ++i)
      resumed.parameters()[i].parameter->set(whole.parameters()[i].parameter->value());
    later->set_steps(always->steps(), always->other_steps());
    for (int step = 4; step <= 6; ++step) {
      always->step(at(whole, step), 0.01);
      later->step(at(resumed, step), 0.01);
    }
    for (std::size_t i = 0; i < whole.parameters().size(); ++i)
      EXPECT_EQ(resumed.parameters()[i].parameter->value().values(),
                whole.parameters()[i].parameter->value().values())
          << kind.name;
  }
}

TEST(Optimizer, GivesTheSameBitsOnAnyNumberOfThreads) {
  struct Large : Module {
    Parameter& p = add_parameter("p", Random(3).normal({100000}));
  };
  const auto trained = [](const Kind& kind, int count) {
    set_threads(count);
    Large model;
    const auto optimizer = kind.make(model.parameters());
    for (int step = 0; step < 5; ++step) {
      const Gradients gradients = backward(tanh(model.p), Random(4).normal({100000}));
      optimizer->step(gradients, 0.01, 1 / global_norm(gradients, model.parameters()));
    }
    return model.p.value().values();
  };
  const int before = threads();
  for (const Kind& kind : kinds()) {
    const std::vector<Real> expected = trained(kind, 1);
    for (int count : {2, 3})
      EXPECT_EQ(trained(kind, count), expected) << kind.name << ", " << count << " threads";
  }
  set_threads(before);
}

// ---- Parameters without gradient --------------------------------------------------------------

struct Bag : Module {
  Parameter& all = add_parameter("all", Random(1).normal({100'000}));
};

Gradients random_gradients(const Bag& bag, Real size) {
  const Tensor g = Random(2).normal(bag.all.shape()) * size;
  return backward(record("chosen", Tensor(0), grad(bag.all, [g](const Tensor&) { return g; })));
}

// What some thousand steps without a gradient come to: the moments begin just above the smallest
// normal number, and the slowest of them shrinks by a tenth.
void let_moments_decay(Optimizer& optimizer, const Gradients& nothing) {
  for (const NamedTensor& moment : optimizer.state()) {
    Real* const values = moment.tensor->mutable_data();
    for (Index k = 0; k < moment.tensor->size(); ++k)
      values[k] = std::numeric_limits<Real>::min() * (1 + Real(k % 10) / 100);
  }
  for (int step = 0; step < 100; ++step) optimizer.step(nothing, 1e-3);
}

TEST(Optimizer, MomentsThatDecayBecomeZero) {
  for (const Kind& kind : kinds()) {
    Bag bag;
    const auto optimizer = kind.make(bag.parameters());
    let_moments_decay(*optimizer, random_gradients(bag, 0));
    for (const auto& [name, moment] : optimizer->state()) {
      if (name == "adamax.u.all") continue;  // it is no less than epsilon
      const std::vector<Real> values = moment->values();
      EXPECT_EQ(std::count(values.begin(), values.end(), Real(0)), moment->size()) << name;
    }
  }
}

// Squares of small gradients are subnormal although the gradients are not.
TEST(Optimizer, TheBitsOfTinyMomentsDoNotDependOnTheNumberOfThreads) {
  for (const Kind& kind : kinds())
    expect_same_bits_on_any_threads([&] {
      Bag bag;
      const auto optimizer = kind.make(bag.parameters());
      const Real size = std::sqrt(std::numeric_limits<Real>::min());
      for (int step = 0; step < 3; ++step) optimizer->step(random_gradients(bag, size), 1e-3);
      std::vector<Tensor> all{bag.all.value()};
      for (const NamedTensor& moment : optimizer->state()) all.push_back(*moment.tensor);
      return all;
    });
}

TEST(Optimizer, AStepTakesNoLongerWhereGradientsAreZeroForEver) {
  if (sanitized) GTEST_SKIP() << "its time tells nothing";
  const WithThreads alone(1);
  const auto ms = [](Optimizer& optimizer, const Gradients& gradients) {
    const auto start = std::chrono::steady_clock::now();
    optimizer.step(gradients, 1e-3);
    const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - start;
    return time.count();
  };
  const auto median = [](std::vector<double> all) {
    std::nth_element(all.begin(), all.begin() + all.size() / 2, all.end());
    return all[all.size() / 2];
  };
  for (const Kind& kind : kinds()) {
    Bag living, dead;
    const auto lively = kind.make(living.parameters()), idle = kind.make(dead.parameters());
    const Gradients some = random_gradients(living, 1), nothing = random_gradients(dead, 0);
    let_moments_decay(*idle, nothing);
    std::vector<double> of_living, of_dead;
    for (int turn = 0; turn < 51; ++turn) {
      of_living.push_back(ms(*lively, some));
      of_dead.push_back(ms(*idle, nothing));
    }
    EXPECT_LT(median(of_dead) / median(of_living), 2) << kind.name << "." << kind.letters;
  }
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
