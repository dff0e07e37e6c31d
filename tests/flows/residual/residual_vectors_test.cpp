// Against tensors computed by the authors' published code (PyTorch, float64) at
// https://github.com/rtqichen/residual-flows. Every size and option is the file's.
#include <set>

#include "backflow/apps/files/safetensors.h"
#include "backflow/engine/backward.h"
#include "backflow/flows/residual/residual.h"
#include "backflow/ops/matmul.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Tensors = std::map<std::string, Tensor>;

Tensors load(const std::string& name) {
  return load_safetensors(BACKFLOW_SOURCE_ROOT "/tests/data/zoo/" + name + ".safetensors").tensors;
}

void expect_near(const Tensor& actual, const Tensor& expected, const std::string& what) {
  expect_close(actual.reshape(expected.shape()), expected, in_double ? 1e-9 : 2e-4, what);
}

// The file's network in a flow, with a bound c that none of its spectral norms reaches: then the
// weights are taken as they are.
struct Block {
  explicit Block(const std::string& name) : file(load(name)), flow(make()) {
    for (const auto& [path, parameter] : flow->parameters())
      parameter->set(file.at("param." + path.substr(4)));  // without "net."
  }

  std::unique_ptr<Residual> make() const {
    LipschitzOptions net{.hidden = {}, .context = 0};
    net.activation_first = file.contains("param.a0.beta");
    net.activation = net.activation_first ? Contraction::Kind::lipswish : Contraction::Kind::elu;
    for (int i = 0; file.contains("param.l" + std::to_string(i + 1) + ".weight"); ++i)
      net.hidden.push_back(file.at("param.l" + std::to_string(i) + ".weight").size(0));
    net.c = (1 + max(file.at("spectral_norms")).item()) / 2;
    return std::make_unique<Residual>(file.at("x").size(1), ResidualOptions{.net = net}, Random(1));
  }

  const LipschitzNet& net() const { return flow->net(); }

  // What `objective` gives for x, and its gradients: those of prefix.grad_x, prefix.grad.NAME.
  void expect_gradients(const std::string& prefix, const Var& x, const Var& objective) const {
    const Gradients gradients = backward(objective);
    expect_near(gradients[x], file.at(prefix + "grad_x"), prefix + "grad_x");
    for (const auto& [path, parameter] : flow->parameters()) {
      const std::string name = prefix + "grad." + path.substr(4);
      expect_near(gradients[*parameter], file.at(name), name);
    }
  }

  Tensors file;
  std::unique_ptr<Residual> flow;
};

class ResidualVectors : public testing::TestWithParam<const char*> {};

TEST_P(ResidualVectors, ExactMode) {
  const Block block(GetParam());
  const auto& file = block.file;
  const Var x = Var::leaf(file.at("x"));
  const Out out = block.flow->forward(x);
  expect_near(out.z.value(), file.at("z"), "z");
  expect_near(out.logdet.value(), file.at("logdet"), "logdet");
  expect_near(out.logdet.value(), file.at("logdet_by_jacobian"), "logdet_by_jacobian");
  block.expect_gradients("", x,
                         sum(out.z * file.at("grad_z")) + sum(out.logdet * file.at("grad_logdet")));
  const Tensor rows = transposed_jacobian(block.net(), block.net().at(x)).value();
  expect_near(transpose(rows), file.at("jacobian_of_g"), "jacobian_of_g");
  expect_near(block.flow->inverse(file.at("inverse.z")), file.at("inverse.x"), "inverse");
}

// The number of terms is that of the file, and their weights.
Probe probe_of(const Tensors& file, const std::vector<Real>& weights) {
  Probe probe{file.at("v"), {}};
  for (const Real weight : weights) probe.c.push_back(Tensor::full({file.at("v").size(0)}, weight));
  return probe;
}

TEST_P(ResidualVectors, TruncatedSeries) {
  const Block block(GetParam());
  const auto& file = block.file;
  const Var x = Var::leaf(file.at("x"));
  const Linearized at = block.net().at(x);
  const Index terms = file.at("series.terms").size(1);
  Var tangent = file.at("v");
  for (Index k = 0; k < terms; ++k) {
    tangent = block.net().jvp(at, tangent);
    expect_near(sum((file.at("v") * tangent).value(), {1}),
                slice(file.at("series.terms"), 1, k, k + 1).reshape({x.size(0)}), "series.terms");
  }
  const Var value = series_logdet(block.net(), at, probe_of(file, std::vector<Real>(terms, 1)));
  expect_near(value.value(), file.at("truncated.value"), "truncated.value");
  block.expect_gradients("truncated.", x, sum(value * file.at("series.grad_logdet")));
}

