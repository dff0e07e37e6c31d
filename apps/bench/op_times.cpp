// Single ops against PyTorch's: a line per op and shape, with the microseconds of its value and of
// value and gradients, by tabs. apps/bench/peer_ops.py prints the same rows for PyTorch, and
// apps/bench/compare.sh ops what they come to. Build and run:
//
//   ninja -C build apps/bench/op_times && build/apps/bench/op_times 2 conv
//
// with a number of threads, and a part of the names of the rows that are wanted.
//
// Only names that the library has long had (but logabsdet_in_real(), of 2026-11-29), and nothing
// but the library, so that this file can be compiled against the library of an older commit, too.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "backflow/engine/backward.h"
#include "backflow/engine/parallel.h"
#include "backflow/ops/axis.h"
#include "backflow/ops/conv.h"
#include "backflow/ops/linalg.h"
#include "backflow/ops/matmul.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"

using namespace backflow;

namespace {

// Normal numbers by Box and Muller's method, of a generator after Marsaglia. Nothing here asks for
// good ones, and the library's have moved from header to header.
Tensor normal(const Shape& shape, double spread = 1) {
  static std::uint64_t state = 88172645463325252;
  const auto uniform = [] {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (static_cast<double>(state >> 12) + 0.5) / std::pow(2, 52);
  };
  std::vector<Real> values(static_cast<std::size_t>(shape.size()));
  for (Real& value : values) {
    const double radius = std::sqrt(-2 * std::log(uniform()));
    value = static_cast<Real>(spread * radius * std::cos(2 * 3.14159265358979 * uniform()));
  }
  return Tensor(shape, std::move(values));
}

using Inputs = std::vector<Var>;
using Op = std::function<Var(const Inputs&)>;

template <class Work>
double microseconds(const Work& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start)
      .count();
}

// The median of 7 runs or more, for 150 ms, but of 400 at most.
template <class Work>
double median_us(const Work& work) {
  for (int i = 0; i < 3; ++i) work();
  std::vector<double> us;
  for (double total = 0; us.size() < 7 || (total < 150e3 && us.size() < 400); total += us.back())
    us.push_back(microseconds(work));
  std::nth_element(us.begin(), us.begin() + us.size() / 2, us.end());
  return us[us.size() / 2];
}

class Table {
 public:
  explicit Table(std::string wanted) : wanted_(std::move(wanted)) {}

  void row(const std::string& name, const std::vector<Shape>& shapes, const Op& op) {
    if (!is_wanted(name)) return;
    std::vector<Tensor> values;
    for (const Shape& shape : shapes) values.push_back(normal(shape));
    time(name, values, op);
  }
  void row(const std::string& name, const std::vector<Tensor>& values, const Op& op) {
    if (is_wanted(name)) time(name, values, op);
  }
  bool is_empty() const { return is_empty_; }
  bool is_wanted(const std::string& name) const { return name.find(wanted_) != name.npos; }

 private:
  void time(const std::string& name, const std::vector<Tensor>& values, const Op& op) {
    const Inputs constants(values.begin(), values.end());
    Inputs leaves;
    for (const Tensor& value : values) leaves.push_back(Var::leaf(value));
    const double forward = median_us([&] { op(constants); });
    const Tensor ones = Tensor::full(op(constants).shape(), 1);
    const double both = median_us([&] { backward(op(leaves), ones); });
    std::printf("%s\t%.2f\t%.2f\n", name.c_str(), forward, both);
    std::fflush(stdout);
    is_empty_ = false;
  }

  std::string wanted_;
  bool is_empty_ = true;
};

const Shape million{1000, 1000}, images{100, 64, 28, 28};

