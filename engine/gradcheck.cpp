#include "engine/gradcheck.h"

#include <cmath>

#include "engine/parallel.h"
#include "engine/random.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

double dot(const Tensor& a, const Tensor& b) {
  double sum = 0;
  for (Index i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

// The outputs of f, each weighted by a fixed random tensor, summed to one scalar.
Var projected(const Function& f, const std::vector<Var>& inputs, std::uint64_t seed) {
  double total = 0;
  std::vector<Edge> edges;
  std::uint32_t output = 0;
  for (const Var& y : f(inputs)) {
    const Tensor weight = Random(seed, Purpose::testing, ++output).normal(y.shape());
    total += dot(y.value(), weight);
    Edge edge = grad(y, [weight](const Tensor&) { return weight; });
    if (!edge.inputs.empty()) edges.push_back(std::move(edge));
  }
  return record_node("projection", Tensor(static_cast<Real>(total)), std::move(edges));
}

std::vector<Tensor> gradients_of(const Function& f, const std::vector<Tensor>& inputs,
                                 std::uint64_t seed) {
  std::vector<Var> leaves;
  for (const Tensor& input : inputs) leaves.push_back(Var::leaf(input));
  const Gradients gradients = backward(projected(f, leaves, seed));
  std::vector<Tensor> all;
  for (const Var& leaf : leaves) all.push_back(gradients[leaf]);
  return all;
}

// d/dt f(x + t d) at 0 for input number `which`.
double numeric_derivative(const Function& f, const std::vector<Tensor>& inputs, std::size_t which,
                          const Tensor& direction, const GradcheckOptions& options) {
  const NoGrad no_grad;
  const auto at = [&](double t) {
    std::vector<Var> moved(inputs.begin(), inputs.end());
    Tensor x = inputs[which];
    Real* p = x.mutable_data();
    for (Index i = 0; i < x.size(); ++i) p[i] += static_cast<Real>(t * direction[i]);
    moved[which] = x;
    return static_cast<double>(projected(f, moved, options.seed).item());
  };
  const double h = options.step;
  return (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h);
}

bool same_bits(const Tensor& a, const Tensor& b) { return a.values() == b.values(); }

void check(const Function& f, const std::vector<Tensor>& inputs, const GradcheckOptions& options,
           GradcheckReport& report) {
  const auto report_failure = [&](const auto&... parts) {
    std::ostringstream line;
    (line << ... << parts);
    if (report.failure.empty()) report.failure = line.str();
  };
  const int threads_before = threads();
  set_threads(1);
  const std::vector<Tensor> gradients = gradients_of(f, inputs, options.seed);
  set_threads(3);
  const std::vector<Tensor> again = gradients_of(f, inputs, options.seed);
  set_threads(threads_before);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!all_finite(gradients[i])) {
      report_failure("input ", i, ": the gradient is not finite");
      continue;
    }
    if (!same_bits(gradients[i], again[i]))
      report_failure("input ", i, ": the gradient on 3 threads is not that on 1");
    if (sizeof(Real) < sizeof(double)) continue;
    for (int d = 0; d < options.directions; ++d) {
      const auto epoch = static_cast<std::uint32_t>(1000 * (i + 1)) + d;
      Tensor direction = Random(options.seed, Purpose::testing, epoch).normal(inputs[i].shape());
      Real* p = direction.mutable_data();
      for (Index k = 0; k < direction.size(); ++k)
        p[k] *= std::max<Real>(std::abs(inputs[i][k]), 0.1);
      const double analytic = dot(gradients[i], direction);
      const double numeric = numeric_derivative(f, inputs, i, direction, options);
      double typical = 1e-8;  // of the sum's size when its terms have random signs
      for (Index k = 0; k < direction.size(); ++k)
        typical += std::pow(static_cast<double>(gradients[i][k]) * direction[k], 2);
      const double error =
          std::abs(analytic - numeric) / std::max(std::sqrt(typical), std::abs(numeric));
      report.worst_error = std::max(report.worst_error, error);
      if (!(error <= options.tolerance))
        report_failure("input ", i, ", direction ", d, ": the derivative is ", analytic,
                       " by backward and ", numeric, " by differences (relative error ", error,
                       ", allowed ", options.tolerance, ")");
    }
  }
}

}  // namespace

GradcheckReport gradcheck(const Function& f, const std::vector<Tensor>& inputs,
                          const GradcheckOptions& options) {
  GradcheckReport report;
  const Index live_before = memory_use().live_bytes;
  check(f, inputs, options, report);
  const Index leaked = memory_use().live_bytes - live_before;
  if (leaked != 0 && report.failure.empty())
    report.failure = std::to_string(leaked) + " bytes of Tensors leaked";
  return report;
}

GradcheckReport gradcheck(const std::function<Var(const Var&)>& f, const Tensor& x,
                          const GradcheckOptions& options) {
  return gradcheck([&](const std::vector<Var>& in) { return std::vector{f(in[0])}; },
                   std::vector{x}, options);
}

}  // namespace backflow::inline BACKFLOW_PRECISION
