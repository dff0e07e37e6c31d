// What a training step changes in a flow, and when: before the walk, after it, never in it.
#include "backflow/engine/optimizer.h"
#include "backflow/flows/density.h"
#include "backflow/flows/elementwise/activations.h"
#include "backflow/flows/image/actnorm.h"
#include "backflow/flows/image/preprocessing.h"
#include "backflow/flows/image/squeeze.h"
#include "backflow/flows/linear/conv_exponential.h"
#include "backflow/flows/linear/self_normalizing.h"
#include "backflow/flows/sequential.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

template <class F, class... Arguments>
std::unique_ptr<Flow> make(Arguments&&... arguments) {
  return std::make_unique<F>(std::forward<Arguments>(arguments)...);
}

template <class... Layers>
Sequential chain(Layers... layers) {
  std::vector<std::unique_ptr<Flow>> all;
  (all.push_back(std::move(layers)), ...);
  return Sequential(std::move(all));
}

Pass training(bool begun = false) {
  Pass pass;
  pass.mode = Mode::train;
  pass.step_begun = begun;
  pass.noise = Random(5, Purpose{2});
  return pass;
}

std::vector<std::vector<Real>> state_of(const Flow& flow) {
  std::vector<std::vector<Real>> all;
  for (const auto& [name, parameter] : flow.parameters())
    all.push_back(parameter->value().values());
  for (const auto& [name, buffer] : flow.buffers()) all.push_back(buffer->values());
  return all;
}

// An actnorm behind a layer with noise of its own, one behind that, and a power iteration.
Sequential with_first_batches() {
  return chain(make<Dequantization>(), make<ActNorm>(2), make<SmoothLeakyReLU>(), make<ActNorm>(2),
               make<ConvExponential>(2, 4, 4, Random(1)));
}
const Shape batch_shape{6, 2, 4, 4};

TEST(Step, ObjectiveBeginsIt) {
  const Sequential flow = with_first_batches();
  const Density density(flow, {2, 4, 4});
  const Tensor x = Random(3).normal(batch_shape);
  EXPECT_TRUE(flow.awaits_first_batch());
  Pass pass = training();
  density.objective(x, pass);
  EXPECT_FALSE(flow.awaits_first_batch());
  EXPECT_FALSE(pass.step_begun) << "the pass may serve another step";
}

TEST(Step, BegunBeforeTheWalkIsTheSameToTheBit) {
  const Sequential together = with_first_batches(), apart = with_first_batches();
  const Tensor x = Random(3).normal(batch_shape);
  for (int step = 0; step < 3; ++step) {
    Pass pass = training(), begun = training(true);
    const Tensor z = together.forward(x, pass).z.value();
    apart.begin_step(x, begun);
    EXPECT_EQ(apart.forward(x, begun).z.value().values(), z.values());
    EXPECT_EQ(state_of(apart), state_of(together));
    EXPECT_TRUE(begun.losses.empty() && begun.factored_out.empty());
  }
}

TEST(Step, FirstBatchLeavesEachActNormWithMeanZero) {
  const Sequential flow = with_first_batches();
  const Tensor x = Random(3).normal(batch_shape) * 7;
  flow.begin_step(x, training());
  Pass pass = training(true);
  Tensor at = x;
  for (std::size_t i = 0; i < 4; ++i) {
    at = flow.layers()[i]->forward(at, pass).z.value();
    if (i % 2 == 0) continue;
    for (Real mean_of_channel : mean(at, {0, 2, 3}).values())
      EXPECT_NEAR(mean_of_channel, 0, 1e-5) << "layer " << i;
  }
}

TEST(Step, WalkThatIsBegunWritesNothing) {
  const Sequential flow = with_first_batches();
  const Tensor x = Random(3).normal(batch_shape);
  flow.begin_step(x, training());
  const auto before = state_of(flow);
  Pass pass = training(true);
  const Var leaf = Var::leaf(x);
  backward(sum(flow.forward(leaf, pass).z));
  EXPECT_EQ(state_of(flow), before);
}

// What flow.h promises to whoever will share a batch out.
TEST(Step, PartsOfABatchWalkAsTheWholeDoes) {
  const Sequential flow = with_first_batches();
  const Tensor x = Random(3).normal(batch_shape);
  flow.begin_step(x, training());
  Pass whole = training(true);
  whole.examples = {0, 1, 2, 3, 4, 5};
  const Tensor z = flow.forward(x, whole).z.value();
  for (Index first : {0, 2, 4}) {
    Pass part = training(true);
    for (std::uint32_t i : {0, 1}) part.examples.push_back(static_cast<std::uint32_t>(first) + i);
    const Tensor part_of_z = flow.forward(slice(x, 0, first, first + 2), part).z.value();
    expect_close(part_of_z, slice(z, 0, first, first + 2), in_double ? 1e-12 : 1e-5, "z");
  }
}

// As people write them who do not know of begin_step().
struct Wrapper : Flow {
  Wrapper() { add_module("inner", inner); }
  Out forward(const Var& x, Pass& pass) const override { return inner.forward(x, pass); }
  Tensor inverse(const Tensor& z, Pass& pass) const override { return inner.inverse(z, pass); }
  ConvExponential inner{2, 4, 4, Random(1)};
};

TEST(Step, ReachesTheFlowsInsideOfAFlow) {
  const Wrapper flow;
  const auto before = state_of(flow);
  Pass pass = training();
  Density(flow, {2, 4, 4}).objective(Random(3).normal(batch_shape), pass);
  EXPECT_NE(state_of(flow), before) << "no power iteration";
}

TEST(Pass, MayOutliveItsFlow) {
  ReconstructionOptions geco;
  geco.geco_rate = 1e-3;
  Pass pass = training();
  {
    const SelfNormalizing flow(Tensor::identity(3), Tensor::identity(3), Tensor::zeros({3}), geco);
    flow.forward(Random(1).normal({2, 3}), pass);
    pass.losses.at(0).adapt(2);
    EXPECT_EQ(flow.buffers()[1].tensor->item(), 2) << "the moving average begins with the loss";
  }
  pass.losses.at(0).adapt(2);  // changes nothing, above all not freed memory
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
