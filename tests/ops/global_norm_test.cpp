#include "backflow/ops/global_norm.h"

#include <cmath>

#include "backflow/ops/random.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

struct Model : Module {
  explicit Model(const Shape& weight) : weight(add_parameter("weight", Tensor::zeros(weight))) {}
  Parameter& weight;
  Parameter& bias = add_parameter("bias", Tensor::zeros({2}));
  Parameter& unused = add_parameter("unused", Tensor::zeros({3}));
};

// A graph in which these are the gradients of weight and bias.
Gradients gradients_that_are(const Model& model, const Tensor& weight, const Tensor& bias) {
  return backward(record("f", Tensor(0),
                         joint_grad({model.weight.var(), model.bias.var()},
                                    [=](const Tensor&) { return grads(weight, bias); })));
}

TEST(GlobalNorm, IsTheNormOfAllGradientsTogether) {
  for (const Shape& shape : {Shape{2, 3}, Shape{100003}}) {
    const Model model(shape);
    const Tensor weight = Random(5).normal(shape), bias({2}, {3, -4});
    double squares = 25;
    for (Real g : weight.values()) squares += static_cast<double>(g) * g;
    const Gradients gradients = gradients_that_are(model, weight, bias);
    EXPECT_NEAR(global_norm(gradients, model.parameters()), std::sqrt(squares), 1e-10);
  }
}

TEST(GlobalNorm, OfNoGradientsIsZero) {
  EXPECT_EQ(global_norm(Gradients(), Model({2}).parameters()), 0);
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