TEST_P(ResidualVectors, Roulette) {
  const Block block(GetParam());
  const auto& file = block.file;
  const Var x = Var::leaf(file.at("x"));
  const Linearized at = block.net().at(x);
  const Probe probe = probe_of(file, file.at("roulette.coefficients").values());
  const Var value = series_logdet(block.net(), at, probe);
  expect_near(value.value(), file.at("roulette.value"), "roulette.value");
  block.expect_gradients("roulette.", x, sum(value * file.at("series.grad_logdet")));
}

TEST_P(ResidualVectors, NeumannGradientWithTheValueOfTheRoulette) {
  const Block block(GetParam());
  const auto& file = block.file;
  const Var x = Var::leaf(file.at("x"));
  const Linearized at = block.net().at(x);
  const Probe probe = probe_of(file, file.at("roulette.coefficients").values());
  const Tensor u = neumann_series(block.net(), at, probe).u;
  expect_near(u, file.at("neumann_forward.u"), "neumann_forward.u");
  expect_near(sum((file.at("v") * block.net().jvp(at, u)).value(), {1}),
              file.at("neumann_forward.value"), "neumann_forward.value");
  const Var logdet = neumann_logdet(block.net(), at, probe);
  expect_near(logdet.value(), file.at("roulette.value"), "roulette.value");
  block.expect_gradients("neumann_forward.", x, sum(logdet * file.at("series.grad_logdet")));
}

// Theirs: w^T J v with w = sum_k (-1)^k c_k (J^T)^k v held fixed.
TEST_P(ResidualVectors, TheAuthorsNeumannGradient) {
  const Block block(GetParam());
  const auto& file = block.file;
  const Tensor v = file.at("v"), J = file.at("jacobian_of_g");
  const Index B = v.size(0), D = v.size(1);
  Tensor row = v.reshape({B, 1, D}), w = row;
  for (const Real c : file.at("roulette.coefficients").values()) {
    row = -matmul(row, J);
    w = w + c * row;
  }
  const Var x = Var::leaf(file.at("x"));
  const Var s = sum(w.reshape({B, D}) * block.net().jvp(block.net().at(x), v), {1});
  expect_near(s.value(), file.at("neumann.value"), "neumann.value");
  block.expect_gradients("neumann.", x, sum(s * file.at("series.grad_logdet")));
}

INSTANTIATE_TEST_SUITE_P(Zoo, ResidualVectors, testing::Values("residual_lipswish", "residual_elu"),
                         [](const auto& info) { return std::string(info.param).substr(9); });

// u and v are one step of the power iteration from u_before: no more than that is theirs.
TEST(SpectralNormVectors, ValueAndGradientForGivenVectors) {
  const Tensors file = load("spectral_norm");
  const auto column = [](const Tensor& x) { return x.reshape({x.size(), 1}); };
  // Their bound, which no tensor holds: what W / max(1, sigma / c) makes of a large W.
  const double c = file.at("large.sigma").item() *
                   (norm(file.at("large.normalised")) / norm(file.at("large.weight"))).item();
  for (const std::string prefix : {"large.", "small."}) {
    const auto at = [&](const std::string& name) { return file.at(prefix + name); };
    const Var W = Var::leaf(at("weight"));
    const SingularVectors of{column(at("u")), column(at("v"))};
    const Tensor v = matmul(transposed(W.value()), column(at("u_before")));
    expect_near(v / norm(v), of.v, "v");
    expect_near(sum(matmul(W.value(), of.v) * of.u), at("sigma").reshape({}), "sigma");
    EXPECT_EQ(at("sigma").item() > c, prefix == "large.");
    const Var result = normalized(W, of, c);
    expect_near(result.value(), at("normalised"), "normalised");
    expect_near(backward(sum(result * at("grad_normalised")))[W], at("grad_weight"), "grad_weight");

    const SingularVectors best = largest_singular_vectors(W.value(), 1e-3);
    const double largest = at("largest_singular_value").item();
    EXPECT_NEAR(sum(matmul(W.value(), best.v) * best.u).item(), largest,
                (in_double ? 1e-9 : 1e-4) * largest);
  }
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
