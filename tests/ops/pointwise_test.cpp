// Every pointwise op: values against std:: in long double, gradients against differences, special
// values. Sizes above elements_per_chunk are cut into several chunks.
#include "backflow/ops/pointwise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "backflow/ops/functions.h"
#include "backflow/ops/gradcheck.h"
#include "backflow/ops/random.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Limits = std::numeric_limits<Real>;
constexpr Real nan = Limits::quiet_NaN(), inf = Limits::infinity();

const std::vector<Shape> odd_shapes = {{}, {1}, {7}, {513}, {3, 17}, {5, 1, 33}, {3, 8209}};
const std::vector<Shape> empty_shapes = {{0}, {3, 0}, {0, 5}, {2, 0, 7}};

struct UnaryCase {
  const char* name;
  Var (*op)(const Var&);
  long double (*reference)(long double);
  double low, high;                // where to test values and gradients
  std::vector<double> kinks = {};  // where there is no derivative
};

const std::vector<UnaryCase> unary_cases = {
    {"negate", [](const Var& x) { return -x; }, [](long double x) { return -x; }, -3, 3},
    {"exp", [](const Var& x) { return exp(x); }, std::exp, -3, 3},
    {"log", [](const Var& x) { return log(x); }, std::log, 0.3, 4},
    {"log1p", [](const Var& x) { return log1p(x); }, std::log1p, -0.6, 4},
    {"sqrt", [](const Var& x) { return sqrt(x); }, std::sqrt, 0.3, 4},
    {"square", [](const Var& x) { return square(x); }, [](long double x) { return x * x; }, -2, 2},
    {"abs", [](const Var& x) { return abs(x); }, std::fabs, -2, 2, {0}},
    {"pow 2.5", [](const Var& x) { return pow(x, 2.5); },
     [](long double x) { return std::pow(x, 2.5L); }, 0.3, 3},
    {"pow -2", [](const Var& x) { return pow(x, -2); }, [](long double x) { return 1 / (x * x); },
     -3, -0.5},
    {"tanh", [](const Var& x) { return tanh(x); }, std::tanh, -3, 3},
    {"sin", sin, std::sin, -2.5, 2.5},
    {"cos", cos, std::cos, 1.7, 4.5},  // between zeros, near which a relative error says little
    {"erf", erf, std::erf, -3, 3},
    {"sigmoid", [](const Var& x) { return sigmoid(x); },
     [](long double x) { return 1 / (1 + std::exp(-x)); }, -6, 6},
    {"log_sigmoid", [](const Var& x) { return log_sigmoid(x); },
     [](long double x) { return -std::log1p(std::exp(-x)); }, -6, 6},
    {"softplus", [](const Var& x) { return softplus(x); },
     [](long double x) { return std::log1p(std::exp(x)); }, -6, 6},
    {"log1mexp", log1mexp, [](long double x) { return std::log1p(-std::exp(-x)); }, 0.3, 6},
    {"elu", elu, [](long double x) { return x < 0 ? std::expm1(x) : x; }, -3, 2, {0}},
    {"silu", silu, [](long double x) { return x / (1 + std::exp(-x)); }, -3, 3},
    {"relu",
     [](const Var& x) { return relu(x); },
     [](long double x) { return x < 0 ? 0 : x; },
     -2,
     2,
     {0}},
    {"leaky_relu",
     [](const Var& x) { return leaky_relu(x, 0.25); },
     [](long double x) { return x < 0 ? x / 4 : x; },
     -2,
     2,
     {0}},
    {"clamp",
     [](const Var& x) { return clamp(x, -0.5, 1); },
     [](long double x) { return x < -0.5L ? -0.5L
                                : x > 1   ? 1
                                          : x; },
     -2,
     2,
     {-0.5, 1}},
};

Var hypot(const Var& a, const Var& b) {  // with gradients that are made from both inputs
  return pointwise(
      "hypot", a, b, [](Real a, Real b) { return std::hypot(a, b); },
      [](Real a, Real b, Real g) { return g * a / std::hypot(a, b); },
      [](Real a, Real b, Real g) { return g * b / std::hypot(a, b); });
}

