// Flows that are fast from noise to data, trained on their own samples: the free energy
// E_q[log q + U] is at least -log Z.
#include <cmath>

#include "backflow/engine/optimizer.h"
#include "backflow/flows/density.h"
#include "backflow/flows/inverted.h"
#include "backflow/flows/variational/planar.h"
#include "backflow/flows/variational/radial.h"
#include "backflow/flows/variational/sylvester.h"
#include "backflow/tests/flows/check_zoo.h"
#include "backflow/tests/flows/energies.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// Inverted: a density is walked from data to noise.
std::vector<std::unique_ptr<Inverted>> all_stacks(int layers) {
  std::vector<std::unique_ptr<Inverted>> all;
  const Random random(7);
  all.push_back(std::make_unique<Inverted>(planar(2, {.layers = layers}, random)));
  all.push_back(std::make_unique<Inverted>(radial(2, {.layers = layers}, random)));
  all.push_back(std::make_unique<Inverted>(sylvester(2, {.layers = layers}, random)));
  return all;
}

struct Mean {
  double value, standard_error;
};

Mean free_energy(const Flow& flow, const Energy& energy) {
  const NoGrad no_grad;
  Pass pass;
  const Index n = 20000;
  const auto [x, log_q] = Density(flow, {2}).recorded_sample_and_log_prob(n, Random(99), pass);
  const Tensor f = (log_q + energy.of(x)).value();
  const double average = mean(f).item();
  return {average, std::sqrt(sum(f * f).item() / n - average * average) / std::sqrt(n)};
}

void expect_at_least_minus_log_z(const Flow& flow, const Energy& energy) {
  const Mean mean = free_energy(flow, energy);
  EXPECT_TRUE(std::isfinite(mean.value)) << energy.name;
  EXPECT_GE(mean.value, -energy.log_z - 4 * mean.standard_error) << energy.name;
}

void train(const Flow& flow, const Energy& energy, std::uint32_t steps) {
  const Density density(flow, {2});
  Adam adam(density.parameters());
  for (std::uint32_t step = 0; step < steps; ++step) {
    Pass pass;
    const auto [x, log_q] = density.recorded_sample_and_log_prob(128, Random(3).stream(step), pass);
    adam.step(backward(mean(log_q + energy.of(x))), 3e-2);
  }
}

TEST(ReverseKL, FreeEnergyIsAtLeastMinusLogZ) {
  for (const Energy& energy : energies::all)
    for (const auto& flow : all_stacks(8)) {
      expect_at_least_minus_log_z(*flow, energy);
      randomize(*flow, Random(5));
      expect_at_least_minus_log_z(*flow, energy);
    }
}

TEST(ReverseKL, TrainingComesNearAndStaysAbove) {
  for (const Energy& energy : energies::all)
    for (const auto& flow : all_stacks(4)) {
      const double before = free_energy(*flow, energy).value + energy.log_z;
      train(*flow, energy, 150);
      expect_at_least_minus_log_z(*flow, energy);
      const double after = free_energy(*flow, energy).value + energy.log_z;
      EXPECT_LT(after, 0.6 * before) << energy.name;
    }
}

// What the density says of a sample by walking it back is what it said when it drew it.
TEST(ReverseKL, SamplesAndLikelihoodsAgree) {
  for (const auto& flow : all_stacks(4)) {
    randomize(*flow, Random(5));
    Pass pass;
    const Density density(*flow, {2});
    const auto [x, log_q] = density.recorded_sample_and_log_prob(100, Random(1), pass);
    expect_close(log_q.value(), density.log_prob(x.value()), in_double ? 1e-9 : 1e-3, "log q");
  }
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
