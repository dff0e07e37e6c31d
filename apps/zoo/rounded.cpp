#include "backflow/apps/zoo/rounded.h"

#include <cmath>

namespace backflow::inline BACKFLOW_PRECISION {

Tensor rounded(const Tensor& x, double step) {
  Tensor all = Tensor::empty(x.shape());
  Real* to = all.mutable_data();
  for (const Real value : x.values()) *to++ = static_cast<Real>(step * std::round(value / step));
  return all;
}

namespace {

// Gauss' rule of three points on each half of a side, relative to the side: the edges of a target
// of squares run through the middles of cells.
constexpr int points = 6;
constexpr double offset[points] = {-0.44364916731037084, -0.25, -0.05635083268962916,
                                   0.05635083268962916,  0.25,  0.44364916731037084};
constexpr double weight[points] = {5.0 / 36, 8.0 / 36, 5.0 / 36, 5.0 / 36, 8.0 / 36, 5.0 / 36};

}  // namespace

RoundedTarget::RoundedTarget(const Target& target, double step) : target_(target), step_(step) {
  const auto most = static_cast<Index>(std::ceil((target.half_width + 1) / step));
  std::vector<Cell> cells;
  for (Index i = -most; i <= most; ++i)
    for (Index j = -most; j <= most; ++j) cells.emplace_back(i, j);
  const std::vector<double> masses = masses_of(cells);
  for (std::size_t i = 0; i < cells.size(); ++i) {
    masses_[cells[i]] = masses[i];
    mass_ += masses[i];
    if (masses[i] > 0) entropy_ -= masses[i] * std::log(masses[i]);
  }
}

std::vector<double> RoundedTarget::masses_of(const std::vector<Cell>& cells) const {
  Tensor x = Tensor::empty({std::ssize(cells) * points * points, 2});
  Real* to = x.mutable_data();
  for (const auto& [i, j] : cells)
    for (const double along : offset)
      for (const double across : offset) {
        *to++ = static_cast<Real>(step_ * (static_cast<double>(i) + along));
        *to++ = static_cast<Real>(step_ * (static_cast<double>(j) + across));
      }
  const Tensor log_p = target_.log_density(x);
  std::vector<double> masses(cells.size());
  const Real* from = log_p.data();
  for (double& mass : masses)
    for (const double along : weight)
      for (const double across : weight)
        mass += along * across * step_ * step_ * std::exp(static_cast<double>(*from++));
  return masses;
}

Tensor RoundedTarget::log_prob(const Tensor& x) const {
  Tensor all = Tensor::empty({x.size(0)});
  for (Index i = 0; i < x.size(0); ++i) {
    const Cell cell{std::lround(x[2 * i] / step_), std::lround(x[2 * i + 1] / step_)};
    const auto known = masses_.find(cell);
    const double mass = known != masses_.end() ? known->second : masses_of({cell})[0];
    all.mutable_data()[i] = static_cast<Real>(std::log(mass));
  }
  return all;
}

}  // namespace backflow::inline BACKFLOW_PRECISION
