// Constants of the flows that published numbers depend on, each from what a user can see.
#include "backflow/flows/density.h"
#include "backflow/flows/image/actnorm.h"
#include "backflow/flows/image/squeeze.h"
#include "backflow/flows/linear/conv_exponential.h"
#include "backflow/flows/sequential.h"
#include "backflow/ops/finite.h"
#include "backflow/ops/pointwise.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

Pass training() {
  Pass pass;
  pass.mode = Mode::train;
  return pass;
}

// A kernel whose centre alone is not 0 acts as that number: sigma is its size, and so the
// logdet of 12 pixels is 12 k / (max(1, |k| / 0.9) + 1e-5); that of the 1x1 convolution is 0.
TEST(ConvExponential, DividesItsKernelByTheNormAndAnOffsetOf1e_5) {
  for (const double k : {0.5, -0.25, 3.0}) {
    const ConvExponential flow(1, 3, 4, Random(1));
    Tensor kernel = Tensor::zeros({1, 1, 3, 3});
    kernel.mutable_data()[4] = static_cast<Real>(k);
    flow.parameters()[0].parameter->set(kernel);
    const Tensor x = Random(2).normal({1, 1, 3, 4});
    flow.begin_step(x, training());
    const double expected = 12 * k / (std::max(1.0, std::abs(k) / 0.9) + 1e-5);
    EXPECT_NEAR(flow.forward(x).logdet.item(), expected, in_double ? 1e-12 : 5e-6) << k;
  }
}

TEST(ActNorm, AddsOneHundredMillionthToTheStandardDeviation) {
  const ActNorm flow(2);  // the standard deviations are 0 and 1e-8
  const Real spread = Real(1e-8) / std::sqrt(Real(2));
  flow.begin_step(Tensor({2, 2}, {0, spread, 0, -spread}), training());
  const Tensor& log_scale = flow.parameters()[1].parameter->value();
  EXPECT_NEAR(log_scale[0], std::log(1e-8), 1e-5);
  EXPECT_NEAR(log_scale[1], std::log(2e-8), 1e-5);
}

// ---- The power iteration at the ends of Real's range ----------------------------------------

// sigma after 20 steps, for a kernel that acts as the number k.
double sigma_of(Real k) {
  const ConvExponential flow(1, 3, 4, Random(1));
  Tensor kernel = Tensor::zeros({1, 1, 3, 3});
  kernel.mutable_data()[4] = k;
  flow.parameters()[0].parameter->set(kernel);
  for (int step = 0; step < 20; ++step) flow.begin_step(Tensor::zeros({1, 1, 3, 4}), training());
  for (const auto& [name, buffer] : flow.buffers())
    for (Real value : buffer->values()) EXPECT_TRUE(std::isfinite(value)) << name << " at " << k;
  return flow.buffers()[2].tensor->item();
}

TEST(ConvExponential, KnowsTheNormOfKernelsWhoseSquaresOverflowOrVanish) {
  using Limits = std::numeric_limits<Real>;
  for (const Real k : {Limits::max() / 1024, Limits::min() * 1024, Real(1e-15), Real(1)})
    EXPECT_NEAR(sigma_of(k) / k, 1, 1e-3) << k;
  sigma_of(Limits::denorm_min());
}

// ---- Passes ---------------------------------------------------------------------------------

// As people write them who do not know of begin_step().
struct Wrapper : Flow {
  Wrapper() { add_module("inner", inner); }
  Out forward(const Var& x, Pass& pass) const override { return inner.forward(x, pass); }
  Tensor inverse(const Tensor& z, Pass& pass) const override { return inner.inverse(z, pass); }
  ActNorm inner{2};
};

TEST(Density, TheFirstBatchReachesAnActNormWhoseOwnerDoesNotBeginSteps) {
  const Wrapper flow;
  Pass pass = training();
  Density(flow, {2}).objective(Tensor({2, 2}, {1, 2, 3, 4}), pass);
  EXPECT_FALSE(flow.inner.awaits_first_batch());
  EXPECT_EQ(flow.parameters()[0].parameter->value().values(), (std::vector<Real>{2, 3}));
}

// No walk finds out what reaches the inner layers once they have had their first batch.
TEST(Sequential, BeginsLaterStepsWhereLayersChangeTheShape) {
  std::vector<std::unique_ptr<Flow>> layers;
  layers.push_back(std::make_unique<Squeeze>());
  layers.push_back(std::make_unique<ActNorm>(4));
  layers.push_back(std::make_unique<ConvExponential>(4, 2, 2, Random(1)));
  const Sequential flow(std::move(layers));
  const Density density(flow, {4, 2, 2});
  Pass pass = training();
  for (std::uint64_t step = 0; step < 3; ++step)
    EXPECT_TRUE(all_finite(density.objective(Random(step).normal({2, 1, 4, 4}), pass).value()));
}

struct Failing : Flow {
  Out forward(const Var&, Pass&) const override { fail("failing", "always"); }
  Tensor inverse(const Tensor&, Pass&) const override { fail("failing", "always"); }
};

TEST(Density, APassWhoseWalkFailedMayServeAnotherStep) {
  const Failing flow;
  Pass pass = training();
  EXPECT_EQ(error_of([&] {
              Density(flow, {2}).objective(Tensor::zeros({2, 2}), pass);
            }),
            "[failing] always");
  EXPECT_FALSE(pass.step_begun);
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
