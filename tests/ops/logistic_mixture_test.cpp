// The mixture, its gradients and its inverse, against the formula written out for one element in
// long double.
#include "backflow/ops/logistic_mixture.h"

#include "backflow/ops/finite.h"
#include "backflow/ops/gradcheck.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/random.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Limits = std::numeric_limits<Real>;
using Long = long double;

const MixtureForm sloped{}, sloped_affine{.affine = true};
const MixtureForm located{.component = MixtureForm::located, .least_log_scale = -1};
const MixtureForm located_affine{
    .component = MixtureForm::located, .least_log_scale = -1, .affine = true};
const MixtureForm sloped_capped{.least_slope = 0.1, .affine = true, .cap = 0.7};
const std::vector<MixtureForm> all_forms{sloped, sloped_affine, located, located_affine,
                                         sloped_capped};

Tensor random_parameters(const Shape& x, Index n, const MixtureForm& form, Real scale = 1) {
  Shape shape = x;
  shape.push_back(3 * n + (form.affine ? 2 : 0));
  return Random(7).normal(shape) * scale;
}

// ---- The formula ------------------------------------------------------------------------------

Long log_sigmoid_of(Long c) {
  return c < 0 ? c - std::log1p(std::exp(c)) : -std::log1p(std::exp(-c));
}

Long logsumexp_of(const std::vector<Long>& terms) {
  Long top = -std::numeric_limits<Long>::infinity(), total = 0;
  for (Long t : terms) top = std::max(top, t);
  for (Long t : terms) total += std::exp(t - top);
  return top + std::log(total);
}

// {value, log-derivative}.
std::array<Long, 2> reference(Long x, const Real* p, Index n, const MixtureForm& form) {
  std::vector<Long> plus, minus, rising, logits;
  for (Index k = 0; k < n; ++k) {
    const Long u = p[k], v = p[n + k], w = p[2 * n + k];
    const Long scale = std::max<Long>(u, form.least_log_scale);
    const bool is_sloped = form.component == MixtureForm::sloped;
    const Long softplus =
        (u > 0 ? u + std::log1p(std::exp(-u)) : std::log1p(std::exp(u))) + form.least_slope;
    const Long c = is_sloped ? softplus * x + v : (x - v) * std::exp(-scale);
    logits.push_back(w);
    plus.push_back(w + log_sigmoid_of(c));
    minus.push_back(w + log_sigmoid_of(-c));
    rising.push_back(w + log_sigmoid_of(c) + log_sigmoid_of(-c) +
                     (is_sloped ? std::log(softplus) : -scale));
  }
  const Long up = logsumexp_of(plus), down = logsumexp_of(minus);
  const Long z = up - down, slope = logsumexp_of(rising) + logsumexp_of(logits) - up - down;
  if (!form.affine) return {z, slope};
  const Long a = std::isinf(form.cap) ? p[3 * n] : form.cap * std::tanh(p[3 * n] / form.cap);
  return {z * std::exp(a) + p[3 * n + 1], slope + a};
}

void expect_formula(const Tensor& x, const Tensor& p, Index n, const MixtureForm& form) {
  const auto [value, log_derivative] = logistic_mixture(x, p, form);
  ASSERT_EQ(value.shape(), x.shape());
  ASSERT_EQ(log_derivative.shape(), x.shape());
  for (Index i = 0; i < x.size(); ++i) {
    const Real* numbers = p.data() + i * p.size(-1);
    const auto [z, slope] = reference(x[i], numbers, n, form);
    const double size = std::max(1.0, static_cast<double>(std::abs(z)));
    const double rounding = 200 * Limits::epsilon() * size;
    ASSERT_NEAR(value.value()[i], z, rounding) << "the value at " << x[i] << ", element " << i;
    ASSERT_NEAR(log_derivative.value()[i], slope, rounding * std::max<Long>(1, std::abs(slope)))
        << "the log-derivative at " << x[i] << ", element " << i;
  }
}

TEST(LogisticMixture, IsItsFormula) {
  for (const MixtureForm& form : all_forms)
    for (const Shape& shape : {Shape{5}, Shape{3, 7}, Shape{2, 3, 67}, Shape{}})
      for (Index n : {1, 2, 8, 33}) {
        const Tensor x = Random(1).normal({1, shape.size()}).reshape(shape) * 3;
        expect_formula(x, random_parameters(shape, n, form), n, form);
      }
}

