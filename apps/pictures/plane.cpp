#include "backflow/apps/pictures/plane.h"

#include <algorithm>
#include <cmath>

#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

struct Place {
  double column, row;  // in pixels from the upper left corner; the first pixel's middle is at 0.5
};

// Where places of the window are on its pixels.
class PixelGrid {
 public:
  PixelGrid(const Window& window, int side)
      : window_(window),
        side_(side),
        column_step_((window.right - window.left) / side),
        row_step_((window.top - window.bottom) / side) {
    if (side < 1) fail("Window", "a picture of ", side, " pixels a side, expected 1 at least");
    if (!(column_step_ > 0 && row_step_ > 0 && std::isfinite(column_step_ + row_step_)))
      fail("Window", "from (", window.left, ", ", window.bottom, ") to (", window.right, ", ",
           window.top, "), expected the second corner right of and above the first");
  }

  Real x(int column) const {
    return static_cast<Real>(window_.left + (column + 0.5) * column_step_);
  }
  Real y(int row) const { return static_cast<Real>(window_.top - (row + 0.5) * row_step_); }

  Place place(const Real* point) const {
    return {(static_cast<double>(point[0]) - window_.left) / column_step_,
            (window_.top - static_cast<double>(point[1])) / row_step_};
  }
  // The pixel that holds a place on an axis, or the nearest one within the picture.
  int nearest(double place) const {
    return static_cast<int>(std::clamp(std::floor(place), 0.0, side_ - 1.0));
  }

 private:
  Window window_;
  int side_;
  double column_step_, row_step_;
};

bool finite(const Place& place) { return std::isfinite(place.column) && std::isfinite(place.row); }

void check_points(const char* who, const Tensor& points) {
  if (points.rank() != 2 || points.size(1) != 2)
    fail(who, "points of the plane (n, 2) expected, the shape is ", points.shape());
}

double distance_to_segment(const Place& p, const Place& a, const Place& b) {
  const double x = b.column - a.column, y = b.row - a.row, length2 = x * x + y * y;
  const double along = (p.column - a.column) * x + (p.row - a.row) * y;
  const double t = length2 > 0 ? std::clamp(along / length2, 0.0, 1.0) : 0;
  return std::hypot(p.column - a.column - t * x, p.row - a.row - t * y);
}

// Calls add(pixel, coverage) for each pixel that lies within `radius` of the segment, or half a
// pixel beyond: how much of it is covered, from 0 to 1.
template <class Add>
void cover(const PixelGrid& grid, int side, const Place& a, const Place& b, double radius,
           const Add& add) {
  const double reach = radius + 0.5;
  const auto [left, right] = std::minmax(a.column, b.column);
  const auto [upper, lower] = std::minmax(a.row, b.row);
  if (right + reach < 0 || left - reach > side || lower + reach < 0 || upper - reach > side) return;
  for (int row = grid.nearest(upper - reach); row <= grid.nearest(lower + reach); ++row)
    for (int column = grid.nearest(left - reach); column <= grid.nearest(right + reach); ++column) {
      const double distance = distance_to_segment({column + 0.5, row + 0.5}, a, b);
      if (distance < reach)
        add(Index{row} * side + column, static_cast<Real>(std::min(1.0, reach - distance)));
    }
}

}  // namespace

Tensor pixel_middles(const Window& window, int side) {
  const PixelGrid grid(window, side);
  Tensor points = Tensor::empty({Index{side} * side, 2});
  Real* to = points.mutable_data();
  for (int row = 0; row < side; ++row)
    for (int column = 0; column < side; ++column) {
      *to++ = grid.x(column);
      *to++ = grid.y(row);
    }
  return points;
}

Tensor density_on_pixels(const PlaneDensity& log_density, const Window& window, int side) {
  constexpr Index batch = 4096;
  const Tensor points = pixel_middles(window, side);
  Tensor density = Tensor::empty({side, side});
  Real* to = density.mutable_data();
  for (Index first = 0; first < points.size(0); first += batch) {
    const Index end = std::min(first + batch, points.size(0));
    const Tensor log_p = log_density(slice(points, 0, first, end));
    if (log_p.shape() != Shape{end - first})
      fail("density_on_pixels", "the density of ", end - first, " points has the shape ",
           log_p.shape());
    for (Index i = 0; i < log_p.size(); ++i) {
      const Real p = std::exp(log_p[i]);
      *to++ = std::isfinite(p) ? p : 0;
    }
  }
  return density;
}

// Each new pixel is three quarters of the one that it lies in, and a quarter of that one's nearer
// neighbour, which beyond the edge is itself.
Tensor doubled_pixels(const Tensor& brightness) {
  if (brightness.rank() != 2)
    fail("doubled_pixels", "(height, width) expected, the shape is ", brightness.shape());
  const Index height = brightness.size(0), width = brightness.size(1);
  const auto neighbour = [](Index i, Index size) {
    return std::clamp<Index>(i % 2 == 0 ? i / 2 - 1 : i / 2 + 1, 0, size - 1);
  };
  const Real* from = brightness.data();
  Tensor doubled = Tensor::empty({2 * height, 2 * width});
  Real* to = doubled.mutable_data();
  for (Index row = 0; row < 2 * height; ++row) {
    const Real* here = from + row / 2 * width;
    const Real* there = from + neighbour(row, height) * width;
    for (Index column = 0; column < 2 * width; ++column) {
      const auto between = [&](Index at) { return Real(0.75) * here[at] + Real(0.25) * there[at]; };
      *to++ = Real(0.75) * between(column / 2) + Real(0.25) * between(neighbour(column, width));
    }
  }
  return doubled;
}

Tensor dots_on_pixels(const Tensor& points, const Window& window, int side, double radius) {
  check_points("dots_on_pixels", points);
  const PixelGrid grid(window, side);
  Tensor covered = Tensor::zeros({side, side});
  Real* to = covered.mutable_data();
  for (Index i = 0; i < points.size(0); ++i) {
    const Place place = grid.place(points.data() + 2 * i);
    if (finite(place))
      cover(grid, side, place, place, radius, [to](Index pixel, Real by) { to[pixel] += by; });
  }
  return covered;
}

Tensor lines_on_pixels(const std::vector<Tensor>& lines, const Window& window, int side,
                       double width) {
  const PixelGrid grid(window, side);
  Tensor covered = Tensor::zeros({side, side});
  Real* to = covered.mutable_data();
  for (const Tensor& line : lines) {
    check_points("lines_on_pixels", line);
    for (Index i = 1; i < line.size(0); ++i) {
      const Place from = grid.place(line.data() + 2 * (i - 1)),
                  end = grid.place(line.data() + 2 * i);
      if (finite(from) && finite(end))
        cover(grid, side, from, end, width / 2,
              [to](Index pixel, Real by) { to[pixel] = std::max(to[pixel], by); });
    }
  }
  return covered;
}

}  // namespace backflow::inline BACKFLOW_PRECISION