struct BinaryCase {
  const char* name;
  Var (*op)(const Var&, const Var&);
  double (*reference)(double, double);
  bool has_kink = false;  // where both are equal there is no derivative
  double ulps = 1;        // that values may be wrong by
};

const std::vector<BinaryCase> binary_cases = {
    {"add", [](const Var& a, const Var& b) { return a + b; },
     [](double a, double b) { return a + b; }},
    {"subtract", [](const Var& a, const Var& b) { return a - b; },
     [](double a, double b) { return a - b; }},
    {"multiply", [](const Var& a, const Var& b) { return a * b; },
     [](double a, double b) { return a * b; }},
    {"divide", [](const Var& a, const Var& b) { return a / b; },
     [](double a, double b) { return a / b; }},
    {"hypot", hypot, [](double a, double b) { return std::hypot(a, b); }},
    {"lipswish", lipswish, [](double a, double b) { return a / (1 + std::exp(-a * b)) / 1.1; },
     false, 8},
    {"maximum", maximum, [](double a, double b) { return std::max(a, b); }, true},
    {"minimum", minimum, [](double a, double b) { return std::min(a, b); }, true},
};

struct ShapePair {
  Shape a, b, result;
};

const std::vector<ShapePair> broadcasts = {{{3, 1, 5}, {4, 1}, {3, 4, 5}},
                                           {{17, 3}, {}, {17, 3}},
                                           {{}, {7}, {7}},
                                           {{}, {}, {}},
                                           {{7, 1}, {1, 9}, {7, 9}},
                                           {{2, 3, 1}, {1, 3, 4}, {2, 3, 4}},
                                           {{1, 1}, {5}, {1, 5}},
                                           {{2, 1, 3, 1, 2}, {4, 1, 5, 1}, {2, 4, 3, 5, 2}},
                                           {{300, 37}, {37}, {300, 37}},
                                           {{300, 37}, {300, 1}, {300, 37}},
                                           {{1, 513}, {33, 1}, {33, 513}},
                                           {{9001}, {9001}, {9001}},
                                           {{2, 9001}, {9001}, {2, 9001}},
                                           {{9001}, {1}, {9001}},
                                           {{2, 2, 5, 513}, {2, 1, 1}, {2, 2, 5, 513}}};

bool all_nan(const Tensor& x) {
  const std::vector<Real> values = x.values();
  return std::all_of(values.begin(), values.end(), [](Real value) { return std::isnan(value); });
}

Tensor uniform(const Shape& shape, double low, double high, std::uint64_t seed = 1) {
  return pointwise(Random(seed).uniform(shape),
                   [=](Real u) { return static_cast<Real>(low + (high - low) * u); });
}

// Farther from each kink than the differences of gradcheck reach.
Tensor away_from(const std::vector<double>& kinks, Tensor x) {
  for (double kink : kinks)
    x = pointwise(x, [kink](Real x) {
      const double offset = x - kink;
      return std::abs(offset) < 0.1 ? Real(kink + (offset < 0 ? -0.1 : 0.1)) : x;
    });
  return x;
}

Tensor inputs_for(const UnaryCase& c, const Shape& shape) {
  return away_from(c.kinks, uniform(shape, c.low, c.high));
}

// Where there is a kink: odd multiples of 0.25 beside even ones, farther from each other than the
// differences of gradcheck reach.
std::vector<Tensor> inputs_for(const BinaryCase& c, const Shape& a, const Shape& b) {
  const Tensor x = uniform(a, -2, 2, 1), y = uniform(b, 0.5, 2, 2);
  if (!c.has_kink) return {x, y};
  return {pointwise(x, [](Real x) { return std::round(2 * x) / 2; }),
          pointwise(y, [](Real y) { return std::round(2 * y) / 2 + Real(0.25); })};
}