// Both sides of a mixture: what is large is subtracted before anything small is added.
TEST(LogisticMixture, KeepsItsDigitsFarFromTheMiddle) {
  for (const MixtureForm& form : {sloped, located})
    for (double far : {-1e4, -300.0, 300.0, 1e4}) {
      const Tensor x = Tensor::full({40}, static_cast<Real>(far));
      const auto [value, slope] = logistic_mixture(x, random_parameters({40}, 5, form), form);
      for (Index i = 0; i < 40; ++i) {
        const Tensor p = random_parameters({40}, 5, form);
        const auto [z, log_slope] = reference(far, p.data() + i * 15, 5, form);
        EXPECT_NEAR(value.value()[i], z, 20 * Limits::epsilon() * std::abs(far) * 10);
        EXPECT_NEAR(slope.value()[i], log_slope, 1e-3);
      }
    }
}

TEST(LogisticMixture, OfOneComponentIsAffine) {
  const Tensor x({3}, {-1e4, 0.5, 1e4}), p({3, 3}, {1, 2, 5, 1, 2, -100, -3, 2, 100});
  const auto [value, slope] = logistic_mixture(x, p, sloped);
  for (Index i = 0; i < 3; ++i) {
    const double a = std::log1p(std::exp(double{p[3 * i]}));
    EXPECT_NEAR(value.value()[i], a * x[i] + 2, 4 * Limits::epsilon() * std::abs(a * x[i] + 2));
    EXPECT_NEAR(slope.value()[i], std::log(a), 10 * Limits::epsilon());
  }
}

// ---- Gradients ----------------------------------------------------------------------------------

TEST(LogisticMixture, GradientsAgreeWithDifferences) {
  for (const MixtureForm& form : all_forms)
    for (int output : {0, 1, 2})
      for (Index n : {1, 5}) {
        const Tensor x = Random(1).normal({9, 5});
        const VarFunction f = [&](const std::vector<Var>& in) {
          const auto [value, slope] = logistic_mixture(in[0], in[1], form);
          return output == 0   ? std::vector{value}
                 : output == 1 ? std::vector{slope}
                               : std::vector{value, slope};
        };
        if (n == 1 && output == 1 && !form.affine) continue;  // x has no effect
        MixtureForm smooth = form;  // no log-scale within a step of the least
        Tensor p = random_parameters(x.shape(), n, smooth);
        for (Index i = 0; i < p.size(); ++i)
          if (std::abs(p[i] + 1) < 0.1) p.mutable_data()[i] = Real(-0.7);
        const auto report = gradcheck(f, {x, p});
        EXPECT_TRUE(report) << n << " components, output " << output << ": " << report.failure;
      }
}

TEST(LogisticMixture, LogDerivativeIsThatOfTheValue) {
  for (const MixtureForm& form : all_forms) {
    const Shape shape{40, 30};
    const Var x = Var::leaf(Random(1).normal(shape) * 10);
    const auto [value, log_derivative] =
        logistic_mixture(x, random_parameters(shape, 6, form), form);
    const Tensor slope = backward(sum(value))[x];
    for (Index i = 0; i < slope.size(); ++i)
      EXPECT_NEAR(std::log(slope[i]), log_derivative.value()[i], in_double ? 1e-11 : 1e-2)
          << x.value()[i];
  }
}

TEST(LogisticMixture, ALogScaleBelowTheLeastHasNoGradient) {
  const Var x = Var::leaf(Tensor({1}, {Real(0.3)}));
  const Var p = Var::leaf(Tensor({1, 6}, {-3, Real(0.5), Real(0.1), Real(-0.4), 1, -1}));
  const auto [value, slope] = logistic_mixture(x, p, located);
  const Tensor g = backward(sum(value) + sum(slope))[p];
  EXPECT_EQ(g[0], 0);
  for (Index i = 1; i < 6; ++i) EXPECT_NE(g[i], 0);
  Tensor at_least = p.value();
  at_least.mutable_data()[0] = -1;
  EXPECT_EQ(value.item(), logistic_mixture(x, at_least, located)[0].item());
}

// ---- Hard inputs --------------------------------------------------------------------------------

