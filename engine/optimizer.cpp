#include "backflow/engine/optimizer.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <unordered_set>

#include "backflow/engine/parallel.h"

namespace backflow::inline BACKFLOW_PRECISION {

static double sum_of_squares(const Tensor& x) {
  std::vector<double> chunks((x.size() + elements_per_chunk - 1) / elements_per_chunk);
  parallel_for(x.size(), elements_per_chunk, [&, all = x.data()](Index begin, Index end) {
    const auto square = [p = all + begin](Index i) { return static_cast<double>(p[i]) * p[i]; };
    chunks[begin / elements_per_chunk] = sum_in_lanes(end - begin, square);
  });
  double total = 0;
  for (double chunk : chunks) total += chunk;
  return total;
}

double global_norm(const Gradients& gradients, const std::vector<NamedParameter>& parameters) {
  double total = 0;
  for (const auto& [name, parameter] : parameters)
    if (gradients.contains(*parameter)) total += sum_of_squares(gradients[*parameter]);
  return std::sqrt(total);
}

double linear_warmup(Index step, Index warmup_steps) {
  return step >= warmup_steps ? 1 : static_cast<double>(step) / static_cast<double>(warmup_steps);
}

Optimizer::Optimizer(std::vector<NamedParameter> parameters) {
  std::unordered_set<const Parameter*> met;
  for (NamedParameter& named : parameters)
    if (met.insert(named.parameter).second) parameters_.push_back(std::move(named));
  missed_.resize(parameters_.size());
}

std::vector<NamedSteps> Optimizer::other_steps() const {
  std::vector<NamedSteps> all;
  for (std::size_t i = 0; i < parameters_.size(); ++i)
    if (missed_[i] != 0) all.push_back({parameters_[i].name, steps_of(i)});
  return all;
}

void Optimizer::set_steps(Index steps, const std::vector<NamedSteps>& others) {
  constexpr Index most = Index{1} << 53;  // as far as a double counts
  if (steps < 0) fail("optimizer", steps, " steps, expected at least 0");
  if (steps > most) fail("optimizer", steps, " steps, expected at most ", most);
  std::vector<Index> missed(parameters_.size());
  for (const auto& [name, count] : others) {
    const auto named = [&name = name](const NamedParameter& other) { return other.name == name; };
    const auto found = std::find_if(parameters_.begin(), parameters_.end(), named);
    if (found == parameters_.end())
      fail("optimizer", "steps of '", name, "', which is none of the parameters");
    if (count < 0 || count > steps)
      fail("optimizer", count, " steps of '", name, "', expected 0 to ", steps);
    missed[found - parameters_.begin()] = steps - count;
  }
  steps_ = steps;
  missed_ = std::move(missed);
}

std::vector<Tensor> Optimizer::begin_step(const Gradients& gradients) {
  std::vector<Tensor> all;
  for (const auto& [name, parameter] : parameters_) {
    all.push_back(gradients.contains(*parameter) ? gradients[*parameter] : Tensor());
    if (all.back().defined() && !(all.back().shape() == parameter->shape()))
      fail("optimizer", "the gradient of '", name, "' has the shape ", all.back().shape(),
           ", expected ", parameter->shape());
  }
  ++steps_;
  for (std::size_t i = 0; i < all.size(); ++i) missed_[i] += all[i].defined() ? 0 : 1;
  return all;
}

void SGD::step(const Gradients& gradients, double learning_rate, double gradient_scale) {
  const Real rate = static_cast<Real>(learning_rate * gradient_scale);
  const std::vector<Tensor> all = begin_step(gradients);
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!all[i].defined()) continue;
    parameters_[i].parameter->update([&g = all[i], rate](std::span<Real> values) {
      parallel_for(g.size(), elements_per_chunk,
                   [p = values.data(), rate, q = g.data()](Index k, Index end) {
                     for (; k < end; ++k) p[k] -= rate * q[k];
                   });
    });
  }
}

Adam::Adam(std::vector<NamedParameter> parameters, AdamOptions options)
    : Optimizer(std::move(parameters)), options_(options) {
  for (const auto& [name, parameter] : parameters_) {
    m_.push_back(Tensor::zeros(parameter->shape()));
    v_.push_back(Tensor::zeros(parameter->shape()));
  }
}

void Adam::step(const Gradients& gradients, double learning_rate, double gradient_scale) {
  check_state();
  const std::vector<Tensor> all = begin_step(gradients);
  for (std::size_t i = 0; i < all.size(); ++i)
    if (all[i].defined()) move(i, all[i], learning_rate, gradient_scale);
}

// state() hands out addresses, and whoever writes there may get a shape wrong.
void Adam::check_state() const {
  for (std::size_t i = 0; i < parameters_.size(); ++i)
    for (const Tensor* average : {&m_[i], &v_[i]})
      if (!average->defined() || !(average->shape() == parameters_[i].parameter->shape()))
        fail("adam", "the state of '", parameters_[i].name, "' has the shape ", average->shape(),
             ", expected ", parameters_[i].parameter->shape());
}

void Adam::move(std::size_t i, const Tensor& gradient, double learning_rate,
                double gradient_scale) {
  const double correction1 = 1 - std::pow(options_.beta1, steps_of(i));
  const double correction2 = 1 - std::pow(options_.beta2, steps_of(i));
  const Real b1 = options_.beta1, b2 = options_.beta2, scale = gradient_scale;
  const Real c1 = 1 - options_.beta1, c2 = 1 - options_.beta2;  // 1 - b2 would lose float's digits
  const Real rate = learning_rate / correction1;
  const Real root = 1 / std::sqrt(correction2), epsilon = options_.epsilon;
  parameters_[i].parameter->update([&](std::span<Real> values) {
    Real* p = values.data();
    Real* m = m_[i].mutable_data();
    Real* v = v_[i].mutable_data();
    parallel_for(gradient.size(), elements_per_chunk, [=, q = gradient.data()](Index k, Index end) {
      for (; k < end; ++k) {
        const Real g = scale * q[k];
        m[k] = b1 * m[k] + c1 * g;
        v[k] = b2 * v[k] + c2 * g * g;
        p[k] -= rate * m[k] / (root * std::sqrt(v[k]) + epsilon);
      }
    });
  });
}

std::vector<NamedTensor> Adam::state() {
  std::vector<NamedTensor> all;
  std::unordered_set<std::string_view> names;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const std::string& name = parameters_[i].name;
    if (!names.insert(name).second)
      fail("adam", "two parameters have the name '", name, "'; a checkpoint needs one for each");
    all.push_back({"adam.m." + name, &m_[i]});
    all.push_back({"adam.v." + name, &v_[i]});
  }
  return all;
}

}  // namespace backflow::inline BACKFLOW_PRECISION