Tensor gradient_at(const std::function<Var(const Var&)>& op, const Tensor& x, Real seed = 1) {
  const Var leaf = Var::leaf(x);
  return backward(op(leaf), Tensor::full(x.shape(), seed))[leaf];
}

// Where flat index i of a broadcast result comes from.
Index source_of(Index i, const Shape& result, const Shape& from) {
  Index source = 0, stride = 1;
  for (int axis = 1; axis <= result.rank(); ++axis) {
    const Index index = i % result[-axis];
    i /= result[-axis];
    if (axis > from.rank()) break;
    source += from[-axis] == 1 ? 0 : index * stride;
    stride *= from[-axis];
  }
  return source;
}

bool is_close(double found, double expected, double ulps) {
  return std::abs(found - expected) <= ulps * Limits::epsilon() * std::abs(expected);
}

// In units of the last place of the correctly rounded result.
double worst_ulps(Var (*op)(const Var&), long double (*reference)(long double), const Tensor& x) {
  const Tensor y = op(x).value();
  double worst = 0;
  for (Index i = 0; i < x.size(); ++i) {
    const long double exact = reference(x[i]);
    const long double ulp = std::ldexp(1.0L, std::ilogb(exact) - Limits::digits + 1);
    worst = std::max(worst, static_cast<double>(std::abs(y[i] - exact) / ulp));
  }
  return worst;
}

// A test of each row of the tables: '*tanh*' are those of tanh.
template <class Case>
std::string name_of(const testing::TestParamInfo<Case>& info) {
  std::string name = info.param.name;
  std::ranges::replace_if(
      name, [](unsigned char c) { return !std::isalnum(c); }, '_');
  return name;
}

class UnaryOp : public testing::TestWithParam<UnaryCase> {};
INSTANTIATE_TEST_SUITE_P(Rows, UnaryOp, testing::ValuesIn(unary_cases), name_of<UnaryCase>);
class BinaryOp : public testing::TestWithParam<BinaryCase> {};
INSTANTIATE_TEST_SUITE_P(Rows, BinaryOp, testing::ValuesIn(binary_cases), name_of<BinaryCase>);

// ---- Unary ops ------------------------------------------------------------------------------

TEST_P(UnaryOp, ValuesAreThoseOfTheFormula) {
  const UnaryCase& c = GetParam();
  for (const Shape& shape : odd_shapes) {
    const Tensor x = inputs_for(c, shape), y = c.op(x).value();
    ASSERT_EQ(y.shape(), shape);
    for (Index i = 0; i < x.size(); ++i) {
      const double expected = c.reference(x[i]);
      ASSERT_TRUE(is_close(y[i], expected, 8))
          << c.name << ' ' << shape << " at " << x[i] << ": " << y[i] << " != " << expected;
    }
  }
}

TEST_P(UnaryOp, GradientsAgreeWithDifferences) {
  const UnaryCase& c = GetParam();
  for (const Shape& shape : odd_shapes) {
    const auto report = gradcheck(c.op, inputs_for(c, shape));
    EXPECT_TRUE(report) << c.name << ' ' << shape << ": " << report.failure;
  }
}

TEST_P(UnaryOp, OfNoElementsIsNoElements) {
  const UnaryCase& c = GetParam();
  for (const Shape& shape : empty_shapes) {
    const Tensor x = Tensor::empty(shape);
    EXPECT_EQ(c.op(x).shape(), shape) << c.name;
    EXPECT_EQ(gradient_at(c.op, x).shape(), shape) << c.name;
  }
}

// Position by position, because lanes of a vector instruction and the loop's tail differ.
TEST_P(UnaryOp, NaNStaysNaNAndDisturbsNobody) {
  const UnaryCase& c = GetParam();
  for (Index bad = 0; bad < 37; ++bad) {
    Tensor x = inputs_for(c, {37});
    x.mutable_data()[bad] = nan;
    const Tensor y = c.op(x).value();
    for (Index i = 0; i < y.size(); ++i) EXPECT_EQ(std::isnan(y[i]), i == bad) << c.name;
  }
}

