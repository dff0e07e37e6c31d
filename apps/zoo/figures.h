// What a flow has learned, as pictures: side by side with the truth, in the same light.
//
// Each function writes a PNG and says whether the words are in it: gnuplot draws them, and where it
// is missing the picture is the same without.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "backflow/apps/files/png.h"
#include "backflow/apps/pictures/plane.h"
#include "backflow/apps/zoo/targets.h"

namespace backflow::inline BACKFLOW_PRECISION {

// log p of a target, normalized.
PlaneDensity density_of(const Target& target);

// What a run's picture shows: the square [-half_width, half_width]^2 and a little around it, with
// the title above.
struct FigureFrame {
  double half_width;
  std::string title;
};

Window window_of(double half_width);

// A density on `side` x `side` pixels. Its brightness is the square root of the density over that
// of `brightest`, so that thin places are seen as well.
Picture heat_map(const Tensor& density, double brightest);

// What heat_map() takes for the brightest of a density (side, side): what all but a thousandth of
// its mass lies below. So one sharp peak does not darken the rest.
double brightest_of(const Tensor& density);

// The learned density at the left, the true one at the right, if there is one: both functions give
// log p in nats.
bool save_density(const std::filesystem::path& png, const FigureFrame& frame,
                  const PlaneDensity& learned, const PlaneDensity& truth = nullptr);

// The model's samples (n, D) at the left, D >= 2, and at the right those of the data, if there are
// any. Points shine, and the more of them there are at a place, the brighter it is. Of more than
// two columns a row shows the first and the second, the next one the third and the fourth, three
// rows at most.
bool save_points(const std::filesystem::path& png, const FigureFrame& frame, const Tensor& samples,
                 const Tensor& data = {});

// How the flow bends the plane. At the left lines of constant z1 and z2, half a standard deviation
// apart, over the normal distribution; at the right where `inverse`, (n, 2) -> (n, 2), takes them,
// over the learned density.
bool save_grid(const std::filesystem::path& png, const FigureFrame& frame,
               const std::function<Tensor(const Tensor& z)>& inverse, const PlaneDensity& learned);

}  // namespace backflow::inline BACKFLOW_PRECISION
