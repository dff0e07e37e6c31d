#include "backflow/flows/conditioners/made.h"

#include "backflow/flows/autoregressive/autoregressive.h"
#include "backflow/ops/jacobian.h"
#include "backflow/ops/shape.h"
#include "backflow/tests/flows/check_zoo.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

std::vector<Index> shuffled(Index D) {
  const auto order = Random(11).permutation(static_cast<std::uint32_t>(D));
  return {order.begin(), order.end()};
}

// Whether each output depends on exactly the coordinates before it: random weights, tanh.
void check_dependences(const Made& made, Index K) {
  const std::vector<Index>& order = made.order();
  const Index D = std::ssize(order);
  const auto f = [&](const Var& x) { return reshape(made(x, {}), Shape{D * K}); };
  const Tensor J = jacobian(f, Random(3).normal({1, D})).reshape({D * K, D});
  for (Index to = 0; to < D; ++to)
    for (Index from = 0; from < D; ++from)
      for (Index k = 0; k < K; ++k) {
        const Real slope = J.at({order[to] * K + k, order[from]});
        if (from < to)
          EXPECT_NE(slope, 0) << "place " << to << " does not depend on place " << from;
        else
          EXPECT_EQ(slope, 0) << "place " << to << " depends on place " << from;
      }
}

TEST(Made, OutputsDependOnTheCoordinatesBeforeThemAlone) {
  for (Index D : {1, 2, 5, 64})
    for (const std::vector<Index>& hidden : std::vector<std::vector<Index>>{{}, {130}, {70, 90}}) {
      const Made made(shuffled(D), 3, {.hidden = hidden, .activation = tanh}, Random(1));
      randomize(made, Random(2));
      check_dependences(made, 3);
    }
}

TEST(Made, HiddenDegreesMayBeGiven) {
  const Net net{.hidden = {4, 3}, .activation = tanh};
  const Made made({1, 0, 2}, 2, net, Random(1), {2, 1, 3, 0, 1, 2, 2});
  randomize(made, Random(2));
  check_dependences(made, 2);
  const auto with = [&](const std::vector<Index>& degrees) {
    return error_of([&] { Made({1, 0, 2}, 2, net, Random(1), degrees); });
  };
  EXPECT_EQ(with({1, 1, 1}), "[made] a degree for each of 7 hidden units expected, got 3");
  EXPECT_EQ(with({1, 1, 1, 1, 4, 1, 1}), "[made] degrees of 0 ... 3 expected, got 4");
  EXPECT_EQ(with({1, 1, 1, 1, -1, 1, 1}), "[made] degrees of 0 ... 3 expected, got -1");
}

TEST(Made, RefusesWhatIsNoOrder) {
  const auto with = [](const std::vector<Index>& order, Index K = 1) {
    return error_of([&] { Made(order, K, {}, Random(1)); });
  };
  EXPECT_EQ(with({}), "[made] an order of at least one coordinate expected, got none");
  EXPECT_EQ(
      with({0, 2, 2}),
      "[made] the order of 3 coordinates must hold each of 0 ... 2 once, at place 2 it has 2");
  EXPECT_NE(with({0, 3, 1}), "no error");
  EXPECT_NE(with({0, -1, 1}), "no error");
  EXPECT_EQ(with({0}, 0), "[made] at least one parameter per coordinate expected, got 0");
}

// fill() against the network itself: x_i = z_i + p_i . (1, 2, ...), and p of the whole x.
void check_fill(Index B, const std::vector<Index>& order, const std::vector<Index>& hidden,
                Index context) {
  const Index K = 2, D = std::ssize(order);
  const Made made(order, K, {.hidden = hidden, .activation = tanh, .context = context}, Random(1));
  randomize(made, Random(2), 0.3);
  Pass pass;
  if (context > 0) pass.context = Random(4).normal({B, context});
  const Tensor z = Random(3).normal({B, D});
  std::vector<Tensor> parameters(static_cast<std::size_t>(D));
  const Tensor x = made.fill({B, D}, pass, [&](Index i, const Tensor& p) {
    EXPECT_EQ(p.shape(), Shape({B, K}));
    parameters[i] = p;
    return tanh(Var(slice(z, 1, i, i + 1) + slice(p, 1, 0, 1) - slice(p, 1, 1, 2))).value();
  });
  EXPECT_EQ(x.shape(), Shape({B, D}));
  expect_close(stack(parameters, 1), made(x, pass).value(), in_double ? 1e-12 : 1e-4, "p");
}

