// Single ops on the shapes that the experiments use, by Google Benchmark. Build and run:
//
//   ninja -C build apps/bench/ops && build/apps/bench/ops --benchmark_filter=Conv
//
// BACKFLOW_THREADS=1 in the environment sets the number of threads. FLOP/s counts multiplications
// and additions, bytes/s what an op has to read and write at least.
#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>

#include "backflow/engine/backward.h"
#include "backflow/engine/optimizer.h"
#include "backflow/engine/parallel.h"
#include "backflow/ops/conv.h"
#include "backflow/ops/conv_lu.h"
#include "backflow/ops/linalg.h"
#include "backflow/ops/matmul.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/spline.h"
#include "backflow/ops/subnormals.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using benchmark::Counter;
using benchmark::State;

Tensor normal(const Shape& shape, std::uint64_t seed = 1) { return Random(seed).normal(shape); }

void report_flop(State& state, double flop) {
  state.counters["FLOP/s"] = Counter(flop, Counter::kIsIterationInvariantRate, Counter::kIs1000);
}
void report_reals(State& state, Index reals) {
  state.SetBytesProcessed(state.iterations() * reals * static_cast<Index>(sizeof(Real)));
}

// The time of f(x...) or, with `gradient`, of the backward sweep alone.
template <class F>
void forward_or_backward(State& state, bool gradient, const F& f) {
  for (auto _ : state) {
    if (gradient) state.PauseTiming();
    const Var y = f();
    if (gradient) {
      const Tensor ones = Tensor::full(y.shape(), 1);
      state.ResumeTiming();
      benchmark::DoNotOptimize(backward(y, ones));
    } else {
      benchmark::DoNotOptimize(y.value().data());
    }
  }
}

// ---- The engine -------------------------------------------------------------------------------

// Items are ops: recorded, and differentiated.
void Engine_chain_of_scalar_ops(State& state) {
  constexpr int ops = 10000;
  const Var x = Var::leaf(Tensor(Real(1)));
  for (auto _ : state) {
    Var y = x;
    for (int i = 0; i < ops; ++i) y = -y;
    benchmark::DoNotOptimize(backward(y));
  }
  state.SetItemsProcessed(state.iterations() * ops);
}
// With two inputs to differentiate, and values to keep for it.
void Engine_chain_of_scalar_products(State& state) {
  constexpr int ops = 10000;
  const Var x = Var::leaf(Tensor(Real(1)));
  for (auto _ : state) {
    Var y = x;
    for (int i = 0; i < ops; ++i) y = y * x;
    benchmark::DoNotOptimize(backward(y));
  }
  state.SetItemsProcessed(state.iterations() * ops);
}
BENCHMARK(Engine_chain_of_scalar_products)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(Engine_chain_of_scalar_ops)->Unit(benchmark::kMillisecond)->UseRealTime();

struct Everything : Module {
  explicit Everything(Index size) : all(add_parameter("all", Tensor::zeros({size}))) {}
  Parameter& all;
};

