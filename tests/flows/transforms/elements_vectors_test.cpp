// The transforms of NAF, Flow++ and neural spline flows against other libraries' values, which
// tests/data/zoo names. A file has each kind of parameters in a tensor of its own.
#include <cmath>

#include "backflow/flows/coupling/coupling.h"
#include "backflow/flows/permute.h"
#include "backflow/flows/sequential.h"
#include "backflow/flows/transforms/logistic_mixture.h"
#include "backflow/flows/transforms/spline.h"
#include "backflow/ops/shape.h"
#include "backflow/tests/flows/vectors.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// A transform whose parameters are those of the file, one behind the other.
struct Element : Flow {
  Element(Vectors& vectors, std::unique_ptr<Transform> transform,
          const std::vector<std::string>& names)
      : transform(std::move(transform)) {
    for (const std::string& name : names)
      numbers.push_back(&add_parameter(name, vectors["param." + name]));
  }
  Var p() const {
    std::vector<Var> parts;
    for (const Parameter* part : numbers) {
      const Shape& s = part->shape();
      parts.push_back(s.rank() == 3 ? part->var() : reshape(part->var(), Shape{s[0], s[1], 1}));
    }
    return concat(parts, 2);
  }
  Out forward(const Var& x, Pass&) const override {
    const auto [z, log_slope] = transform->forward(x, p());
    return {z, sum_examples(log_slope)};
  }
  Tensor inverse(const Tensor& z, Pass&) const override {
    return transform->inverse(z, p().value());
  }
  using Flow::forward, Flow::inverse;

  std::unique_ptr<Transform> transform;
  std::vector<Parameter*> numbers;
};

TEST(ZooVectors, NafElement) {
  Vectors vectors("zoo/naf_element");
  const Index n = vectors["param.w"].size(2);
  const Element flow(vectors, std::make_unique<LogisticMixture>(n, dsf), {"a", "b", "w"});
  expect_zoo_flow(vectors, flow);
  // What torchkit clips is off by as much as its constants are.
  const Out out = flow.forward(vectors["x"]);
  expect_close(out.z.value(), vectors["z_reference"], 1e-4, "torchkit's z");
  expect_close(out.logdet.value(), vectors["logdet_reference"], 1e-4, "torchkit's logdet");
}

TEST(ZooVectors, FlowppElement) {
  Vectors vectors("zoo/flowpp_element");
  const Index n = vectors["param.means"].size(2);
  const Element flow(vectors, std::make_unique<LogisticMixture>(n, flowpp_mixture),
                     {"log_scales", "means", "logit_weights", "log_scale_out", "shift_out"});
  expect_zoo_flow(vectors, flow);
  // The mixture alone: logit F, and log f - log F - log(1 - F).
  const MixtureForm alone{.component = MixtureForm::located};
  const auto [z, log_slope] = logistic_mixture(vectors["x"], slice(flow.p(), 2, 0, 3 * n), alone);
  vectors.expect("cdf", sigmoid(z).value());
  vectors.expect("log_pdf", (log_slope + log_sigmoid(z) + log_sigmoid(-z)).value());
}

// ---- Splines ------------------------------------------------------------------------------------

// With nflows' slopes, 1e-3 + softplus(u): ours are those of a shifted u.
class NflowsSpline : public RationalQuadraticSpline {
 public:
  NflowsSpline(Index bins, double bound)
      : RationalQuadraticSpline(bins, {.bound = bound}), shift_(Tensor::zeros({3 * bins - 1})) {
    const Real shift =
        static_cast<Real>(-std::log(std::expm1(1 - SplineOptions().least_derivative)));
    std::fill_n(shift_.mutable_data() + 2 * bins, bins - 1, shift);
  }
  std::array<Var, 2> forward(const Var& x, const Var& p) const override {
    return RationalQuadraticSpline::forward(x, p + shift_);
  }
  Tensor inverse(const Tensor& z, const Tensor& p) const override {
    return RationalQuadraticSpline::inverse(z, p + shift_);
  }

 private:
  Tensor shift_;
};

// The number behind "tail_bound" in what the file says of its source.
double tail_bound(const std::string& file) {
  const std::string source =
      load_safetensors(BACKFLOW_SOURCE_ROOT "/tests/data/" + file + ".safetensors")
          .metadata.at("source");
  const std::string word = "tail_bound";
  return std::stod(source.substr(source.find(word) + word.size() + 1));
}

TEST(ZooVectors, NsfElement) {
  Vectors vectors("zoo/nsf_element");
  const Index K = vectors["param.widths"].size(2);
  const double bound = tail_bound("zoo/nsf_element");
  const Element flow(vectors, std::make_unique<NflowsSpline>(K, bound),
                     {"widths", "heights", "derivatives"});
  expect_zoo_flow(vectors, flow);
  // Where the file's inner knots are, the slopes are the file's.
  const Tensor widths = vectors["widths_normalised"], slopes = vectors["slopes"];
  for (Index k = 0; k + 1 < K; ++k) {
    const Tensor knot = sum(slice(widths, 2, 0, k + 1), {2}) - Tensor(static_cast<Real>(bound));
    const Tensor found = flow.transform->forward(knot, flow.p())[1].value();
    const Tensor expected = slice(slopes, 2, k, k + 1).reshape(knot.shape());
    expect_close(exp(found).value(), expected, in_double ? 1e-9 : 1e-3, "slope at a knot");
  }
}

TEST(ZooVectors, NsfCoupling) {
  Vectors vectors("zoo/nsf_coupling");
  const Tensor transformed = vectors["transformed"];
  std::vector<Index> kept, moved;
  for (Index i = 0; i < transformed.size(); ++i) (transformed[i] != 0 ? moved : kept).push_back(i);
  std::vector<Index> order = kept;
  order.insert(order.end(), moved.begin(), moved.end());
  std::vector<Index> place(order.size());
  for (std::size_t t = 0; t < order.size(); ++t) place[order[t]] = static_cast<Index>(t);
  const Index numbers = vectors["param.l1.bias"].size() / std::ssize(moved);
  auto spline = std::make_unique<NflowsSpline>((numbers + 1) / 3, tail_bound("zoo/nsf_coupling"));
  const Net net{.hidden = {vectors["param.l0.bias"].size()}};
  std::vector<std::unique_ptr<Flow>> layers;
  layers.push_back(std::make_unique<Permute>(order));
  layers.push_back(std::make_unique<Coupling>(transformed.size(), std::ssize(kept),
                                              std::move(spline), net, Random(1)));
  layers.push_back(std::make_unique<Permute>(place));
  // "1.net.0.weight" is "l0.weight" in the file, "1.net.2.bias" is "l1.bias".
  expect_zoo_flow(vectors, Sequential(std::move(layers)), {}, [](const std::string& name) {
    return (name.starts_with("1.net.0.") ? "l0" : "l1") + name.substr(name.rfind('.'));
  });
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
