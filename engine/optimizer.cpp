#include "backflow/engine/optimizer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>
#include <unordered_set>

#include "backflow/engine/parallel.h"

namespace backflow::inline BACKFLOW_PRECISION {

Optimizer::Optimizer(std::vector<NamedParameter> parameters, std::string name,
                     const std::string& letters)
    : name_(std::move(name)), letters_(letters) {
  std::unordered_set<const Parameter*> met;
  for (NamedParameter& named : parameters)
    if (met.insert(named.parameter).second) parameters_.push_back(std::move(named));
  missed_.resize(parameters_.size());
  for (const auto& [of, parameter] : parameters_)
    for (auto& tensors = state_.emplace_back(); tensors.size() < letters_.size();)
      tensors.push_back(Tensor::zeros(parameter->shape()));
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

// state() hands out addresses, and whoever writes there may get a shape wrong.
void Optimizer::check_state() const {
  for (std::size_t i = 0; i < parameters_.size(); ++i)
    for (const Tensor& tensor : state_[i])
      if (!tensor.defined() || !(tensor.shape() == parameters_[i].parameter->shape()))
        fail(name_, "the state of '", parameters_[i].name, "' has the shape ", tensor.shape(),
             ", expected ", parameters_[i].parameter->shape());
}

std::vector<NamedTensor> Optimizer::state() {
  std::vector<NamedTensor> all;
  std::unordered_set<std::string_view> names;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const std::string& name = parameters_[i].name;
    if (!letters_.empty() && !names.insert(name).second)
      fail(name_, "two parameters have the name '", name, "'; a checkpoint needs one for each");
    for (std::size_t k = 0; k < letters_.size(); ++k)
      all.push_back({name_ + "." + letters_[k] + "." + name, &state_[i][k]});
  }
  return all;
}

void Optimizer::step(const Gradients& gradients, double learning_rate, double gradient_scale) {
  check_state();
  const std::vector<Tensor> all = begin_step(gradients);
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!all[i].defined()) continue;
    parameters_[i].parameter->update([&](std::span<Real> values) {
      Move one{all[i].size(), steps_of(i),   values.data(), all[i].data(), {},
               learning_rate, gradient_scale};
      for (Tensor& tensor : state_[i]) one.state.push_back(tensor.mutable_data());
      move(one);
    });
  }
}

// A moment whose gradient is 0 shrinks for ever. As a subnormal number, it would slow every step.
static Real or_zero(Real x) { return std::abs(x) < std::numeric_limits<Real>::min() ? Real(0) : x; }

SGD::SGD(std::vector<NamedParameter> parameters, double momentum)
    : Optimizer(std::move(parameters), name, momentum == 0 ? "" : "v"), momentum_(momentum) {}

void SGD::move(const Move& one) const {
  Real* const p = one.parameter;
  const Real* const q = one.gradient;
  if (one.state.empty()) {
    const Real rate = one.learning_rate * one.gradient_scale;
    for_each_element(one.size, [=](Index k) { p[k] -= rate * q[k]; });
  } else {
    const Real rate = one.learning_rate, scale = one.gradient_scale, momentum = momentum_;
    for_each_element(one.size, [=, v = one.state[0]](Index k) {
      v[k] = or_zero(momentum * v[k] + scale * q[k]);
      p[k] -= rate * v[k];
    });
  }
}

void Adam::move(const Move& one) const {
  const double correction1 = 1 - std::pow(options_.beta1, one.steps);
  const double correction2 = 1 - std::pow(options_.beta2, one.steps);
  const Real b1 = options_.beta1, b2 = options_.beta2, scale = one.gradient_scale;
  const Real c1 = 1 - options_.beta1, c2 = 1 - options_.beta2;  // 1 - b2 would lose float's digits
  const Real rate = one.learning_rate / correction1, decay = one.learning_rate * weight_decay_;
  const Real root = 1 / std::sqrt(correction2), epsilon = options_.epsilon;
  for_each_element(one.size, [=, p = one.parameter, m = one.state[0], v = one.state[1],
                              q = one.gradient](Index k) {
    const Real g = scale * q[k];
    m[k] = or_zero(b1 * m[k] + c1 * g);
    v[k] = or_zero(b2 * v[k] + c2 * g * g);
    p[k] -= decay * p[k] + rate * m[k] / (root * std::sqrt(v[k]) + epsilon);
  });
}

void Adamax::move(const Move& one) const {
  const Real b1 = options_.beta1, b2 = options_.beta2, scale = one.gradient_scale;
  const Real c1 = 1 - options_.beta1, epsilon = options_.epsilon;
  const Real rate = one.learning_rate / (1 - std::pow(options_.beta1, one.steps));
  for_each_element(one.size, [=, p = one.parameter, m = one.state[0], u = one.state[1],
                              q = one.gradient](Index k) {
    const Real g = scale * q[k];
    m[k] = or_zero(b1 * m[k] + c1 * g);
    u[k] = std::max(b2 * u[k], std::abs(g) + epsilon);
    p[k] -= rate * m[k] / u[k];
  });
}

}  // namespace backflow::inline BACKFLOW_PRECISION