TEST_P(UnaryOp, NaNGradientOfTheOutputIsNotLost) {
  const UnaryCase& c = GetParam();
  const Tensor x = Tensor::full({37}, Real(0.75));  // no op is constant there
  EXPECT_TRUE(all_nan(gradient_at(c.op, x, nan))) << c.name;
  const Tensor bad = Tensor::full({37}, nan);
  EXPECT_TRUE(all_nan(gradient_at(c.op, bad, nan))) << c.name;
}

TEST(Unary, LimitsAreThoseOfTheFunctions) {
  const auto at = [](Var (*op)(const Var&), Real x) {
    const Tensor y = op(Tensor::full({37}, x)).value();
    for (Index i = 1; i < y.size(); ++i)  // the vector loop and its tail agree
      EXPECT_TRUE(y[i] == y[0] || (std::isnan(y[i]) && std::isnan(y[0]))) << x;
    return y[0];
  };
  EXPECT_EQ(at(log, 0), -inf);
  EXPECT_EQ(at(log, inf), inf);
  EXPECT_TRUE(std::isnan(at(log, -1)));
  EXPECT_EQ(at(log1p, -1), -inf);
  EXPECT_TRUE(std::isnan(at(log1p, -2)));
  EXPECT_EQ(at(exp, 1000), inf);
  EXPECT_EQ(at(exp, inf), inf);
  EXPECT_EQ(at(exp, -1000), 0);
  EXPECT_EQ(at(exp, -inf), 0);
  EXPECT_TRUE(std::isnan(at(sqrt, -1)));
  EXPECT_EQ(at(tanh, 1000), 1);
  EXPECT_EQ(at(tanh, -inf), -1);
  EXPECT_EQ(at(sin, 0), 0);
  EXPECT_EQ(at(cos, 0), 1);
  EXPECT_TRUE(std::isnan(at(sin, inf)));
  EXPECT_TRUE(std::isnan(at(cos, -inf)));
  EXPECT_EQ(at(erf, 0), 0);
  EXPECT_EQ(at(erf, inf), 1);
  EXPECT_EQ(at(erf, -inf), -1);
  EXPECT_EQ(at(sigmoid, inf), 1);
  EXPECT_EQ(at(sigmoid, -inf), 0);
  EXPECT_EQ(at(softplus, inf), inf);
  EXPECT_EQ(at(softplus, -inf), 0);
  EXPECT_EQ(at(log_sigmoid, inf), 0);
  EXPECT_EQ(at(log_sigmoid, -inf), -inf);
  EXPECT_EQ(at([](const Var& x) { return pow(x, -1); }, 0), inf);
  EXPECT_EQ(at(relu, -inf), 0);
  EXPECT_EQ(at(elu, inf), inf);
  EXPECT_EQ(at(silu, inf), inf);
  EXPECT_EQ(at(silu, -inf), 0);
  EXPECT_EQ(at(elu, -inf), -1);
  EXPECT_EQ(at(log1mexp, 0), -inf);
  EXPECT_EQ(at(log1mexp, inf), 0);
  EXPECT_TRUE(std::isnan(at(log1mexp, -1)));
  EXPECT_EQ(at([](const Var& x) { return clamp(x, -2, 3); }, inf), 3);
}