TEST(Made, FillGivesWhatTheNetworkGives) {
  for (Index D : {1, 2, 7, 8, 9, 64})
    for (Index context : {0, 3})
      for (const std::vector<Index>& hidden :
           std::vector<std::vector<Index>>{{}, {5}, {64, 64}, {3, 40, 7}})
        check_fill(4, shuffled(D), hidden, context);
  check_fill(1500, shuffled(17), {40, 30}, 2);
  const Made made({0, 1}, 1, {}, Random(1));
  const auto none = [](Index, const Tensor&) -> Tensor { fail("test", "no examples"); };
  EXPECT_EQ(made.fill({0, 2}, {}, none).shape(), Shape({0, 2}));
}

TEST(Made, LargeNetworksGiveThatAsWell) {  // whose products leave zeros out
  for (const std::vector<Index>& order : {ascending(64), descending(64), shuffled(64)})
    for (Index B : {1, 300}) check_fill(B, order, {256, 300}, 0);
}

TEST(Made, WeightsThatChangedAreReadAnew) {
  const Net net{.hidden = {256, 256}, .activation = tanh};
  const auto both_ways = [](const Made& made) {
    const auto value = [](Index, const Tensor& p) { return p; };
    return std::array{made(Random(3).normal({5, 64}), {}).value().values(),
                      made.fill({5, 64}, {}, value).values()};
  };
  const Made made(ascending(64), 1, net, Random(1)), other(ascending(64), 1, net, Random(2));
  const auto before = both_ways(made);
  for (std::size_t i = 0; i < made.parameters().size(); ++i)
    made.parameters()[i].parameter->set(other.parameters()[i].parameter->value());
  EXPECT_NE(before, both_ways(other));
  EXPECT_EQ(both_ways(made), both_ways(other));
}

Index activated = 0;
Var counting_tanh(const Var& x) {
  activated += x.size();
  return tanh(x);
}

TEST(Made, FillComputesEachHiddenUnitOnce) {
  const Index B = 10, D = 64;
  const Made made(shuffled(D), 2, {.hidden = {100, 30}, .activation = counting_tanh}, Random(1));
  Index values = 0;
  activated = 0;
  made.fill({B, D}, {}, [&](Index, const Tensor& p) {
    ++values;
    return slice(p, 1, 0, 1);
  });
  EXPECT_EQ(activated, B * (100 + 30));
  EXPECT_EQ(values, D);
}

TEST(Made, FillHasTheSameBitsOnAnyThreads) {
  const Made made(shuffled(20), 1, {.hidden = {90}}, Random(1));
  expect_same_bits_on_any_threads([&] {
    return std::vector{
        made.fill({3000, 20}, {}, [](Index, const Tensor& p) { return p + Tensor(Real(1)); })};
  });
}

TEST(Made, FillRefusesOtherShapes) {
  const Made made({0, 1}, 1, {}, Random(1));
  const auto same = [](Index, const Tensor& p) { return p; };
  EXPECT_EQ(error_of([&] {
              made.fill({4, 3}, {}, same);
            }),
            "[made] (B, 2) expected, the shape is (4, 3)");
  EXPECT_NE(error_of([&] { made.fill({2}, {}, same); }), "no error");
  EXPECT_EQ(error_of([&] {
              made.fill({4, 2}, {}, [](Index, const Tensor&) { return Tensor::zeros({3}); });
            }),
            "[made] 4 values of one coordinate expected, got (3)");
  Pass pass;
  pass.context = Tensor::zeros({4, 1});
  EXPECT_NE(error_of([&] { made.fill({4, 2}, pass, same); }), "no error");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
