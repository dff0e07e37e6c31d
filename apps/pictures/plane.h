// Functions, points and lines of the plane on the pixels of a square picture. Tensors of (side,
// side) begin with the upper row, that is with the largest y.
#pragma once

#include <functional>
#include <vector>

#include "backflow/engine/tensor.h"

namespace backflow::inline BACKFLOW_PRECISION {

// The part of the plane that is seen.
struct Window {
  double left, right, bottom, top;

  static Window square(double half_width) {
    return {-half_width, half_width, -half_width, half_width};
  }
};

// log p(x) in nats of points (n, 2): (n).
using PlaneDensity = std::function<Tensor(const Tensor& x)>;

// The points in the middles of the pixels, (side^2, 2).
Tensor pixel_middles(const Window& window, int side);

// The density p in the middle of each pixel, (side, side). What is no number counts as 0, and so
// does an infinite density. The function is called with a few thousand points at a time.
Tensor density_on_pixels(const PlaneDensity& log_density, const Window& window, int side);

// (height, width) on twice as many pixels along each axis, linear between the middles of the given
// ones: a quarter of the work where a density takes long.
Tensor doubled_pixels(const Tensor& brightness);

// Each point (n, 2) as a disc of this radius in pixels, with soft edges: by how many of them each
// pixel is covered. Points without two finite numbers are left out.
Tensor dots_on_pixels(const Tensor& points, const Window& window, int side, double radius);

// Lines through points (n, 2), this wide in pixels, with soft edges: how much of each pixel they
// cover, at most 1. Where a point is not finite the line has a gap.
Tensor lines_on_pixels(const std::vector<Tensor>& lines, const Window& window, int side,
                       double width);

}  // namespace backflow::inline BACKFLOW_PRECISION
