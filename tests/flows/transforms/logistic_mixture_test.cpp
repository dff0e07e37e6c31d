#include "backflow/flows/transforms/logistic_mixture.h"

#include "backflow/tests/flows/transforms/check_transform.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

TEST(LogisticMixtureTransform, IsATransform) {
  for (Index n : {1, 3, 8}) {
    LogisticMixture naf(n, dsf), flowpp(n, flowpp_mixture);
    check_transform("dsf of " + std::to_string(n), naf);
    check_transform("flow++ of " + std::to_string(n), flowpp);
  }
}

TEST(LogisticMixtureTransform, BeginsNearTheIdentityWithItsComponentsApart) {
  for (const MixtureForm& form : {dsf, flowpp_mixture}) {
    const LogisticMixture transform(8, form);
    const Tensor p = transform.initial(Random(1));
    for (Index k = 0; k < 7; ++k) EXPECT_LT(p[8 + k], p[8 + k + 1]);
    const Tensor x({1, 5}, {-20, -1, 0, 1, 20});
    const auto [z, log_slope] =
        transform.forward(x, initial_parameters(transform, 5, Random(1)).reshape({1, 5, p.size()}));
    for (Index i = 0; i < 5; ++i) {
      EXPECT_NEAR(z.value()[i], x[i], 1.5);
      EXPECT_NEAR(log_slope.value()[i], 0, 0.5);
    }
    EXPECT_NEAR(z.value()[2], 0, 1e-5);
  }
  EXPECT_EQ(LogisticMixture(1, dsf).initial(Random(1))[1], 0);
}

TEST(LogisticMixtureTransform, RefusesToHaveNoComponents) {
  EXPECT_EQ(error_of([] { LogisticMixture(0, dsf); }),
            "[logistic_mixture] at least one component expected, got 0");
}

TEST(LogisticMixtureTransform, RefusesFormsThatMakeNoTransform) {
  const auto error = [](const MixtureForm& form) {
    return error_of([&] { LogisticMixture(2, form); });
  };
  const double nan = std::nan("");
  EXPECT_EQ(error({.least_slope = -1}),
            "[logistic_mixture] the least slope must be at least 0 and finite, got -1");
  EXPECT_EQ(error(capped(flowpp_mixture, 0)),
            "[logistic_mixture] the cap must be positive, or infinity for none, got 0");
  for (const MixtureForm& form : {MixtureForm{.least_slope = nan}, MixtureForm{.cap = nan},
                                  MixtureForm{.least_log_scale = nan}})
    EXPECT_NE(error(form), "no error");
  EXPECT_EQ(error(capped(flowpp_mixture, HUGE_VAL)), "no error");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