TEST(Unary, SaturatedLogisticsAreFiniteWithFiniteGradients) {
  struct Expected {
    Var (*op)(const Var&);
    Real x, value, gradient;
  };
  for (const auto& [op, x, value, gradient] : std::vector<Expected>{{sigmoid, 1000, 1, 0},
                                                                    {sigmoid, -1000, 0, 0},
                                                                    {softplus, 1000, 1000, 1},
                                                                    {softplus, -1000, 0, 0},
                                                                    {log_sigmoid, 1000, 0, 0},
                                                                    {log_sigmoid, -1000, -1000, 1},
                                                                    {elu, -1000, -1, 0},
                                                                    {elu, 1000, 1000, 1},
                                                                    {silu, 1000, 1000, 1},
                                                                    {silu, -1000, 0, 0},
                                                                    {log1mexp, 1000, 0, 0},
                                                                    {tanh, 1000, 1, 0},
                                                                    {tanh, -1000, -1, 0}}) {
    const Tensor at = Tensor::full({37}, x);
    EXPECT_EQ(op(at).value().values(), Tensor::full({37}, value).values());
    EXPECT_EQ(gradient_at(op, at).values(), Tensor::full({37}, gradient).values());
  }
}

TEST(Unary, GradientsAtKinksAreThePromisedOnes) {
  EXPECT_EQ(gradient_at(abs, Tensor(0)).item(), 0);
  EXPECT_EQ(gradient_at(relu, Tensor(0)).item(), 0);
  EXPECT_EQ(gradient_at(elu, Tensor(0)).item(), 1);
  const auto clamped = [](const Var& x) { return clamp(x, -1, 2); };
  EXPECT_EQ(gradient_at(clamped, Tensor({4}, {Real(-1.5), -1, 2, Real(2.5)})).values(),
            (std::vector<Real>{0, 1, 1, 0}));
}

TEST(Pow, WithExponentZeroAndOneHasItsGradientAtZero) {
  EXPECT_EQ(gradient_at([](const Var& x) { return pow(x, 0); }, Tensor(0)).item(), 0);
  EXPECT_EQ(gradient_at([](const Var& x) { return pow(x, 1); }, Tensor(0)).item(), 1);
  EXPECT_EQ(gradient_at([](const Var& x) { return pow(x, 2); }, Tensor(0)).item(), 0);
}

// Beyond |x| = 80 results overflow in float, or become subnormal.
TEST(VectorMath, IsWithinAFewUnitsInTheLastPlace) {
  const Index n = 100003;
  const Tensor magnitude =
      pointwise(uniform({n}, -14, std::log(80.0)), [](Real l) { return std::exp(l); });
  const Tensor x = pointwise("times", magnitude, uniform({n}, -1, 1, 2),
                             [](Real m, Real sign) { return sign < 0 ? -m : m; });
  const Tensor positive = pointwise(x, [](Real x) { return std::exp(x); });
  const Tensor above_minus_1 =
      pointwise("mix", x, magnitude, [](Real x, Real m) { return x < Real(-0.99) ? m : x; });
  EXPECT_LE(worst_ulps(exp, std::exp, x), 4);
  EXPECT_LE(worst_ulps(log, std::log, positive), 4);
  EXPECT_LE(worst_ulps(log1p, std::log1p, above_minus_1), 4);
  EXPECT_LE(worst_ulps(tanh, std::tanh, x), 4);
  EXPECT_LE(worst_ulps(
                elu, [](long double x) { return x < 0 ? std::expm1(x) : x; }, x),
            4);
  EXPECT_LE(worst_ulps(
                log1mexp,
                [](long double x) {
                  return x < 0.5L ? std::log(-std::expm1(-x)) : std::log1p(-std::exp(-x));
                },
                magnitude),
            4);
  EXPECT_LE(worst_ulps(erf, std::erf, x), 4);
  EXPECT_LE(worst_ulps(
                sigmoid, [](long double x) { return 1 / (1 + std::exp(-x)); }, x),
            6);
  EXPECT_LE(worst_ulps(
                softplus, [](long double x) { return std::log1p(std::exp(x)); }, x),
            8);
  EXPECT_LE(worst_ulps(
                log_sigmoid, [](long double x) { return -std::log1p(std::exp(-x)); }, x),
            8);
}

// ---- Binary ops -----------------------------------------------------------------------------

