// Planar, radial and Sylvester flows at random parameters, and where their equations come near to
// having no inverse.
#include <functional>

#include "backflow/flows/variational/planar.h"
#include "backflow/flows/variational/radial.h"
#include "backflow/flows/variational/sylvester.h"
#include "backflow/ops/matmul.h"
#include "backflow/tests/flows/check_zoo.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Basis = Sylvester::Basis;
using Offset = Radial::Offset;

struct Case {
  std::string name;
  Index D;
  std::unique_ptr<Flow> flow;
};

std::vector<Case> all_of_width(Index D) {
  std::vector<Case> all;
  const Random random(static_cast<std::uint64_t>(D));
  all.push_back({"planar", D, std::make_unique<Planar>(D, random)});
  for (Offset offset : {Offset::absolute, Offset::softplus})
    all.push_back({"radial", D, std::make_unique<Radial>(D, offset, random)});
  for (Basis basis : {Basis::orthogonal, Basis::householder, Basis::identity, Basis::reversal})
    for (Index units : {D, (D + 1) / 2}) {
      const Sylvester::Options options{.units = units, .basis = basis, .reflections = 2};
      all.push_back({"sylvester", D, std::make_unique<Sylvester>(D, options, random)});
    }
  std::uint64_t seed = 10;
  for (Case& c : all) randomize(*c.flow, Random(seed++));
  return all;
}

Parameter& parameter(const Flow& flow, const std::string& name) {
  for (const auto& [own, parameter] : flow.parameters())
    if (own == name) return *parameter;
  fail("test", "no parameter is named ", name);
}

void fill(const Flow& flow, const std::string& name, double value) {
  const Shape& shape = parameter(flow, name).shape();
  parameter(flow, name).set(Tensor::full(shape, static_cast<Real>(value)));
}

TEST(Variational, AllAreFlowsWithRecordedInverses) {
  for (Index D : {1, 2, 5})
    for (Case& c : all_of_width(D)) {
      const Tensor x = Random(1).normal({4, D});
      check_flow(c.name, *c.flow, x, x * Real(1e15));
      check_recorded_inverse(*c.flow, x);
      check_batches_of_one(*c.flow, x);
      check_takes_no_context(*c.flow, x);
    }
}

TEST(Variational, WideOnesUndoThemselvesOnAnyThreads) {
  for (Case& c : all_of_width(64)) {
    const Tensor x = Random(1).normal({150, c.D}) * 5;
    check_round_trip(*c.flow, x, {});
    check_threads(*c.flow, x);
    check_logdet(*c.flow, slice(x, 0, 0, 2), {});
  }
}

TEST(Variational, StacksAreFlows) {
  std::vector<Case> all;
  for (Ends ends : {Ends::diagonal, Ends::actnorm}) {
    all.push_back({"planar", 3, planar(3, {.layers = 3, .ends = ends}, Random(1))});
    all.push_back({"radial", 3, radial(3, {.layers = 3, .ends = ends}, Random(1))});
    for (Basis basis : {Basis::householder, Basis::identity}) {
      const SylvesterOptions options{.layers = 3, .layer = {.basis = basis}, .ends = ends};
      all.push_back({"sylvester", 3, sylvester(3, options, Random(1))});
    }
  }
  const Tensor x = Random(1).normal({4, 3});
  for (Case& c : all) {
    randomize(*c.flow, Random(5));
    check_flow(c.name, *c.flow, x, x * Real(1e15));
    check_recorded_inverse(*c.flow, x);
    check_round_trip(*c.flow, x * 5, {});
  }
}

TEST(Variational, StacksBeginWithOtherNumbersInEachLayer) {
  const auto flow = planar(2, {.layers = 2}, Random(1));
  EXPECT_NE(parameter(*flow, "1.w").value().values(), parameter(*flow, "2.w").value().values());
}

// f(f^-1(z)) = z even where f^-1 magnifies what rounding does to z.
void expect_backward_error(const Flow& flow, const Tensor& z) {
  const Tensor again = flow.forward(flow.inverse(z)).z.value();
  expect_close(again, z, in_double ? 1e-9 : 1e-4, "f(f^-1(z))");
}