TEST(LogisticMixture, IsFiniteWithExtremeParameters) {
  const std::vector<Real> points = {-10000, -100, -1, 0, 1, 100, 10000};
  for (const MixtureForm& form : all_forms)
    for (int pattern = 0; pattern < 512; ++pattern) {  // each number of 3 components is large
      const Index numbers = form.affine ? 11 : 9;
      Tensor p = Tensor::empty({7, numbers});
      for (Index i = 0; i < p.size(); ++i) {
        const Index j = i % numbers;
        const Real size = j < 3 ? 80 : 100;
        p.mutable_data()[i] = j > 8 ? Real(1) : (pattern >> j & 1) != 0 ? size : -size;
      }
      const Var x = Var::leaf(Tensor({7}, points)), leaf = Var::leaf(p);
      const auto [value, slope] = logistic_mixture(x, leaf, form);
      ASSERT_TRUE(all_finite(value.value())) << pattern;
      ASSERT_TRUE(all_finite(slope.value())) << pattern;
      const Gradients g = backward(sum(value) + sum(slope));
      ASSERT_TRUE(all_finite(g[x])) << pattern;
      ASSERT_TRUE(all_finite(g[leaf])) << pattern;
    }
}

TEST(LogisticMixture, KeepsTinyAndHugeSlopes) {
  const Tensor x({3}, {2, 2, 2}), p({3, 3}, {-100, 0, 0, -700, 1, 3, 1000, -1, 0});
  const auto [value, slope] = logistic_mixture(x, p, sloped);
  const std::vector<double> z{2 * std::exp(-100), 1, 1999}, log_slope{-100, -700, std::log(1000)};
  for (Index i = 0; i < 3; ++i) {
    EXPECT_NEAR(value.value()[i], z[i], 10 * Limits::epsilon() * std::max(1.0, z[i]));
    EXPECT_NEAR(slope.value()[i], log_slope[i], 10 * Limits::epsilon() * std::abs(log_slope[i]));
  }
}

TEST(LogisticMixture, AComponentWithoutWeightMayBeAbsent) {
  const Real none = -Limits::infinity();
  const Tensor x({1}, {Real(0.7)});
  const Tensor with({1, 6}, {9, 1, 9, 2, none, 4}), without({1, 3}, {1, 2, 4});
  const auto [value, slope] = logistic_mixture(x, with, sloped);
  const auto [expected, expected_slope] = logistic_mixture(x, without, sloped);
  EXPECT_EQ(value.item(), expected.item());
  EXPECT_EQ(slope.item(), expected_slope.item());
}

TEST(LogisticMixture, KeepsNaNAndInfinity) {
  const Real infinite = Limits::infinity(), nan = Limits::quiet_NaN();
  const Tensor x({4}, {infinite, -infinite, nan, 1});
  for (const MixtureForm& form : all_forms) {
    const auto [value, slope] = logistic_mixture(x, random_parameters({4}, 3, form), form);
    EXPECT_EQ(value.value()[0], infinite);
    EXPECT_EQ(value.value()[1], -infinite);
    EXPECT_TRUE(std::isnan(value.value()[2]) && std::isnan(slope.value()[2]));
    EXPECT_TRUE(std::isfinite(value.value()[3]) && std::isfinite(slope.value()[3]));
    for (Index j = 0; j < 9; ++j) {
      Tensor p = random_parameters({1}, 3, form);
      p.mutable_data()[j] = nan;
      const auto [v, s] = logistic_mixture(Tensor({1}, {2}), p, form);
      EXPECT_TRUE(std::isnan(v.item()) && std::isnan(s.item())) << j;
    }
  }
}

TEST(LogisticMixture, OfNothingIsEmpty) {
  const Var x = Var::leaf(Tensor::empty({0, 3})), p = Var::leaf(Tensor::empty({0, 3, 6}));
  const auto [value, slope] = logistic_mixture(x, p, sloped);
  EXPECT_EQ(value.shape(), (Shape{0, 3}));
  EXPECT_EQ(backward(sum(value) + sum(slope))[p].shape(), (Shape{0, 3, 6}));
  EXPECT_EQ(logistic_mixture_inverse(value.value(), p.value(), sloped).shape(), (Shape{0, 3}));
}