TEST_P(BinaryOp, BroadcastsAsNumPyDoes) {
  const BinaryCase& c = GetParam();
  for (const ShapePair& shapes : broadcasts) {
    const std::vector<Tensor> inputs = inputs_for(c, shapes.a, shapes.b);
    const Tensor a = inputs[0], b = inputs[1], y = c.op(a, b).value();
    ASSERT_EQ(y.shape(), shapes.result);
    for (Index i = 0; i < y.size(); ++i) {
      const double expected =
          c.reference(a[source_of(i, y.shape(), a.shape())], b[source_of(i, y.shape(), b.shape())]);
      ASSERT_TRUE(is_close(y[i], expected, c.ulps)) << c.name << ' ' << shapes.a << ' ' << shapes.b;
    }
  }
}

TEST_P(BinaryOp, GradientsAgreeWithDifferences) {
  const BinaryCase& c = GetParam();
  for (const ShapePair& shapes : broadcasts)
    for (bool swapped : {false, true}) {
      const Shape a = swapped ? shapes.b : shapes.a, b = swapped ? shapes.a : shapes.b;
      const auto f = [&](const std::vector<Var>& in) { return std::vector{c.op(in[0], in[1])}; };
      const auto report = gradcheck(f, inputs_for(c, a, b));
      EXPECT_TRUE(report) << c.name << ' ' << a << ' ' << b << ": " << report.failure;
    }
}

TEST(Binary, OneOperandTwiceGetsBothGradients) {
  const Tensor x = uniform({3, 17}, 0.5, 2);
  const auto report = gradcheck([](const Var& x) { return x * x + x / (x * x) - x; }, x);
  EXPECT_TRUE(report) << report.failure;
}

TEST(Binary, KeepsForAGradientOnlyWhatItIsMadeFrom) {
  const Var x = Var::leaf(uniform({7}, 1, 2)), constant = uniform({7}, 1, 2);
  for (const Var& y : {x * constant, constant * x, x / constant}) {
    EXPECT_TRUE(y.requires_grad());
    EXPECT_FALSE(x.value().shared());
    EXPECT_TRUE(constant.value().shared());
  }
  const Var y = hypot(x, constant);
  EXPECT_TRUE(x.value().shared());
}

TEST_P(BinaryOp, OfNoElementsIsNoElements) {
  const BinaryCase& c = GetParam();
  for (const ShapePair& shapes : std::vector<ShapePair>{{{0, 5}, {5}, {0, 5}},
                                                        {{3, 0}, {3, 1}, {3, 0}},
                                                        {{0}, {}, {0}},
                                                        {{2, 0, 3}, {2, 1, 1}, {2, 0, 3}},
                                                        {{4, 1, 0}, {3, 1}, {4, 3, 0}},
                                                        {{0}, {0}, {0}}}) {
    const Var a = Var::leaf(Tensor::full(shapes.a, 1)), b = Var::leaf(Tensor::full(shapes.b, 1));
    const Var y = c.op(a, b);
    ASSERT_EQ(y.shape(), shapes.result);
    const Gradients gradients = backward(y, Tensor::empty(y.shape()));
    EXPECT_EQ(gradients[a].values(), std::vector<Real>(a.size(), 0)) << c.name;
    EXPECT_EQ(gradients[b].values(), std::vector<Real>(b.size(), 0)) << c.name;
  }
}

TEST_P(BinaryOp, NaNInEitherOperandIsNaN) {
  const Tensor number = Tensor::full({37}, 0), bad = Tensor::full({37}, nan);
  const BinaryCase& c = GetParam();
  EXPECT_TRUE(all_nan(c.op(bad, number).value())) << c.name;
  EXPECT_TRUE(all_nan(c.op(number, bad).value())) << c.name;
}

TEST(Binary, DivisionByZeroIsInfiniteOrNaN) {
  const Tensor y = Tensor({3}, {1, -1, 0}) / Tensor(0);
  EXPECT_EQ(y[0], inf);
  EXPECT_EQ(y[1], -inf);
  EXPECT_TRUE(std::isnan(y[2]));
}