TEST(Planar, IsExactWhereItNearlyFolds) {
  const Planar flow(3, Random(1));
  const Tensor points = Random(2).normal({100, 3});
  for (double along : {-3., -20., -60.}) {  // w.u: down to 1 + w.u' = 1e-26
    parameter(flow, "w").set(Tensor({1, 3}, {1, 2, -1}));
    parameter(flow, "u").set(Tensor({1, 3}, {0.5, static_cast<Real>(along / 2), 0.5}));
    for (Real scale : {Real(1e-3), Real(1), Real(50)}) expect_backward_error(flow, points * scale);
    check_finite(flow, points, {});
  }
}

TEST(Planar, IsFiniteAtExtremeParameters) {
  const Planar flow(2, Random(1));
  const Tensor x = Random(2).normal({20, 2});
  for (double w : {1e-12, 1e5})
    for (double u : {-1e5, 0., 1e5}) {
      fill(flow, "w", w);
      fill(flow, "u", u);
      check_finite(flow, x, {});
    }
}

TEST(Planar, RefusesAVectorWithoutADirection) {
  const Planar flow(2, Random(1));
  fill(flow, "w", 0);
  const Tensor x = Tensor::zeros({1, 2});
  const std::string line = "[planar] w is 0 to rounding, and has no direction to bend along";
  EXPECT_EQ(error_of([&] { flow.forward(x); }), line);
  EXPECT_EQ(error_of([&] { flow.inverse(x); }), line);
  fill(flow, "w", std::numeric_limits<Real>::max());
  EXPECT_EQ(error_of([&] { flow.forward(x); }), "[planar] w is so long that its square overflows");
}

// At the centre z has the derivative p / a in all directions.
TEST(Radial, IsSmoothAtItsCentre) {
  const Radial flow(3, Offset::softplus, Random(1));
  fill(flow, "x0", 0.5);
  fill(flow, "beta", 2);
  const Var x = Var::leaf(Tensor::full({1, 3}, 0.5));
  const Out out = flow.forward(x);
  const double stretch = std::log1p(std::exp(2)) / std::log(2);
  EXPECT_EQ(out.z.value().values(), x.value().values());
  EXPECT_NEAR(out.logdet.value().item(), 3 * std::log(stretch), 1e-5);
  EXPECT_NEAR(backward(sum(out.z))[x][0], stretch, 1e-5);
  EXPECT_EQ(backward(flow.forward(x).logdet)[x].values(), std::vector<Real>(3, 0));
  EXPECT_EQ(flow.inverse(x.value()).values(), x.value().values());
  const Out back = flow.inverse_recorded(x, *std::make_unique<Pass>());
  EXPECT_NEAR(backward(sum(back.z))[x][0], 1 / stretch, 1e-5);
  check_finite(flow, x.value(), {});
}

TEST(Radial, IsExactWhereItNearlyFoldsOrNearlyTears) {
  const Radial flow(3, Offset::softplus, Random(1));
  fill(flow, "x0", 0);  // else points very near to it are not numbers
  const Tensor points = Random(2).normal({100, 3});
  for (double alpha : {-60., 0., 50.})
    for (double beta : {-60., 0., 50.}) {
      fill(flow, "alpha", alpha);
      fill(flow, "beta", beta);
      for (Real scale : {Real(1e-3), Real(1), Real(50)})
        expect_backward_error(flow, points * scale);
      check_finite(flow, points, {});
    }
}

TEST(Radial, BeginsAsTheIdentity) {
  const Tensor x = Random(1).normal({4, 3});
  for (Offset offset : {Offset::absolute, Offset::softplus}) {
    const auto [z, logdet] = Radial(3, offset, Random(2)).forward(x);
    expect_close(z.value(), x, 1e-6, "z");
    expect_close(logdet.value(), Tensor::zeros({4}), 1e-6, "logdet");
  }
}

TEST(Radial, RefusesABallThatBecomesAPoint) {
  const Radial flow(2, Offset::absolute, Random(1));
  fill(flow, "alpha", 0);
  EXPECT_EQ(error_of([&] { flow.forward(Tensor::zeros({1, 2})); }).substr(0, 8), "[radial]");
  fill(flow, "alpha", 1);
  fill(flow, "beta", -1000);
  EXPECT_EQ(error_of([&] { flow.inverse(Tensor::zeros({1, 2})); }).substr(0, 8), "[radial]");
}

