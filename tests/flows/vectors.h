// Files of reference tensors, and comparing a flow with one.
#pragma once

#include <map>
#include <set>

#include "backflow/apps/files/safetensors.h"
#include "backflow/tests/flows/check_flow.h"

namespace backflow::inline BACKFLOW_PRECISION {

// One file. Every tensor of it must be asked for, as an input or to compare with.
class Vectors {
 public:
  explicit Vectors(const std::string& name)
      : name_(name),
        tensors_(
            load_safetensors(BACKFLOW_SOURCE_ROOT "/tests/data/" + name + ".safetensors").tensors) {
  }
  ~Vectors() {
    for (const auto& [tensor, value] : tensors_)
      EXPECT_TRUE(used_.contains(tensor)) << name_ << " holds '" << tensor << "', never compared";
  }

  Tensor operator[](const std::string& tensor) {
    used_.insert(tensor);
    const auto found = tensors_.find(tensor);
    if (found == tensors_.end()) fail("vectors", name_, " has no '", tensor, "'");
    return found->second;
  }

  bool has(const std::string& tensor) const { return tensors_.contains(tensor); }

  // A kernel of one tap is a matrix, a tensor with one element a scalar: only sizes must agree.
  void expect(const std::string& tensor, const Tensor& actual) {
    const Tensor expected = (*this)[tensor];
    ASSERT_EQ(actual.size(), expected.size()) << name_ << ": " << tensor;
    double largest = 0;
    for (Real value : expected.values()) largest = std::max(largest, std::abs(double{value}));
    for (Index i = 0; i < expected.size(); ++i)
      ASSERT_NEAR(actual[i], expected[i], (in_double ? 1e-9 : 1e-4) * largest)
          << name_ << ": " << tensor << ", element " << i;
  }

 private:
  std::string name_;
  std::map<std::string, Tensor> tensors_;
  std::set<std::string> used_;
};

// What all files of tests/data/zoo hold of a flow: z, logdet and the gradients at x, and a pair
// that the inverse must connect. `file_name` says what the file calls a parameter, "0.weight" by
// itself.
inline void expect_zoo_flow(
    Vectors& vectors, const Flow& flow, Pass pass = {},
    const std::function<std::string(std::string)>& file_name = [](std::string s) { return s; }) {
  for (const auto& [name, parameter] : flow.parameters())
    parameter->set(vectors["param." + file_name(name)].reshape(parameter->shape()));
  const Var x = Var::leaf(vectors["x"]);
  const Out out = flow.forward(x, pass);
  vectors.expect("z", out.z.value());
  vectors.expect("logdet", out.logdet.value());
  if (vectors.has("logdet_by_jacobian")) vectors.expect("logdet_by_jacobian", out.logdet.value());
  const Gradients gradients =
      backward(sum(out.z * vectors["grad_z"]) + sum(out.logdet * vectors["grad_logdet"]));
  vectors.expect("grad_x", gradients[x]);
  for (const auto& [name, parameter] : flow.parameters())
    vectors.expect("grad." + file_name(name), gradients[*parameter]);
  const Tensor back = flow.inverse(vectors["inverse.z"], pass);
  if (in_double) vectors.expect("inverse.x", back);  // floats lose it where a layer squeezes much
  vectors.expect("inverse.z", flow.forward(back, pass).z.value());
  vectors.expect("inverse.z", flow.forward(vectors["inverse.x"], pass).z.value());
}

}  // namespace backflow::inline BACKFLOW_PRECISION
