// The layers between the layers: orders, scales, and a flow turned around.
#include "backflow/flows/density.h"
#include "backflow/flows/elementwise/diagonal.h"
#include "backflow/flows/image/actnorm.h"
#include "backflow/flows/inverted.h"
#include "backflow/flows/permute.h"
#include "backflow/flows/sequential.h"
#include "backflow/tests/flows/check_zoo.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

TEST(Permute, TakesCoordinatesInItsOrder) {
  const Tensor x({2, 3}, {1, 2, 3, 4, 5, 6});
  EXPECT_EQ(Permute({2, 0, 1}).forward(x).z.value().values(),
            (std::vector<Real>{3, 1, 2, 6, 4, 5}));
  EXPECT_EQ(reverse(3)->forward(x).z.value().values(), (std::vector<Real>{3, 2, 1, 6, 5, 4}));
}

TEST(Permute, IsAFlow) {
  Permute flow({3, 0, 4, 1, 2});
  const Tensor x = Random(1).normal({3, 5});
  check_flow("permute", flow, x, x * 1e30);
  check_recorded_inverse(flow, x);
}

TEST(Permute, RefusesWhatIsNoOrder) {
  EXPECT_EQ(error_of([] {
              Permute({0, 2, 2});
            }),
            "[permute] an order of 3 coordinates must hold each of 0 ... 2 once, number 2 is 2");
  EXPECT_NE(error_of([] { Permute({0, 3}); }), "no error");
  EXPECT_NE(error_of([] { Permute({0, -1}); }), "no error");
  EXPECT_NE(error_of([] { reverse(-1); }), "no error");
  for (const Shape& shape : {Shape{}, Shape{2}, Shape{3, 3}, Shape{2, 2, 1}})
    EXPECT_NE(error_of([&] { reverse(2)->forward(Tensor::zeros(shape)); }), "no error") << shape;
}

TEST(Diagonal, IsAFlow) {
  for (Index D : {1, 2, 5}) {
    Diagonal flow(D);
    randomize(flow, Random(2));
    const Tensor x = Random(1).normal({3, D});
    check_flow("diagonal", flow, x, x * 1e30);
    check_recorded_inverse(flow, x);
    check_batches_of_one(flow, x);
    EXPECT_NE(error_of([&] { flow.forward(Tensor::zeros({2, D + 1})); }), "no error");
  }
  EXPECT_NE(error_of([] { Diagonal(-1); }), "no error");
}

TEST(ActNorm, HasAnInverseWithGradients) {
  ActNorm flow(3);
  randomize(flow, Random(2));
  check_recorded_inverse(flow, Random(1).normal({4, 3}));
  check_recorded_inverse(flow, Random(1).normal({2, 3, 2, 2}));
}

Pass training() {
  Pass pass;
  pass.mode = Mode::train;
  return pass;
}

void expect_normalized(const Tensor& x) {
  const Tensor centred = x - mean(x, {0}, true);
  const auto n = static_cast<Real>(x.size(0) - 1);
  expect_close(mean(x, {0}), Tensor::zeros({x.size(1)}), 1e-5, "mean");
  expect_close(sum(centred * centred, {0}) * (1 / n), Tensor::full({x.size(1)}, 1), 1e-4,
               "variance");
}

// An ActNorm, a scale and another ActNorm; the first batch comes through all three.
std::unique_ptr<Sequential> with_first_batches() {
  std::vector<std::unique_ptr<Flow>> layers;
  layers.push_back(std::make_unique<ActNorm>(2));
  layers.push_back(std::make_unique<Diagonal>(2));
  randomize(*layers.back(), Random(2));
  layers.push_back(std::make_unique<ActNorm>(2));
  return std::make_unique<Sequential>(std::move(layers));
}

TEST(Inverted, FirstBatchLeavesNormalized) {
  const Tensor x = Random(1).normal({50, 2}) * 3 + Tensor({2}, {5, -7});
  const Inverted begun(with_first_batches()), walked(with_first_batches());
  EXPECT_TRUE(begun.awaits_first_batch());
  begun.begin_step(x, training());
  EXPECT_FALSE(begun.awaits_first_batch());
  expect_normalized(begun.forward(x).z.value());
  Pass pass = training();
  expect_normalized(walked.forward(x, pass).z.value());
  const Density density(begun, {2});
  Pass another = training();
  const Tensor before = begun.forward(x).z.value();
  density.objective(x * 2, another);
  expect_close(begun.forward(x).z.value(), before, 0, "the second batch changes nothing");
}

TEST(Context, FailsInLayersThatTakeNone) {
  const Tensor x = Random(1).normal({3, 2});
  check_takes_no_context(Permute({1, 0}), x);
  check_takes_no_context(Diagonal(2), x);
  check_takes_no_context(ActNorm(2), x);
  check_takes_no_context(Inverted(with_first_batches()), x);
}

TEST(Sequential, RefusesNull) {
  std::vector<std::unique_ptr<Flow>> layers;
  layers.push_back(reverse(2));
  layers.push_back(nullptr);
  EXPECT_EQ(error_of([&] { Sequential(std::move(layers)); }), "[sequential] layer 1 of 2 is null");
}

TEST(Inverted, IsAFlow) {
  Inverted flow(with_first_batches());
  randomize(flow, Random(3));
  const Tensor x = Random(1).normal({4, 2});
  check_flow("inverted", flow, x, x * 1e5);
  check_recorded_inverse(flow, x);
  EXPECT_EQ(error_of([] { Inverted(nullptr); }), "[inverted] the flow is null");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
