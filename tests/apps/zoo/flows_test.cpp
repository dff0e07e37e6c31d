#include "backflow/apps/zoo/flows.h"

#include <gtest/gtest.h>

#include "backflow/apps/zoo/targets.h"
#include "backflow/flows/density.h"
#include "backflow/ops/finite.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

class EachZooFlow : public testing::TestWithParam<const char*> {
 protected:
  const ZooFlow& row() const { return zoo_flows()[GetParam()]; }
  ZooConfig defaults(const std::string& target) const {
    ZooConfig config = zoo_defaults(GetParam(), target);
    if (target.empty()) config.data = "table.csv";
    return config;
  }
  Tensor on_grid(const Tensor& x) const {
    if (!row().of_integers) return x;
    return pointwise(
        x, [](Real v) { return std::round(v / Real(zoo_grid_step)) * Real(zoo_grid_step); });
  }
};

TEST_P(EachZooFlow, HasDefaultsThatAreValidForEveryTargetThatItLearns) {
  for (const Target& target : targets().rows()) {
    if (target.energy && row().why_no_energy)
      EXPECT_NE(error_of([&] { validate(defaults(target.name)); }).find(row().why_no_energy),
                std::string::npos);
    else
      EXPECT_EQ(error_of([&] { validate(defaults(target.name)); }), "no error") << target.name;
  }
  if (row().why_no_table)
    EXPECT_NE(error_of([&] { validate(defaults("")); }).find(row().why_no_table),
              std::string::npos);
  else
    EXPECT_EQ(error_of([&] { validate(defaults("")); }), "no error");
}

TEST_P(EachZooFlow, MakesADensityOfAnyNumberOfColumnsThatItTakes) {
  for (const Index D : {1, 2, 5}) {
    ZooConfig config = defaults(row().why_no_table ? "moons" : "");
    config.layers = 2;
    if (D < row().least_dimensions) {
      EXPECT_NE(error_of([&] { make_zoo_model(config, D, 0); }).find("columns, got 1"),
                std::string::npos);
      continue;
    }
    for (const Index context : {0, 3}) {
      if (context && row().why_no_context) {
        EXPECT_NE(error_of([&] { make_zoo_model(config, D, context); }).find("takes none"),
                  std::string::npos);
        continue;
      }
      const ZooModel model = make_zoo_model(config, D, context);
      const Density density(*model.flow, {D}, *model.base);
      Pass pass;
      if (context) pass.context = Random(2).normal({7, context});
      const Tensor log_p = density.log_prob(on_grid(Random(1).normal({7, D})), pass);
      EXPECT_EQ(log_p.shape(), Shape{7});
      EXPECT_TRUE(all_finite(log_p)) << D << " columns, context " << context;
    }
  }
}

TEST_P(EachZooFlow, IsMadeOfItsSeedAlone) {
  ZooConfig config = defaults("moons");
  const auto numbers = [&] {
    const ZooModel model = make_zoo_model(config, 2, 0);
    std::vector<Real> all;
    for (const auto& [name, parameter] : model.flow->parameters())
      for (const Real value : parameter->value().values()) all.push_back(value);
    return all;
  };
  const std::vector<Real> of_seed_0 = numbers();
  EXPECT_EQ(numbers(), of_seed_0);
  config.seed = 1;
  EXPECT_NE(numbers(), of_seed_0);
}

// Noise comes from all of the plane: a flow that is not onto would have no sample for some of it.
// Of the energies, u2 to u4 are wider than the noise along the first axis.
TEST(ZooFlows, LearnEnergiesFromAWideStart) {
  for (const char* name : {"planar", "radial", "sylvester"}) {
    const ZooModel model = make_zoo_model(zoo_defaults(name, "u2"), 2, 0);
    const Tensor x = Density(*model.flow, {2}).sample(1000, Random(1));
    const Tensor square_of_x = mean(square(x), {0}).value();
    EXPECT_GT(square_of_x[0], 6) << name;
    EXPECT_LT(square_of_x[1], 3) << name;
  }
}

TEST_P(EachZooFlow, DrawsSamplesOfItsDensity) {
  for (const char* target : {"moons", "u2"}) {
    if (targets()[target].energy && row().why_no_energy) continue;
    const ZooModel model = make_zoo_model(defaults(target), 2, 0);
    const Density density(*model.flow, {2}, *model.base);
    const auto [x, log_p] = density.sample_and_log_prob(500, Random(1));
    EXPECT_TRUE(all_finite(x)) << target;
    expect_close(log_p, density.log_prob(x), in_double ? 1e-8 : 1e-2, target);
  }
}

std::vector<const char*> all_flows() {
  std::vector<const char*> all;
  for (const ZooFlow& flow : zoo_flows().rows()) all.push_back(flow.name);
  return all;
}
INSTANTIATE_TEST_SUITE_P(Zoo, EachZooFlow, testing::ValuesIn(all_flows()),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