TEST(Binary, ShapesThatDoNotBroadcastAreNamed) {
  try {
    Tensor::zeros({2, 3}) * Tensor::zeros({4});
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "[multiply] shapes do not broadcast: (2, 3) and (4)");
  }
}

// ---- where ----------------------------------------------------------------------------------

Tensor every_third(const Shape& shape) {
  Tensor condition = Tensor::zeros(shape);
  for (Index i = 0; i < condition.size(); i += 3) condition.mutable_data()[i] = 1;
  return condition;
}

TEST(Where, TakesEachElementFromTheChosenSide) {
  struct Case {
    Shape condition, a, b, result;
  };
  for (const auto& [condition, a, b, result] :
       std::vector<Case>{{{7}, {7}, {7}, {7}},
                         {{3, 1, 5}, {4, 1}, {}, {3, 4, 5}},
                         {{4, 1}, {}, {3, 1, 5}, {3, 4, 5}},
                         {{3, 8209}, {8209}, {3, 1}, {3, 8209}}}) {
    const Tensor c = every_third(condition), A = uniform(a, 1, 2), B = uniform(b, -2, -1);
    const Tensor y = where(c, A, B).value();
    ASSERT_EQ(y.shape(), result);
    for (Index i = 0; i < y.size(); ++i) {
      const bool yes = c[source_of(i, result, condition)] != 0;
      ASSERT_EQ(y[i], yes ? A[source_of(i, result, a)] : B[source_of(i, result, b)]);
    }
    const auto f = [&](const std::vector<Var>& in) { return std::vector{where(c, in[0], in[1])}; };
    const auto report = gradcheck(f, {A, B});
    EXPECT_TRUE(report) << result << ": " << report.failure;
  }
}

TEST(Where, LeaksNothingFromTheOtherSide) {
  const Tensor condition = every_third({40});
  const Tensor a = pointwise(condition, [](Real c) { return c != 0 ? Real(1) : nan; });
  const Tensor b = pointwise(condition, [](Real c) { return c != 0 ? -inf : Real(2); });
  const Tensor y = where(condition, a, b).value();
  for (Index i = 0; i < y.size(); ++i) EXPECT_EQ(y[i], condition[i] != 0 ? 1 : 2);

  const Var leaf_a = Var::leaf(a), leaf_b = Var::leaf(b);
  const Tensor seed = pointwise(condition, [](Real c) { return c != 0 ? Real(3) : nan; });
  const Tensor ga = backward(where(condition, leaf_a, leaf_b), seed)[leaf_a];
  for (Index i = 0; i < ga.size(); ++i) EXPECT_EQ(ga[i], condition[i] != 0 ? 3 : 0);
}

TEST(Where, ChosenNaNStaysNaN) {
  EXPECT_TRUE(std::isnan(where(Tensor(1), Tensor(nan), Tensor(2)).item()));
  EXPECT_TRUE(std::isnan(where(Tensor(0), Tensor(2), Tensor(nan)).item()));
}

TEST(Where, OfNoElementsIsNoElements) {
  const Var a = Var::leaf(Tensor::zeros({0, 5})), b = Var::leaf(Tensor(1));
  const Var y = where(Tensor::zeros({5}), a, b);
  EXPECT_EQ(y.shape(), Shape({0, 5}));
  EXPECT_EQ(backward(y, Tensor::empty(y.shape()))[b].item(), 0);
}

// ---- The check itself -----------------------------------------------------------------------

TEST(Gradcheck, FindsAPlantedWrongGradient) {
  const auto wrong_sine = [](const Var& x) {
    return pointwise(
        "sine", x, [](Real x) { return std::sin(x); },
        from_input([](Real x, Real g) { return Real(1.00001) * g * std::cos(x); }));
  };
  const auto report = gradcheck(wrong_sine, uniform({3, 17}, -2, 2));
  if (sizeof(Real) == sizeof(double)) {
    EXPECT_FALSE(report);
    EXPECT_NE(report.failure.find("input 0"), std::string::npos) << report.failure;
  }
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