void pointwise_rows(Table& table) {
  const auto row = [&](const char* name, Var (*op)(const Var&)) {
    table.row(name + std::string(" 1M"), {million}, [=](const Inputs& in) { return op(in[0]); });
  };
  row("exp", exp);
  row("tanh", tanh);
  row("sigmoid", sigmoid);
  row("softplus", softplus);
  row("log1p", [](const Var& x) { return log1p(x * x); });
  row("relu", relu);
  row("leaky_relu", [](const Var& x) { return leaky_relu(x, 0.1); });
  row("square", square);
  row("abs", abs);
  row("clamp", [](const Var& x) { return clamp(x, -1, 1); });
  row("pow3", [](const Var& x) { return pow(x, 3); });
  table.row("exp 100", {Shape{100}}, [](const Inputs& in) { return exp(in[0]); });
}

void broadcast_rows(Table& table) {
  const Op add = [](const Inputs& in) { return in[0] + in[1]; };
  const Op multiply = [](const Inputs& in) { return in[0] * in[1]; };
  table.row("add same 1M", {million, million}, add);
  table.row("mul row 1M", {million, {1000}}, multiply);
  table.row("mul column 1M", {million, {1000, 1}}, multiply);
  table.row("add channel 100x64x28x28", {images, {64, 1, 1}}, add);
  table.row("mul outer 1000x1 1x1000", {Shape{1000, 1}, Shape{1, 1000}}, multiply);
  table.row("add 3-d middle 100x1x784 + 1x50x784", {Shape{100, 1, 784}, Shape{1, 50, 784}}, add);
  table.row("div same 1M", {million, million}, [](const Inputs& in) { return in[0] / in[1]; });
}

void reduction_rows(Table& table) {
  const auto add_up = [&](const char* name, const Shape& shape, const std::vector<int>& axes) {
    table.row(name, {shape}, [=](const Inputs& in) { return sum(in[0], axes); });
  };
  add_up("sum all 1M", million, {});
  add_up("sum axis0 1M", million, {0});
  add_up("sum axis1 1M", million, {1});
  add_up("sum axis0 100000x8", {100000, 8}, {0});
  add_up("sum axis1 100000x8", {100000, 8}, {1});
  add_up("sum axes 0,2,3 100x64x28x28", images, {0, 2, 3});
  add_up("sum axis1 100x64x784", {100, 64, 784}, {1});
  table.row("max axis1 1M", {million}, [](const Inputs& in) { return max(in[0], {1}); });
  table.row("max axis0 1M", {million}, [](const Inputs& in) { return max(in[0], {0}); });
}

void softmax_rows(Table& table) {
  const Shape tall{100000, 10};
  const Op over_rows = [](const Inputs& in) { return logsumexp(in[0], {1}); };
  const auto along = [](Var (*op)(const Var&, int), int axis) {
    return [=](const Inputs& in) { return op(in[0], axis); };
  };
  table.row("logsumexp axis1 1M", {million}, over_rows);
  table.row("logsumexp axis1 100000x10", {tall}, over_rows);
  table.row("softmax axis1 1M", {million}, along(softmax, 1));
  table.row("softmax axis1 100000x10", {tall}, along(softmax, 1));
  table.row("softmax axis0 1M", {million}, along(softmax, 0));
  table.row("cumsum axis1 1M", {million}, along(cumsum, 1));
  table.row("cumsum axis0 1M", {million}, along(cumsum, 0));
}

void movement_rows(Table& table) {
  const Op turn = [](const Inputs& in) { return transpose(in[0]); };
  const auto order = [](const std::vector<int>& axes) {
    return [=](const Inputs& in) { return permute(in[0], axes); };
  };
  table.row("transpose 1M", {million}, turn);
  table.row("transpose 1024", {Shape{1024, 1024}}, turn);
  table.row("permute 0231 100x64x28x28", {images}, order({0, 2, 3, 1}));
  table.row("permute 2103 50x50x50x8", {Shape{50, 50, 50, 8}}, order({2, 1, 0, 3}));
  table.row("slice axis1 1M half", {million},
            [](const Inputs& in) { return slice(in[0], 1, 0, 500); });
  table.row("flip axis1 1M", {million}, [](const Inputs& in) { return flip(in[0], {1}); });
  table.row("concat axis1 2x(1000x500)", {Shape{1000, 500}, Shape{1000, 500}},
            [](const Inputs& in) {
              return concat({in[0], in[1]}, 1);
            });
}