TEST(Sylvester, IsExactWhereItNearlyFolds) {
  for (Basis basis : {Basis::orthogonal, Basis::householder}) {
    const Sylvester flow(4, {.units = 3, .basis = basis}, Random(1));
    randomize(flow, Random(3));
    const Tensor points = Random(2).normal({100, 4});
    for (double d : {2., 15., 40.}) {
      fill(flow, "diag1", d);
      fill(flow, "diag2", -d);
      for (Real scale : {Real(1e-3), Real(1), Real(50)})
        expect_backward_error(flow, points * scale);
      check_finite(flow, points, {});
    }
  }
}

TEST(Sylvester, HasOrthonormalColumns) {
  for (Basis basis : {Basis::orthogonal, Basis::householder, Basis::identity, Basis::reversal})
    for (Index units : {1, 3, 7}) {
      const Sylvester flow(7, {.units = units, .basis = basis, .reflections = 3}, Random(1));
      const Tensor Q = flow.Q().value();
      expect_close(matmul(transposed(Q), Q), Tensor::identity(units), in_double ? 1e-14 : 1e-6, "");
    }
}

TEST(Sylvester, RefusesBasesThatHaveNoDirection) {
  const Tensor x = Tensor::zeros({1, 3});
  const Sylvester householder(3, {.reflections = 2}, Random(1));
  fill(householder, "q", 0);
  EXPECT_EQ(error_of([&] { householder.forward(x); }),
            "[sylvester] row 0 of q is 0 to rounding, and reflects in no direction");
  fill(householder, "q", std::numeric_limits<Real>::max());
  EXPECT_EQ(error_of([&] { householder.forward(x); }),
            "[sylvester] row 0 of q is so long that its square overflows");
  const Sylvester orthogonal(3, {.units = 2, .basis = Basis::orthogonal}, Random(1));
  for (double same : {0., 1.}) {
    fill(orthogonal, "q", same);
    EXPECT_NE(error_of([&] { orthogonal.forward(x); }).find("columns of q are dependent"),
              std::string::npos);
  }
}

TEST(Variational, BadInputIsRefused) {
  for (Case& c : all_of_width(3))
    for (const Shape& shape : {Shape{}, Shape{3}, Shape{2, 4}, Shape{2, 3, 1}}) {
      const Tensor x = Tensor::zeros(shape);
      EXPECT_NE(error_of([&] { c.flow->forward(x); }).find("a batch (B, 3) expected"),
                std::string::npos);
      EXPECT_NE(error_of([&] { c.flow->inverse(x); }).find("a batch (B, 3) expected"),
                std::string::npos);
    }
  for (Index D : {-1, 0}) {
    EXPECT_NE(error_of([=] { Planar(D, Random(1)); }), "no error");
    EXPECT_NE(error_of([=] { Radial(D, Offset::softplus, Random(1)); }), "no error");
    EXPECT_NE(error_of([=] { Sylvester(D, {}, Random(1)); }), "no error");
  }
  for (Index units : {-1, 4})
    EXPECT_NE(error_of([=] { Sylvester(3, {.units = units}, Random(1)); }), "no error");
  EXPECT_NE(error_of([] { Sylvester(3, {.reflections = -1}, Random(1)); }), "no error");
  EXPECT_EQ(error_of([] { planar(2, {.layers = 0}, Random(1)); }),
            "[planar] at least one layer expected, got 0");
  EXPECT_NE(error_of([] { radial(2, {.layers = 0}, Random(1)); }), "no error");
  EXPECT_NE(error_of([] { sylvester(2, {.layers = -1}, Random(1)); }), "no error");
}

TEST(Variational, BatchesOfNoExamplesAreEmpty) {
  for (Case& c : all_of_width(2)) {
    const Out out = c.flow->forward(Tensor::empty({0, 2}));
    EXPECT_EQ(out.z.shape(), Shape({0, 2}));
    EXPECT_EQ(out.logdet.shape(), Shape{0});
    EXPECT_EQ(c.flow->inverse(out.z.value()).shape(), Shape({0, 2}));
  }
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
