#include "backflow/ops/gradcheck.h"

#include <cmath>
#include <limits>

#include "backflow/engine/parallel.h"
#include "backflow/ops/finite.h"
#include "backflow/ops/random.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

double dot(const Tensor& a, const Tensor& b) {
  return sum_in_lanes(a.size(), [p = a.data(), q = b.data()](Index i) {
    return static_cast<double>(p[i]) * static_cast<double>(q[i]);
  });
}

// The sum over f's outputs, each weighted by a fixed random tensor. It is returned in double, for a
// Real could not hold the difference that a small step makes.
struct Projection {
  double value = 0;
  Var root;
  Index elements = 0;  // of the outputs
  double squares = 0;  // of the weighted elements, added up: what their rounding is relative to
};
Projection projected(const VarFunction& f, const std::vector<Var>& inputs, std::uint64_t seed) {
  Projection all;
  std::vector<Edge> edges;
  std::uint32_t output = 0;
  for (const Var& y : f(inputs)) {
    const Tensor weight = Random(seed, Purpose::testing, ++output).normal(y.shape());
    all.value += dot(y.value(), weight);
    all.elements += y.size();
    for (Index i = 0; i < y.size(); ++i)
      all.squares += std::pow(static_cast<double>(y.value()[i]) * weight[i], 2);
    edges.push_back(grad(y, [weight](const Tensor&) { return weight; }));
  }
  all.root = record("projection", Tensor(static_cast<Real>(all.value)), edges);
  return all;
}

std::vector<Tensor> gradients_of(const VarFunction& f, const std::vector<Tensor>& inputs,
                                 std::uint64_t seed) {
  std::vector<Var> leaves;
  for (const Tensor& input : inputs) leaves.push_back(Var::leaf(input));
  return gradients(projected(f, leaves, seed).root, leaves);
}

// So many threads while it is alive, also where f throws.
class OnThreads {
 public:
  explicit OnThreads(int count) : before_(threads()) { set_threads(count); }
  ~OnThreads() { set_threads(before_); }
  OnThreads(const OnThreads&) = delete;
  OnThreads& operator=(const OnThreads&) = delete;

 private:
  int before_;
};

double size_of(Real x) { return std::max(std::abs(static_cast<double>(x)), 0.1); }

// Number 0 follows the claimed gradient g, the others are random. An element moves by about the
// size of x there.
Tensor direction(int number, const Tensor& x, const Tensor& g, const Random& random) {
  Tensor d = random.normal(x.shape());
  Real* p = d.mutable_data();
  for (Index i = 0; i < d.size(); ++i) {
    if (number == 0 && g[i] != 0) p[i] = g[i] < 0 ? -std::abs(p[i]) : std::abs(p[i]);
    p[i] = static_cast<Real>(p[i] * size_of(x[i]));
  }
  return d;
}

struct Derivative {
  double value;
  double rounding;  // by how much the rounding of the outputs explains an error of it
  Index elements;   // of the outputs: of none, the derivative says nothing
};

// d/dt f(x + t d) at 0 for input number `which`. Of the four differences, whose weights are 8, 8, 1
// and 1, each output has an error of its own; a few units in the last place are an op's right.
Derivative numeric_derivative(const VarFunction& f, const std::vector<Tensor>& inputs,
                              std::size_t which, const Tensor& d, double h, std::uint64_t seed) {
  const NoGrad no_grad;
  double squares = 0;
  Index elements = 0;
  const auto at = [&](double t) {
    std::vector<Var> moved(inputs.begin(), inputs.end());
    Tensor x = inputs[which];
    Real* p = x.mutable_data();
    for (Index i = 0; i < x.size(); ++i) p[i] = static_cast<Real>(p[i] + t * d[i]);
    moved[which] = x;
    const Projection at_t = projected(f, moved, seed);
    squares = std::max(squares, at_t.squares);
    elements = at_t.elements;
    return at_t.value;
  };
  constexpr double epsilon = std::numeric_limits<Real>::epsilon(), last_places = 4;
  const double value = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h);
  const double rounding =
      last_places * epsilon * std::sqrt(squares * (8 * 8 + 8 * 8 + 1 + 1)) / (12 * h);
  return {value, rounding, elements};
}

bool same_bits(const Tensor& a, const Tensor& b) { return a.values() == b.values(); }

class Check {
 public:
  Check(const VarFunction& f, const std::vector<Tensor>& inputs, const GradcheckOptions& options,
        GradcheckReport& report)
      : f_(f), inputs_(inputs), options_(options), report_(report) {}

  void run() {
    const std::vector<Tensor> gradients = on_threads(1), again = on_threads(3);
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      if (!all_finite(gradients[i])) {
        fails("input ", i, ": the gradient is not finite");
        continue;
      }
      if (!same_bits(gradients[i], again[i]))
        fails("input ", i, ": the gradient on 3 threads is not that on 1");
      for (int d = 0; d < options_.directions && inputs_[i].size() > 0; ++d)
        compare(i, d, gradients[i]);
    }
    if (compared_ == 0)
      fails("nothing was compared: there are no directions, or no elements of inputs or outputs");
  }

 private:
  template <class... Parts>
  void fails(const Parts&... parts) {
    std::ostringstream line;
    (line << ... << parts);
    if (report_.failure.empty()) report_.failure = line.str();
  }

  std::vector<Tensor> on_threads(int count) const {
    const OnThreads with(count);
    return gradients_of(f_, inputs_, options_.seed);
  }

  void compare(std::size_t input, int number, const Tensor& gradient) {
    constexpr bool in_float = GradcheckOptions::in_float;
    const double tolerance = in_float ? std::max(options_.tolerance, 0.02) : options_.tolerance;
    const auto epoch = static_cast<std::uint32_t>(1000 * (input + 1)) + number;
    const Tensor d =
        direction(number, inputs_[input], gradient, Random(options_.seed, Purpose::testing, epoch));
    const double analytic = dot(gradient, d);
    const auto [numeric, rounding, elements] =
        numeric_derivative(f_, inputs_, input, d, options_.step, options_.seed);
    double typical = 1e-8;  // of the sum's size when its terms have random signs
    for (Index k = 0; k < d.size(); ++k)
      typical += std::pow(static_cast<double>(gradient[k]) * d[k], 2);
    const double size = std::max(std::sqrt(typical), std::abs(numeric));
    const double error = std::abs(analytic - numeric) / size;
    const double allowed = in_float ? tolerance + rounding / size : tolerance;
    report_.worst_error = std::max(report_.worst_error, error);
    compared_ += elements > 0;
    if (!(error <= allowed))
      fails("input ", input, ", direction ", number, ": the derivative is ", analytic,
            " by backward and ", numeric, " by differences (relative error ", error, ", allowed ",
            allowed, ")");
  }

  const VarFunction& f_;
  const std::vector<Tensor>& inputs_;
  const GradcheckOptions& options_;
  GradcheckReport& report_;
  int compared_ = 0;
};

}  // namespace

GradcheckReport gradcheck(const VarFunction& f, const std::vector<Tensor>& inputs,
                          const GradcheckOptions& options) {
  GradcheckReport report;
  const Index live_before = memory_use().live_bytes;
  Check(f, inputs, options, report).run();
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
