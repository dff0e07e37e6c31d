// Fits y = a x + b to five points of y = 2 x + 1 by gradient descent.
#include <cstdio>

#include "backflow/engine/module.h"
#include "backflow/engine/optimizer.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"

class Line : public backflow::Module {
 public:
  Line()
      : a_(add_parameter("a", backflow::Tensor::zeros({1}))),
        b_(add_parameter("b", backflow::Tensor::zeros({1}))) {}
  backflow::Var operator()(const backflow::Var& x) const { return a_.var() * x + b_.var(); }

 private:
  backflow::Parameter &a_, &b_;
};

int main() {
  using namespace backflow;
  const Tensor x({5}, {-2, -1, 0, 1, 2}), y({5}, {-3, -1, 1, 3, 5});
  Line line;
  SGD optimizer(line.parameters());
  for (int step = 0; step < 100; ++step) optimizer.step(backward(mean(square(line(x) - y))), 0.2);
  const auto all = line.parameters();
  std::printf("%s = %.4f, %s = %.4f\n", all[0].name.c_str(), all[0].parameter->value()[0],
              all[1].name.c_str(), all[1].parameter->value()[0]);
}
