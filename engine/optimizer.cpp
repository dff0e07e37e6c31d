#include "engine/optimizer.h"

#include <cmath>

#include "engine/parallel.h"

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

void SGD::step(const Gradients& gradients, double learning_rate, double gradient_scale) {
  ++steps_;
  const Real rate = static_cast<Real>(learning_rate * gradient_scale);
  for (const auto& [name, parameter] : parameters_) {
    if (!gradients.contains(*parameter)) continue;
    const Tensor g = gradients[*parameter];
    Real* p = parameter->mutable_value().mutable_data();
    parallel_for(g.size(), elements_per_chunk, [p, rate, q = g.data()](Index i, Index end) {
      for (; i < end; ++i) p[i] -= rate * q[i];
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
  ++steps_;
  const double correction1 = 1 - std::pow(options_.beta1, steps_);
  const double correction2 = 1 - std::pow(options_.beta2, steps_);
  const Real b1 = options_.beta1, b2 = options_.beta2, scale = gradient_scale;
  const Real c1 = 1 - options_.beta1, c2 = 1 - options_.beta2;  // 1 - b2 would lose float's digits
  const Real rate = learning_rate / correction1;
  const Real root = 1 / std::sqrt(correction2), epsilon = options_.epsilon;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    Parameter& parameter = *parameters_[i].parameter;
    if (!gradients.contains(parameter)) continue;
    const Tensor gradient = gradients[parameter];
    Real* p = parameter.mutable_value().mutable_data();
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
  }
}

std::vector<NamedTensor> Adam::state() {
  std::vector<NamedTensor> all;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    all.push_back({"adam.m." + parameters_[i].name, &m_[i]});
    all.push_back({"adam.v." + parameters_[i].name, &v_[i]});
  }
  return all;
}

}  // namespace backflow::inline BACKFLOW_PRECISION