void Optimizer_adam(State& state) {
  const Index size = state.range(0);
  Everything model(size);
  Adam adam(model.parameters());
  const Gradients gradients = backward(model.all * Real(1), Tensor::full({size}, 1));
  for (auto _ : state) adam.step(gradients, 1e-4);
  report_reals(state, 7 * size);
}
BENCHMARK(Optimizer_adam)->Arg(100'000)->Arg(2'460'192)->UseRealTime();

// ---- Pointwise and reductions -----------------------------------------------------------------

template <Var (*op)(const Var&)>
void Pointwise(State& state) {
  const bool gradient = state.range(1) != 0;
  const Var x = Var::leaf(Random(1).uniform({100, state.range(0)}));  // log wants them positive
  forward_or_backward(state, gradient, [&] { return op(x); });
  report_reals(state, (gradient ? 3 : 2) * x.size());
}
#define BACKFLOW_POINTWISE(op)              \
  BENCHMARK_TEMPLATE(Pointwise, op)         \
      ->Name("Pointwise_" #op)              \
      ->ArgNames({"D", "backward"})         \
      ->ArgsProduct({{784, 50176}, {0, 1}}) \
      ->UseRealTime()
BACKFLOW_POINTWISE(exp);
BACKFLOW_POINTWISE(log);
BACKFLOW_POINTWISE(tanh);
BACKFLOW_POINTWISE(relu);
BACKFLOW_POINTWISE(softplus);

void Pointwise_add_channels(State& state) {
  const Tensor x = normal({100, 16, 14, 14}), b = normal({16, 1, 1});
  for (auto _ : state) benchmark::DoNotOptimize((x + b).data());
  report_reals(state, 2 * x.size());
}
BENCHMARK(Pointwise_add_channels)->UseRealTime();

void Reduce(State& state, std::vector<int> axes) {
  const Tensor x = normal({100, 16, 14, 14});
  for (auto _ : state) benchmark::DoNotOptimize(sum(x, axes).data());
  report_reals(state, x.size());
}
BENCHMARK_CAPTURE(Reduce, all, {})->UseRealTime();
BENCHMARK_CAPTURE(Reduce, examples, {1, 2, 3})->UseRealTime();
BENCHMARK_CAPTURE(Reduce, channels, {0, 2, 3})->UseRealTime();

void Reduce_logsumexp(State& state) {
  const Tensor x = normal({10000, state.range(0)});
  for (auto _ : state) benchmark::DoNotOptimize(logsumexp(x, {1}).data());
  report_reals(state, x.size());
}
BENCHMARK(Reduce_logsumexp)->Arg(16)->UseRealTime();

// ---- Products -----------------------------------------------------------------------------------

enum Part { value, input_gradient, weight_gradient };

void Matmul(State& state) {
  const Index B = state.range(0), D = state.range(1);
  const Tensor x = normal({B, D}), w = normal({D, D}), g = normal({B, D});
  for (auto _ : state) {
    if (state.range(2) == value) benchmark::DoNotOptimize(matmul(x, transposed(w)).data());
    if (state.range(2) == input_gradient) benchmark::DoNotOptimize(matmul(g, w).data());
    if (state.range(2) == weight_gradient)
      benchmark::DoNotOptimize(matmul(transposed(g), x).data());
  }
  report_flop(state, 2.0 * B * D * D);
}
BENCHMARK(Matmul)
    ->ArgNames({"B", "D", "part"})
    ->ArgsProduct({{100}, {784, 2048}, {value, input_gradient, weight_gradient}})
    ->UseRealTime();

// B images of C channels and H x H pixels, K x K kernels, O outputs.
void Conv(State& state) {
  const Index C = state.range(0), O = state.range(1), H = state.range(2), K = state.range(3);
  const Tensor x = normal({100, C, H, H}), w = normal({O, C, K, K}), g = normal({100, O, H, H});
  const Conv2d same = Conv2d::same(w.shape());
  for (auto _ : state) {
    if (state.range(4) == value) benchmark::DoNotOptimize(conv2d(x, w, same).data());
    if (state.range(4) == input_gradient)
      benchmark::DoNotOptimize(conv2d_input_gradient(g, w, x.shape(), same).data());
    if (state.range(4) == weight_gradient)
      benchmark::DoNotOptimize(conv2d_weight_gradient(g, x, w.shape(), same).data());
  }
  report_flop(state, 2.0 * g.size() * C * K * K);
}
void conv_shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"C", "O", "H", "K", "part"})->UseRealTime();
  for (const Part part : {value, input_gradient, weight_gradient}) {
    for (const Index K : {3, 5}) {
      bench->Args({1, 1, 28, K, part});
      bench->Args({4, 4, 14, K, part});
      bench->Args({16, 16, 7, K, part});
    }
    bench->Args({2, 16, 14, 3, part});  // the layers of a coupling network
    bench->Args({16, 16, 14, 1, part});
    bench->Args({16, 4, 14, 3, part});
    bench->Args({4, 512, 14, 3, part});
    bench->Args({512, 512, 14, 1, part});
    bench->Args({512, 512, 7, 1, part});
    bench->Args({512, 8, 14, 3, part});
  }
}
BENCHMARK(Conv)->Apply(conv_shapes);

// ---- Splines and log-determinants ---------------------------------------------------------------

void Spline(State& state) {
  constexpr Index D = 784, bins = 5;
  const Var x = Var::leaf(normal({100, D})), widths = Var::leaf(normal({1, D, bins}, 2)),
            heights = Var::leaf(normal({1, D, bins}, 3)),
            derivatives = Var::leaf(normal({1, D, bins - 1}, 4));
  forward_or_backward(state, state.range(0) != 0, [&] {
    const auto [y, log_derivative] = rational_quadratic_spline(x, widths, heights, derivatives);
    return sum(y) + sum(log_derivative);
  });
  state.SetItemsProcessed(state.iterations() * x.size());
}
BENCHMARK(Spline)->ArgName("backward")->Arg(0)->Arg(1)->UseRealTime();

Tensor diagonally_dominant(Index n) {
  Tensor a = normal({n, n}) * Real(0.01);
  for (Index i = 0; i < n; ++i) a.mutable_data()[i * (n + 1)] += 1;
  return a;
}

// With the inverse that the gradient needs.
void Logabsdet_dense(State& state) {
  const Tensor a = diagonally_dominant(state.range(0));
  for (auto _ : state) {
    const LU lu(a);
    benchmark::DoNotOptimize(lu.log_abs_det());
    benchmark::DoNotOptimize(lu.inverse().data());
  }
  report_flop(state, 2.0 * state.range(0) * state.range(0) * state.range(0));
}
BENCHMARK(Logabsdet_dense)->Arg(784)->Unit(benchmark::kMillisecond)->UseRealTime();

// The matrix of a convolution on images with 784 pixels and channels together, and the gradient.
void Logabsdet_banded(State& state) {
  const Index C = state.range(0), H = state.range(1), K = state.range(2);
  Tensor w = normal({C, C, K, K}) * Real(0.05);
  for (Index c = 0; c < C; ++c) w.mutable_data()[((c * C + c) * K + K / 2) * K + K / 2] += 1;
  for (auto _ : state) {
    const ConvLU lu(w, H, H);
    benchmark::DoNotOptimize(lu.log_abs_det());
    benchmark::DoNotOptimize(lu.logdet_gradient().data());
  }
}
BENCHMARK(Logabsdet_banded)
    ->ArgNames({"C", "H", "K"})
    ->Args({1, 28, 3})
    ->Args({4, 14, 3})
    ->Args({16, 7, 3})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

int main(int argc, char** argv) try {
  const backflow::FlushSubnormals flush;  // as the program snf does
  if (const char* text = std::getenv("BACKFLOW_THREADS")) {
    const int threads = std::atoi(text);
    if (threads < 1)
      backflow::fail("BACKFLOW_THREADS", "expected a number above 0, got '", text, "'");
    backflow::set_threads(threads);
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
} catch (const backflow::Error& error) {
  std::fprintf(stderr, "ops: %s\n", error.what());
  return 2;
}