std::string joined(const std::vector<Index>& sizes) {
  std::string text;
  for (const Index size : sizes) {
    if (!text.empty()) text += 'x';
    text += std::to_string(size);
  }
  return text;
}

void product_rows(Table& table) {
  constexpr Index sizes[][3] = {{100, 784, 784}, {512, 512, 512}, {1024, 1024, 1024}, {1000, 2, 32},
                                {256, 32, 32},   {10000, 64, 64}, {1, 784, 784},      {784, 1, 784},
                                {100, 783, 785}, {8, 4096, 8},    {64, 10000, 64},    {2000, 3, 3}};
  for (const auto& [m, k, n] : sizes)
    table.row("matmul " + joined({m, k, n}), {Shape{m, k}, Shape{k, n}},
              [](const Inputs& in) { return matmul(in[0], in[1]); });
}

void convolution_rows(Table& table) {
  constexpr Index sizes[][5] = {// images, channels, height and width, outputs, kernel
                                {100, 1, 28, 1, 3},    {100, 4, 14, 4, 3},  {100, 16, 7, 16, 3},
                                {100, 3, 32, 64, 3},   {32, 64, 32, 64, 3}, {100, 512, 8, 512, 1},
                                {16, 256, 16, 256, 3}, {100, 1, 28, 16, 5}, {1, 3, 224, 16, 3},
                                {100, 32, 14, 32, 7}};
  for (const auto& [B, C, H, O, K] : sizes) {
    const std::string name =
        "conv " + joined({B, C, H, H}) + " -> " + std::to_string(O) + ", " + std::to_string(K);
    if (!table.is_wanted(name)) continue;
    const Conv2d padded = Conv2d::padded(K / 2);
    table.row(name, {normal({B, C, H, H}), normal({O, C, K, K}, 0.1)},
              [=](const Inputs& in) { return conv2d(in[0], in[1], padded); });
  }
}

// What training uses, in the precision of the library as PyTorch's is in its tensor's. It makes
// value and gradient at once.
Var logabsdet_of_training(const Var& A) {
  const LogAbsDet found = logabsdet_in_real(A.value());
  return record("logabsdet", Tensor(static_cast<Real>(found.value)),
                grad(A, [found](const Tensor& g) { return found.gradient * g; }));
}

// Those in double, of exact likelihoods, have no peer.
void determinant_rows(Table& table) {
  for (const Index n : {16, 64, 256, 784}) {
    const std::string name = "logabsdet " + std::to_string(n), in_double = name + " in double";
    if (!table.is_wanted(in_double)) continue;
    const double spread = 0.1 / std::sqrt(static_cast<double>(n));
    const Tensor A = Tensor::identity(n) + normal({n, n}, spread);
    table.row(name, {A}, [](const Inputs& in) { return logabsdet_of_training(in[0]); });
    table.row(in_double, {A}, [](const Inputs& in) { return logabsdet(in[0]); });
  }
}

}  // namespace

int main(int argc, char** argv) try {
  const int count = argc > 1 ? std::atoi(argv[1]) : 2;
  if (argc > 3 || count < 1 || count > 1024) {
    std::fprintf(stderr, "op_times: [threads] expected a number from 1 to 1024\n");
    return 2;
  }
  set_threads(count);
  Table table(argc > 2 ? argv[2] : "");
  for (const auto rows : {pointwise_rows, broadcast_rows, reduction_rows, softmax_rows,
                          movement_rows, product_rows, convolution_rows, determinant_rows})
    rows(table);
  if (table.is_empty()) {
    std::fprintf(stderr, "op_times: no row's name has '%s' in it\n", argv[2]);
    return 2;
  }
} catch (const Error& error) {
  std::fprintf(stderr, "op_times: %s\n", error.what());
  return 2;
}
