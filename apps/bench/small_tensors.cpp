// What an op costs where there is little to compute: a training step of eight affine couplings on
// 256 points of the plane, written with plain ops, where the time goes into the graph.
//
//   (x1, x2) -> (x1, x2 e^s + t),  (s, t) = net(x1),  net: 1 -> 32 -> 32 -> 2 with tanh
//
// Only names that the library has long had, and nothing but the library: ab.sh compiles this file
// against the library of an older commit, too.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "backflow/engine/backward.h"
#include "backflow/ops/matmul.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"

using namespace backflow;

namespace {

constexpr Index points = 256, width = 32, couplings = 8;

// Numbers between -1 and 1 with no pattern that matters here. This file is compiled against older
// trees too, and keeps to headers that all of them have.
Tensor numbers(const Shape& shape, int which) {
  std::vector<Real> values(static_cast<std::size_t>(shape.size()));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<Real>(std::sin(1.7 * static_cast<double>(i * i + i) + which));
  return Tensor(shape, std::move(values));
}

struct Affine {  // x W + b
  Var W, b;
  Affine(Index in, Index out, std::uint32_t which)
      : W(Var::leaf(numbers({in, out}, which) * Real(0.3))), b(Var::leaf(Tensor::zeros({out}))) {}
  Var operator()(const Var& x) const { return matmul(x, W) + b; }
};

struct Coupling {
  Affine first, second, last;
  explicit Coupling(std::uint32_t which)
      : first(1, width, 3 * which),
        second(width, width, 3 * which + 1),
        last(width, 2, 3 * which + 2) {}

  // The halves change places, so that the next one moves the other.
  Var forward(const Var& x, Var& logdet) const {
    const Var x1 = slice(x, 1, 0, 1), x2 = slice(x, 1, 1, 2);
    const Var h = last(tanh(second(tanh(first(x1)))));
    const Var s = tanh(slice(h, 1, 0, 1)), t = slice(h, 1, 1, 2);
    logdet = logdet + sum(s);
    return concat({x2 * exp(s) + t, x1}, 1);
  }
};

// Ops that are recorded, and rules that run on the way back.
class Flow {
 public:
  Flow() {
    for (std::uint32_t i = 0; i < couplings; ++i) layers_.emplace_back(i);
  }
  // The gradients are thrown away: the flow stays as it is, and so does the work.
  void step(const Tensor& x) const {
    Var z = x, logdet = Tensor(Real(0));
    for (const Coupling& layer : layers_) z = layer.forward(z, logdet);
    const Var loss = sum(square(z)) * Real(0.5) - logdet;
    backward(loss);
  }

 private:
  std::vector<Coupling> layers_;
};

double milliseconds(const Flow& flow, const Tensor& x) {
  const auto start = std::chrono::steady_clock::now();
  flow.step(x);
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

}  // namespace

int main(int argc, char** argv) {
  const int steps = argc > 1 ? std::atoi(argv[1]) : 2000;
  if (argc > 2 || steps < 1 || steps > 1'000'000) {
    std::fprintf(stderr, "small_tensors: [steps] expected a number from 1 to 1000000\n");
    return 2;
  }
  const Flow flow;
  const Tensor x = numbers({points, 2}, 100);
  for (int i = 0; i < 100; ++i) flow.step(x);  // buffers are found, threads awake
  std::vector<double> ms;
  for (int i = 0; i < steps; ++i) ms.push_back(milliseconds(flow, x));
  std::nth_element(ms.begin(), ms.begin() + steps / 2, ms.end());
  std::printf("%.5f ms per step\n", ms[steps / 2]);
}
