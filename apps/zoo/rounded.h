// A target in the plane whose points are rounded to a grid: what a flow of integers learns.
#pragma once

#include <map>

#include "backflow/apps/zoo/targets.h"

namespace backflow::inline BACKFLOW_PRECISION {

// (n, 2), each number the nearest multiple of the step.
Tensor rounded(const Tensor& x, double step);

// The distribution of what is rounded: P of a point of the grid is the integral of the density over
// the square of that side about it.
class RoundedTarget {
 public:
  RoundedTarget(const Target& target, double step);

  Tensor log_prob(const Tensor& x) const;  // (n, 2) on the grid -> (n), nats
  double entropy() const { return entropy_; }
  double mass() const { return mass_; }  // of the cells that the entropy is summed over: nearly 1

 private:
  using Cell = std::pair<Index, Index>;
  std::vector<double> masses_of(const std::vector<Cell>& cells) const;

  const Target& target_;
  double step_, entropy_ = 0, mass_ = 0;
  std::map<Cell, double> masses_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION
