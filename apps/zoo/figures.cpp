#include "backflow/apps/zoo/figures.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "backflow/apps/files/text.h"
#include "backflow/apps/pictures/colours.h"
#include "backflow/apps/pictures/page.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// In pixels: twice what they are on a page of the usual size, for screens with fine pixels.
constexpr int panel_side = 400, margin = 32, gap = 32, head = 64, foot = 56;

Tensor density_on_panel(const PlaneDensity& density, const Window& window) {
  return doubled_pixels(density_on_pixels(density, window, panel_side / 2));
}

struct FigurePanel {
  Picture picture;
  std::string words;
};

// So large that the words are no wider than so many pixels.
int font_size(const std::string& words, int width, int largest) {
  constexpr double pixels = 0.8;  // of a bold letter, on average, per unit of the font's size
  const auto letters = static_cast<double>(std::max<std::size_t>(words.size(), 1));
  return std::clamp(static_cast<int>(width / (pixels * letters)), 8, largest);
}

// Rows of `columns` panels.
bool save_panels(const std::filesystem::path& png, const std::string& title,
                 const std::vector<FigurePanel>& panels, int columns = 2) {
  const int count = static_cast<int>(std::ssize(panels)), in_row = std::min(columns, count);
  const int rows = (count + in_row - 1) / in_row, width = in_row * (panel_side + gap) - gap;
  Page page(2 * margin + width, head + rows * (panel_side + foot));
  page.write(title, margin, head / 2 + 2, Align::left, font_size(title, width, 16), Weight::bold);
  for (int i = 0; i < count; ++i) {
    const int left = margin + i % in_row * (panel_side + gap);
    const int top = head + i / in_row * (panel_side + foot);
    page.place(panels[i].picture, left, top);
    page.write(panels[i].words, left + panel_side / 2, top + panel_side + foot / 2 - 2,
               Align::centre, 14);
  }
  return page.save(png);
}

PlaneDensity standard_normal_density() {
  return [](const Tensor& z) {
    return (Real(-0.5) * sum(square(Var(z)), {1}) - std::log(2 * std::numbers::pi)).value();
  };
}

// The fewer points there are, the larger each is, in pixels.
double radius_of(const Tensor& points) {
  const auto n = static_cast<double>(std::max<Index>(points.size(0), 1));
  return std::clamp(90 / std::sqrt(n), 1.0, 4.0);
}

Picture shining(const Tensor& points, const Window& window, double radius) {
  const Tensor covered = dots_on_pixels(points, window, panel_side, radius);
  return in_magma(pointwise(covered, [](Real by) { return 1 - std::exp(Real(-0.55) * by); }));
}

// Lines z1 = -3, -2.5, ..., 3, or z2, from -3 to 3.
std::vector<Tensor> grid_lines(int axis) {
  constexpr Index points = 1'200;
  constexpr double end = 3, step = 0.5;
  std::vector<Tensor> lines;
  for (double at = -end; at <= end; at += step) {
    Tensor line = Tensor::empty({points, 2});
    Real* to = line.mutable_data();
    for (Index i = 0; i < points; ++i) {
      const double along = -end + 2 * end * static_cast<double>(i) / (points - 1);
      to[2 * i + axis] = static_cast<Real>(at);
      to[2 * i + 1 - axis] = static_cast<Real>(along);
    }
    lines.push_back(line);
  }
  return lines;
}

Picture grid_over(const PlaneDensity& density, const Window& window,
                  const std::function<Tensor(const Tensor&)>& map) {
  constexpr Rgb colours[] = {{0x7f, 0xd6, 0xff}, {0xff, 0xd9, 0x66}};
  const Tensor p = density_on_panel(density, window);
  const double faint = 4;  // the lines are to be seen
  Picture picture = heat_map(p, faint * brightest_of(p));
  for (const int axis : {0, 1}) {
    std::vector<Tensor> lines = grid_lines(axis);
    for (Tensor& line : lines) line = map(line);
    lay_over(picture, colours[axis], lines_on_pixels(lines, window, panel_side, 1.6));
  }
  return picture;
}

}  // namespace

PlaneDensity density_of(const Target& target) {
  return [&target](const Tensor& x) {
    const auto log_z = static_cast<Real>(target.log_z);
    return pointwise(target.log_density(x), [=](Real v) { return v - log_z; });
  };
}

Window window_of(double half_width) { return Window::square(1.08 * half_width); }

Picture heat_map(const Tensor& density, double brightest) {
  const double scale = brightest > 0 ? 1 / brightest : 0;
  return in_magma(pointwise(density, [=](Real p) {
    return static_cast<Real>(std::sqrt(std::max(0.0, static_cast<double>(p) * scale)));
  }));
}

double brightest_of(const Tensor& density) {
  std::vector<Real> values = density.values();
  std::ranges::sort(values, std::greater());
  double mass = 0, above = 0;
  for (const Real p : values) mass += static_cast<double>(p);
  for (const Real p : values) {
    above += static_cast<double>(p);
    if (above >= mass / 1000) return static_cast<double>(p);
  }
  return 0;
}

bool save_density(const std::filesystem::path& png, const FigureFrame& frame,
                  const PlaneDensity& learned, const PlaneDensity& truth) {
  const Window window = window_of(frame.half_width);
  const Tensor ours = density_on_panel(learned, window);
  if (!truth)
    return save_panels(png, frame.title, {{heat_map(ours, brightest_of(ours)), "learned density"}});
  const Tensor theirs = density_on_panel(truth, window);
  const double brightest = brightest_of(theirs);
  return save_panels(png, frame.title,
                     {{heat_map(ours, brightest), "learned density"},
                      {heat_map(theirs, brightest), "true density"}});
}

bool save_points(const std::filesystem::path& png, const FigureFrame& frame, const Tensor& samples,
                 const Tensor& data) {
  constexpr Index most_rows = 3;
  if (samples.rank() != 2 || samples.size(1) < 2)
    fail("save_points", "(n, D) with two columns at least expected, the shape is ",
         samples.shape());
  const Window window = window_of(frame.half_width);
  const double radius = radius_of(samples);
  const Index rows = std::min(samples.size(1) / 2, most_rows);
  std::vector<FigurePanel> panels;
  const auto add = [&](const Tensor& points, Index row, const std::string& words) {
    const std::string columns =
        points.size(1) == 2
            ? ""
            : text(", columns %lld and %lld", number(2 * row + 1), number(2 * row + 2));
    panels.push_back(
        {shining(slice(points, 1, 2 * row, 2 * row + 2), window, radius), words + columns});
  };
  for (Index row = 0; row < rows; ++row) {
    add(samples, row, "samples of the flow");
    if (data.defined()) add(data, row, "samples of the data");
  }
  return save_panels(png, frame.title, panels, data.defined() ? 2 : 1);
}

bool save_grid(const std::filesystem::path& png, const FigureFrame& frame,
               const std::function<Tensor(const Tensor& z)>& inverse, const PlaneDensity& learned) {
  const auto unchanged = [](const Tensor& z) { return z; };
  return save_panels(
      png, frame.title,
      {{grid_over(standard_normal_density(), Window::square(3.5), unchanged),
        "lines of constant z"},
       {grid_over(learned, window_of(frame.half_width), inverse), "the same lines in x"}});
}

}  // namespace backflow::inline BACKFLOW_PRECISION