TEST(LogisticMixture, WrongShapesAreNamed) {
  const auto error = [](const Shape& x, const Shape& p, const MixtureForm& form) {
    return error_of([&] { logistic_mixture(Tensor::zeros(x), Tensor::zeros(p), form); });
  };
  EXPECT_EQ(error({4, 2}, {4, 2, 7}, sloped),
            "[logistic_mixture] for x of (4, 2) the parameters of n components must be (..., 3 n); "
            "they are (4, 2, 7)");
  EXPECT_EQ(error({4, 2}, {4, 2, 6}, sloped_affine),
            "[logistic_mixture] for x of (4, 2) the parameters of n components must be (..., 3 n + "
            "2); they are (4, 2, 6)");
  for (const Shape& p : {Shape{}, Shape{6}, Shape{1, 2, 6}, Shape{4, 6}, Shape{4, 2, 0}})
    EXPECT_NE(error({4, 2}, p, sloped), "no error");
  EXPECT_NE(error({4, 2}, {4, 2, 2}, sloped_affine), "no error");
  EXPECT_EQ(error({2}, {2, 5}, {.affine = true, .cap = 0}),
            "[logistic_mixture] the cap must be positive, got 0");
  EXPECT_EQ(error({2}, {2, 3}, {.least_slope = -1}),
            "[logistic_mixture] the least slope must be at least 0 and finite, got -1");
  EXPECT_EQ(error_of([] {
              logistic_mixture_inverse(Tensor::zeros({2}), Tensor::zeros({3}), sloped);
            }).rfind("[logistic_mixture_inverse] for x of (2)", 0),
            0u);
}

// ---- Bits ---------------------------------------------------------------------------------------

TEST(LogisticMixture, HasTheSameBitsOnAnyNumberOfThreads) {
  for (const MixtureForm& form : all_forms)
    expect_same_bits_on_any_threads([&] {
      const Var x = Var::leaf(Random(1).normal({70, 33}));
      const Var p = Var::leaf(random_parameters(x.shape(), 8, form));
      const auto [value, slope] = logistic_mixture(x, p, form);
      const Gradients g = backward(sum(value) + sum(slope));
      return std::vector{value.value(), slope.value(), g[x], g[p],
                         logistic_mixture_inverse(value.value(), p.value(), form)};
    });
}

TEST(LogisticMixture, GivesEachElementTheBitsThatItHasAlone) {
  for (const MixtureForm& form : all_forms) {
    const Tensor x = Random(1).normal({77}), p = random_parameters({77}, 5, form);
    const auto [value, slope] = logistic_mixture(x, p, form);
    const Tensor back = logistic_mixture_inverse(value.value(), p, form);
    for (Index i = 0; i < 77; ++i) {
      const Tensor one = slice(x, 0, i, i + 1), numbers = slice(p, 0, i, i + 1);
      const auto [v, s] = logistic_mixture(one, numbers, form);
      EXPECT_EQ(v.item(), value.value()[i]);
      EXPECT_EQ(s.item(), slope.value()[i]);
      EXPECT_EQ(logistic_mixture_inverse(v.value(), numbers, form).item(), back[i]);
    }
  }
}

// ---- The inverse
// ----------------------------------------------------------------------------------

TEST(LogisticMixtureInverse, UndoesTheMixture) {
  for (const MixtureForm& form : all_forms)
    for (Index n : {1, 2, 8, 33}) {
      const Tensor x = Random(1).normal({20, 30}) * 50, p = random_parameters({20, 30}, n, form);
      const Tensor z = logistic_mixture(x, p, form)[0].value();
      const Tensor back = logistic_mixture_inverse(z, p, form);
      if (in_double) expect_close(back, x, 1e-9, "inverse(forward(x))");
      expect_close(logistic_mixture(back, p, form)[0].value(), z, in_double ? 1e-9 : 1e-4,
                   "forward(inverse(z))");
    }
}

TEST(LogisticMixtureInverse, IsFoundWithExtremeParameters) {
  const Tensor z = Random(2).normal({20, 30}) * 50;
  for (const MixtureForm& form : {sloped, located})
    for (Real scale : {Real(5), Real(20)}) {
      const Tensor p = random_parameters({20, 30}, 6, form, scale);
      const Tensor x = logistic_mixture_inverse(z, p, form);
      ASSERT_TRUE(all_finite(x));
      const auto [value, slope] = logistic_mixture(x, p, form);
      for (Index i = 0; i < z.size(); ++i) {  // x has been rounded, where the mixture may be steep
        const double rounding = std::exp(slope.value()[i]) * std::abs(x[i]) + std::abs(z[i]) + 1;
        ASSERT_NEAR(value.value()[i], z[i], 100 * Limits::epsilon() * rounding)
            << scale << ", " << i;
      }
    }
}

TEST(LogisticMixtureInverse, KeepsInfinityAndNaN) {
  const Real infinite = Limits::infinity();
  const Tensor z({3}, {infinite, -infinite, Limits::quiet_NaN()});
  for (const MixtureForm& form : all_forms) {
    const Tensor x = logistic_mixture_inverse(z, random_parameters({3}, 4, form), form);
    EXPECT_EQ(x[0], infinite);
    EXPECT_EQ(x[1], -infinite);
    EXPECT_TRUE(std::isnan(x[2]));
  }
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
