// Against 60-digit arithmetic and the authors' code; tests/data/zoo.
#include "backflow/flows/discrete/discretized_logistic.h"
#include "backflow/flows/discrete/integer_discrete_flow.h"
#include "backflow/flows/permute.h"
#include "backflow/flows/sequential.h"
#include "backflow/tests/flows/vectors.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

std::string name_in_file(const std::string& name) {
  return name == "mean" ? "mu" : name == "logits" ? "logit_weights" : name;
}

// x counts as real. The files add the gradient of z = x to that of x.
void expect_base(Vectors& vectors, const Base& base) {
  for (const auto& [name, parameter] : base.parameters())
    parameter->set(vectors["param." + name_in_file(name)]);
  const Var x = Var::leaf(vectors["x"]);
  const Var log_prob = base.log_prob(x);
  vectors.expect("z", x.value());
  vectors.expect("logdet", log_prob.value());
  vectors.expect("logdet", sum_examples(vectors["log_prob_elements"]));
  vectors["log_prob_elements_reference"];  // with the authors' 1e-8, which is not to be matched
  const Gradients gradients = backward(sum(log_prob * vectors["grad_logdet"]));
  vectors.expect("grad_x", gradients[x] + vectors["grad_z"]);
  for (const auto& [name, parameter] : base.parameters())
    vectors.expect("grad." + name_in_file(name), gradients[*parameter]);
}

TEST(Vectors, DiscretizedLogistic) {
  Vectors vectors("zoo/idf_logistic");
  expect_base(vectors, DiscretizedLogistic({vectors["x"].size(1)}));
}

TEST(Vectors, DiscretizedLogisticMixture) {
  Vectors vectors("zoo/idf_mixture");
  const Shape shape = vectors["param.mu"].shape();
  expect_base(vectors, DiscretizedLogisticMixture({shape[0]}, shape[1]));
}

struct Flows {
  Flows(Vectors& vectors) {
    const Index D = vectors["x"].size(1);
    for (int i = 0; vectors.has("param." + std::to_string(i) + ".l0.weight"); ++i) {
      const std::string layer = "param." + std::to_string(i) + ".l0.weight";
      if (i > 0) layers.push_back(reverse(D));
      const Net net{.hidden = {vectors[layer].size(0)}, .activation = tanh};
      layers.push_back(
          std::make_unique<DiscreteCoupling>(D, vectors[layer].size(1), net, Random(1)));
    }
  }
  std::vector<std::unique_ptr<Flow>> layers;
};

// "2.net.0.weight" is "1.l0.weight": the layers between reverse, those of a net are activations.
std::string of_coupling(const std::string& name) {
  const std::size_t dot = name.find('.'), net = dot + 5;
  const int layer = std::stoi(name.substr(0, dot)) / 2, inner = std::stoi(name.substr(net)) / 2;
  return std::to_string(layer) + ".l" + std::to_string(inner) + name.substr(name.find('.', net));
}

TEST(Vectors, IntegerDiscreteFlow) {
  Vectors vectors("zoo/idf_flow");
  const Sequential flow(std::move(Flows(vectors).layers));
  const DiscretizedLogistic base({vectors["x"].size(1)});
  for (const auto& [name, parameter] : flow.parameters())
    parameter->set(vectors["param." + of_coupling(name)]);
  for (const auto& [name, parameter] : base.parameters())
    parameter->set(vectors["param." + name_in_file(name)]);
  const Var x = Var::leaf(vectors["x"]);
  const Out out = flow.forward(x);
  EXPECT_EQ(out.z.value().values(), vectors["z"].values());
  const Var log_prob = base.log_prob(out.z) + out.logdet;
  vectors.expect("log_prob", log_prob.value());
  const Gradients gradients = backward(sum(log_prob * vectors["grad_log_prob"]));
  vectors.expect("grad_x", gradients[x]);
  for (const auto& [name, parameter] : flow.parameters())
    vectors.expect("grad." + of_coupling(name), gradients[*parameter]);
  for (const auto& [name, parameter] : base.parameters())
    vectors.expect("grad." + name_in_file(name), gradients[*parameter]);
  EXPECT_EQ(flow.inverse(vectors["inverse.z"]).values(), vectors["inverse.x"].values());
  EXPECT_EQ(flow.forward(vectors["inverse.x"]).z.value().values(), vectors["inverse.z"].values());
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
