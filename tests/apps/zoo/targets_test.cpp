#include "backflow/apps/zoo/targets.h"

#include <gtest/gtest.h>

#include <cmath>

#include "backflow/ops/gradcheck.h"
#include "backflow/ops/pointwise.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// n^2 points in the middles of the cells of [-half, half]^2.
Tensor grid(Index n, double half) {
  Tensor x = Tensor::empty({n * n, 2});
  Real* to = x.mutable_data();
  const auto at = [=](Index i) {
    return static_cast<Real>(half * (2 * static_cast<double>(i) + 1 - static_cast<double>(n)) /
                             static_cast<double>(n));
  };
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < n; ++j) {
      *to++ = at(i);
      *to++ = at(j);
    }
  return x;
}

class EachTarget : public testing::TestWithParam<Target> {};
class EachDensity : public EachTarget {};  // it has a sampler
class EachEnergy : public EachTarget {};

// The integral of the density, and its entropy, by sums over cells.
TEST_P(EachTarget, HasTheMassAndTheEntropyThatItSays) {
  const Target& target = GetParam();
  const Index n = 160;
  const double half = target.half_width + 1, cell = std::pow(2 * half / n, 2);
  const Tensor log_p = target.log_density(grid(n, half));
  double mass = 0, entropy = 0, inside = 0;
  const Tensor x = grid(n, half);
  for (Index i = 0; i < log_p.size(); ++i) {
    const double p = std::exp(log_p[i] - target.log_z) * cell;
    mass += p;
    if (p > 0) entropy -= p * (log_p[i] - target.log_z);
    if (std::max(std::abs(x[2 * i]), std::abs(x[2 * i + 1])) < target.half_width) inside += p;
  }
  const double tolerance = 5e-3;  // thin rings and the edges of squares are as wide as few cells
  EXPECT_NEAR(mass, 1, tolerance);
  EXPECT_NEAR(entropy, target.entropy, 3 * tolerance);
  EXPECT_GT(inside, 0.999 - tolerance);
}

// The mean of -log p over its own samples is the entropy, with a known standard error: sampler and
// density are of one mind.
TEST_P(EachDensity, DrawsWhatItIs) {
  const Target& target = GetParam();
  const Index n = 5'000;
  const Tensor x = target.sample(n, Random(7));
  ASSERT_EQ(x.shape(), (Shape{n, 2}));
  double sum = 0, squares = 0;
  for (Real log_p : target.log_density(x).values()) {
    ASSERT_TRUE(std::isfinite(log_p));
    sum -= log_p;
    squares += log_p * log_p;
  }
  const double mean = sum / n, deviation = std::sqrt(std::max(0.0, squares / n - mean * mean));
  EXPECT_NEAR(mean, target.entropy, 4 * deviation / std::sqrt(n) + 1e-5);
}

// Each part is a density of its own, and all together are the target.
TEST_P(EachDensity, IsTheMeanOfItsParts) {
  const Target& target = GetParam();
  if (target.labels == 0) return;
  const Index n = 80;
  const double half = target.half_width + 1, cell = std::pow(2 * half / n, 2);
  const Tensor x = grid(n, half), log_p = target.log_density(x);
  std::vector<double> means(static_cast<std::size_t>(x.size(0)));
  double entropy = 0;
  for (int label = 0; label < target.labels; ++label) {
    const std::vector<int> labels(static_cast<std::size_t>(x.size(0)), label);
    const Tensor log_part = target.log_density_given_label(x, labels);
    double mass = 0;
    for (Index i = 0; i < log_part.size(); ++i) {
      const double p = std::exp(log_part[i]) / target.labels;
      means[static_cast<std::size_t>(i)] += p;
      mass += p * cell * target.labels;
      if (p > 0) entropy -= p * cell * log_part[i];
    }
    EXPECT_NEAR(mass, 1, 5e-3) << "label " << label;
  }
  for (Index i = 0; i < log_p.size(); ++i)
    ASSERT_NEAR(means[static_cast<std::size_t>(i)], std::exp(log_p[i]), 1e-6);
  EXPECT_NEAR(entropy, target.entropy_given_label, 0.015);
}

TEST_P(EachDensity, DrawsWhatEachLabelSays) {
  const Target& target = GetParam();
  if (target.labels == 0) return;
  const Index n = 2'000;
  const TargetSample sample = target.sample_with_labels(n, Random(7));
  EXPECT_EQ(sample.x.values(), target.sample(n, Random(7)).values());
  double sum = 0, squares = 0;
  for (Real log_p : target.log_density_given_label(sample.x, sample.labels).values()) {
    ASSERT_TRUE(std::isfinite(log_p));
    sum -= log_p;
    squares += log_p * log_p;
  }
  const double mean = sum / n, deviation = std::sqrt(std::max(0.0, squares / n - mean * mean));
  EXPECT_NEAR(mean, target.entropy_given_label, 4 * deviation / std::sqrt(n) + 1e-5);
}

TEST_P(EachEnergy, HasItsGradient) {
  const Target& target = GetParam();
  const auto energy = [&](const std::vector<Var>& in) { return std::vector{target.energy(in[0])}; };
  const Tensor x({4, 2}, {0.3, -1.2, 2.1, 0.4, -1.7, 1.1, 6.5, -7});
  const auto report = gradcheck(energy, {x});
  EXPECT_TRUE(report) << report.failure;
  expect_close(target.energy(x).value(), -target.log_density(x), 1e-6, "U and -log density");
}

// Every row is tested as what it is.
std::vector<Target> rows(bool energies) {
  const auto is = [=](const Target& target) {
    return (target.energy != nullptr) == energies && (target.sample != nullptr) != energies;
  };
  return targets().where(is).rows();
}
std::string name_of(const testing::TestParamInfo<Target>& row) { return row.param.name; }

INSTANTIATE_TEST_SUITE_P(Targets, EachTarget, testing::ValuesIn(targets().rows()), name_of);
INSTANTIATE_TEST_SUITE_P(Targets, EachDensity, testing::ValuesIn(rows(false)), name_of);
INSTANTIATE_TEST_SUITE_P(Targets, EachEnergy, testing::ValuesIn(rows(true)), name_of);

TEST(Targets, AreDensitiesOrEnergies) {
  EXPECT_EQ(rows(false).size() + rows(true).size(), targets().rows().size());
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
