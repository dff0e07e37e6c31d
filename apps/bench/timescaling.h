// How the time of a training step grows with the dimension D, for one exact and one
// self-normalizing layer: the comparison of Keller et al., "Self Normalizing Flows", ICML 2021.
#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include "backflow/apps/model/model.h"

namespace backflow::inline BACKFLOW_PRECISION {

enum class LayerKind { fc, conv };  // fully connected; 3 x 3 kernels on images of one channel
enum class Method { exact, self_normalizing };

const char* name_of(LayerKind kind);  // as in the CSV: "fc"
const char* name_of(Method method);   // "self_normalizing"

struct TimedPoint {
  LayerKind kind;
  Method method;
  ImageShape image;
  std::vector<double> ms;  // of each timed step

  double D() const { return static_cast<double>(image.size()); }
  double median() const;
  // What counts: other work on the machine can only add to it.
  double least() const { return *std::min_element(ms.begin(), ms.end()); }
};
using Curve = std::vector<TimedPoint>;  // of growing D

// Images of D = 32, ..., 4064 pixels, at roughly equal ratios, as far as max_dim. All are about
// four times as high as wide, for 4064 = 127 x 32 comes no closer to a square: of images of several
// proportions an exact convolution, whose cost is H W^3, would have no one curve.
std::vector<ImageShape> timescaling_images(Index max_dim);

// Steps are taken until both `least` and `ms` are reached, but no more than `most`; those of the
// warm-up, which are not counted, until either `warm_up` or `ms` is.
struct TimingBudget {
  Index warm_up = 3, least = 2, most = 200;
  double ms = 300;
};

// A whole step, as if other layers came before and after this one: value, log-determinant or its
// gradient, reconstruction loss, the gradients of weights and of the input, Adam. Normal random
// input, a standard normal behind the layer. Each step changes the weights, so an exact layer
// factorizes in each.
TimedPoint time_layer(LayerKind kind, Method method, const ImageShape& image, Index batch_size,
                      const TimingBudget& budget = {});

// The slope of log ms (the least) over log D by least squares.
inline constexpr Index fit_from = 512;
struct PowerLaw {
  double exponent;
  Index from;  // the least D that counts: the first from fit_from on, or of all when those are < 3
};
PowerLaw fit_power_law(const Curve& curve);  // of two points or more

struct Crossover {
  std::optional<double> D;  // where the curves cross for the last time, if they do
  Method faster;            // beyond it; or, if they do not cross, everywhere
};
// Both curves have the same dimensions, and are straight lines in log-log from point to point.
Crossover find_crossover(const Curve& exact, const Curve& self_normalizing);

// Why fully connected layers cross. A self-normalizing step has six products of 2 B D^2 flop; an
// exact one is half of that, and the inverse of its matrix of 2 D^3 flop. If a flop of the inverse
// has the price p of one of the products, the two take as long at D = 3 B / p.
double fc_crossover_at(double price, Index batch_size);
// That price as measured, of two points of the same D. Not positive where noise hides the inverse.
double lu_price(const TimedPoint& exact, const TimedPoint& self_normalizing, Index batch_size);

}  // namespace backflow::inline BACKFLOW_PRECISION
