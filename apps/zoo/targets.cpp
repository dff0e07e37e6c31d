#include "backflow/apps/zoo/targets.h"

#include <cmath>
#include <numbers>

#include "backflow/engine/parallel.h"
#include "backflow/ops/functions.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using std::numbers::pi;

struct Point {
  double x, y;
};

// ---- Samples and densities from functions of one point ------------------------------------------

// What one example draws from: numbers of its own, those of the next call other ones.
class Draws {
 public:
  Draws(const Random& random, Index example) : random_(random), example_(example) {}
  double uniform() {
    Real u;
    random_.stream(next_++).uniform(static_cast<std::uint32_t>(example_), {&u, 1});
    return u;
  }
  double normal() {
    Real n;
    random_.stream(next_++).normal(static_cast<std::uint32_t>(example_), {&n, 1});
    return n;
  }
  // One of 0 ... n - 1: of which part of the target it is.
  int choice(int n) { return label_ = std::min(n - 1, static_cast<int>(n * uniform())); }
  int label() const { return label_; }

 private:
  const Random& random_;
  Index example_;
  std::uint32_t next_ = 0;
  int label_ = 0;
};

template <Point (*draw)(Draws&)>
TargetSample sample_with_labels(Index n, const Random& random) {
  TargetSample all{Tensor::empty({n, 2}), std::vector<int>(static_cast<std::size_t>(n))};
  Real* to = all.x.mutable_data();
  for (Index i = 0; i < n; ++i) {
    Draws draws(random, i);
    const Point p = draw(draws);
    *to++ = static_cast<Real>(p.x);
    *to++ = static_cast<Real>(p.y);
    all.labels[static_cast<std::size_t>(i)] = draws.label();
  }
  return all;
}

template <Point (*draw)(Draws&)>
Tensor sample(Index n, const Random& random) {
  return sample_with_labels<draw>(n, random).x;
}

// log density(point, i) of the i-th of the points.
template <class Density>
Tensor log_densities(const Tensor& x, Density density) {
  if (x.rank() != 2 || x.size(1) != 2)
    fail("target", "points of the plane (n, 2) expected, the shape is ", x.shape());
  Tensor all = Tensor::empty({x.size(0)});
  parallel_for(x.size(0), 64, [&, to = all.mutable_data()](Index i, Index end) {
    for (; i < end; ++i)
      to[i] = static_cast<Real>(std::log(density(Point{x[2 * i], x[2 * i + 1]}, i)));
  });
  return all;
}

// Of a target that is one whole: p(point).
template <double (*density)(Point)>
Tensor log_density(const Tensor& x) {
  return log_densities(x, [](Point p, Index) { return density(p); });
}

// Of a target of equally likely parts: p(point | part).
template <int parts, double (*part)(Point, int)>
Tensor log_density_of_parts(const Tensor& x) {
  return log_densities(x, [](Point p, Index) {
    double total = 0;
    for (int k = 0; k < parts; ++k) total += part(p, k);
    return total / parts;
  });
}
template <int parts, double (*part)(Point, int)>
Tensor log_density_of_part(const Tensor& x, const std::vector<int>& labels) {
  return log_densities(
      x, [&](Point p, Index i) { return part(p, labels[static_cast<std::size_t>(i)]); });
}

double square_of(double x) { return x * x; }

// The normal density at distance d.
double normal_1d(double d, double sigma) {
  return std::exp(-0.5 * square_of(d / sigma)) / (sigma * std::sqrt(2 * pi));
}
double normal_2d(double dx, double dy, double sigma) {
  const double variance = sigma * sigma;
  return std::exp(-0.5 * (dx * dx + dy * dy) / variance) / (2 * pi * variance);
}
double normal_cdf(double d, double sigma) { return 0.5 * std::erfc(-d / (sigma * std::sqrt(2))); }

// The integral of f from a to b, by Gauss' rule of five points on each of so many pieces.
template <class F>
double integral(double a, double b, int pieces, F f) {
  constexpr double at[] = {0, 0.53846931010568309104, 0.90617984593866399280};
  constexpr double weight[] = {0.56888888888888888889, 0.47862867049936646804,
                               0.23692688505618908751};
  const double half = (b - a) / (2 * pieces);
  double total = 0;
  for (int i = 0; i < pieces; ++i) {
    const double middle = a + (2 * i + 1) * half;
    total += weight[0] * f(middle);
    for (int k = 1; k < 3; ++k)
      total += weight[k] * (f(middle - half * at[k]) + f(middle + half * at[k]));
  }
  return total * half;
}

// ---- Two moons: two half circles with noise -----------------------------------------------------

constexpr double moon_noise = 0.1;

Point draw_moons(Draws& draws) {
  const bool upper = draws.choice(2) == 0;
  const double t = pi * draws.uniform(), c = std::cos(t), s = std::sin(t);
  const double x = (upper ? c : 1 - c) + moon_noise * draws.normal();
  const double y = (upper ? s : 0.5 - s) + moon_noise * draws.normal();
  return {2 * x - 1, 2 * y - 0.2};
}

double density_of_moon(Point p, int moon) {
  // Where the integral takes the half circle is the same for every point, and sines are dear.
  static const std::vector<Point> places = [] {
    std::vector<Point> all;
    integral(0, pi, 60, [&](double t) {
      all.push_back({std::cos(t), std::sin(t)});
      return 0.0;
    });
    return all;
  }();
  const double x = (p.x + 1) / 2, y = (p.y + 0.2) / 2;
  auto place = places.begin();
  const double arc = integral(0, pi, 60, [&](double) {
    const auto [c, s] = *place++;
    return moon == 0 ? normal_2d(x - c, y - s, moon_noise)
                     : normal_2d(x - 1 + c, y - 0.5 + s, moon_noise);
  });
  return arc / pi / 4;
}

// ---- Eight gaussians on a circle ----------------------------------------------------------------

constexpr double eight_radius = 4 / 1.414, eight_sigma = 0.5 / 1.414;

Point draw_eight(Draws& draws) {
  const double angle = draws.choice(8) * pi / 4;
  return {eight_radius * std::cos(angle) + eight_sigma * draws.normal(),
          eight_radius * std::sin(angle) + eight_sigma * draws.normal()};
}

double density_of_one_of_eight(Point p, int k) {
  return normal_2d(p.x - eight_radius * std::cos(k * pi / 4),
                   p.y - eight_radius * std::sin(k * pi / 4), eight_sigma);
}

// ---- Two spirals --------------------------------------------------------------------------------

constexpr double spiral_noise = 0.1, spiral_end = 3 * pi, spiral_box = 1.0 / 6;

Point draw_spirals(Draws& draws) {
  const double sign = draws.choice(2) == 0 ? 1 : -1;
  const double n = spiral_end * std::sqrt(draws.uniform());
  const double x = (-n * std::cos(n) + 0.5 * draws.uniform()) / 3;
  const double y = (n * std::sin(n) + 0.5 * draws.uniform()) / 3;
  return {sign * x + spiral_noise * draws.normal(), sign * y + spiral_noise * draws.normal()};
}

// A uniform number between 0 and spiral_box, with noise, at distance d from the lower end: nothing
// beyond ten standard deviations.
double blurred_box(double d) {
  if (d < -10 * spiral_noise || d > spiral_box + 10 * spiral_noise) return 0;
  return (normal_cdf(d, spiral_noise) - normal_cdf(d - spiral_box, spiral_noise)) / spiral_box;
}

double density_of_spiral(Point p, int arm) {
  const double sign = arm == 0 ? 1 : -1;
  const double along_it = integral(0, spiral_end, 120, [=](double n) {
    const double x = -n * std::cos(n) / 3, y = n * std::sin(n) / 3;
    const double across = blurred_box(sign * p.x - x);
    return across == 0 ? 0 : n * across * blurred_box(sign * p.y - y);  // most of them
  });
  return 2 * along_it / square_of(spiral_end);
}

// ---- Checkerboard -------------------------------------------------------------------------------

Point draw_checkerboard(Draws& draws) {
  const double x = 4 * draws.uniform() - 2;
  const double row = std::floor(x) - 2 * std::floor(std::floor(x) / 2);  // 0 or 1
  return {2 * x, 2 * (draws.uniform() - 2 * draws.choice(2) + row)};
}

// The upper half of the board is one part, the lower half the other.
double density_of_half_board(Point p, int half) {
  const double x = p.x / 2, y = p.y / 2;
  if (!(x >= -2 && x < 2 && y >= -2 && y < 2) || (y >= 0) != (half == 0)) return 0;
  const auto odd = static_cast<int>(std::floor(x) + std::floor(y) + 8) % 2;
  return odd == 0 ? 1.0 / 16 : 0;
}

// ---- Circles with noise -------------------------------------------------------------------------

// log(I0(x) e^-x), the modified Bessel function of the first kind.
double log_scaled_bessel(double x) {
  if (x < 500) return std::log(std::cyl_bessel_i(0, x)) - x;
  const double r = 1 / (8 * x);  // its asymptotic series
  return std::log1p(r * (1 + r * (4.5 + r * 37.5))) - 0.5 * std::log(2 * pi * x);
}

double density_of_circle(Point p, double radius, double sigma) {
  const double r = std::hypot(p.x, p.y), variance = sigma * sigma;
  return std::exp(log_scaled_bessel(r * radius / variance) -
                  0.5 * square_of(r - radius) / variance) /
         (2 * pi * variance);
}

template <class Radii>
Point draw_circles(Draws& draws, const Radii& radii, double sigma) {
  const double radius = radii[draws.choice(static_cast<int>(std::size(radii)))];
  const double t = 2 * pi * draws.uniform();
  return {radius * std::cos(t) + sigma * draws.normal(),
          radius * std::sin(t) + sigma * draws.normal()};
}

constexpr double ring_radii[] = {3, 2.25, 1.5, 0.75}, ring_noise = 0.08;
constexpr double circle_radii[] = {3, 1.5}, circle_noise = 0.24;

Point draw_rings(Draws& draws) { return draw_circles(draws, ring_radii, ring_noise); }
double density_of_ring(Point p, int k) { return density_of_circle(p, ring_radii[k], ring_noise); }
Point draw_two_circles(Draws& draws) { return draw_circles(draws, circle_radii, circle_noise); }
double density_of_one_of_two(Point p, int k) {
  return density_of_circle(p, circle_radii[k], circle_noise);
}

// ---- Pinwheel: five arms, turned the more the farther out ---------------------------------------

constexpr double along = 0.3, across = 0.1;

double turn_of(double a, int arm) { return 2 * pi * arm / 5 + std::exp(a) / 4; }

Point draw_pinwheel(Draws& draws) {
  const double a = 1 + along * draws.normal(), b = across * draws.normal();
  const double turn = turn_of(a, draws.choice(5)), c = std::cos(turn), s = std::sin(turn);
  return {2 * (a * c - b * s), 2 * (a * s + b * c)};
}

// The sum over all (a, b) that are turned to the point. The first of them is a root of
// a = r cos(angle - turn(a)): between two places of a fine grid there is one at most.
double density_of_arm(double r, double angle, int arm) {
  const auto excess = [=](double a) { return r * std::cos(angle - turn_of(a, arm)) - a; };
  const double end = std::min(r, 1 + 9 * along), step = 0.02;
  double total = 0, low = std::max(-r, 1 - 9 * along);
  for (double at_low = excess(low); low < end;) {
    const double high = std::min(end, low + step), at_high = excess(high);
    if ((at_low >= 0) != (at_high >= 0)) {
      double left = low, right = high;
      for (int i = 0; i < 50; ++i) {
        const double middle = (left + right) / 2;
        ((excess(middle) >= 0) == (at_low >= 0) ? left : right) = middle;
      }
      const double b = r * std::sin(angle - turn_of(left, arm)), slope = std::exp(left) / 4;
      total += normal_1d(left - 1, along) * normal_1d(b, across) / std::abs(1 - slope * b);
    }
    low = high;
    at_low = at_high;
  }
  return total;
}

double density_of_pinwheel_arm(Point p, int arm) {
  return density_of_arm(std::hypot(p.x, p.y) / 2, std::atan2(p.y, p.x), arm) / 4;
}

// ---- Swiss roll ---------------------------------------------------------------------------------

constexpr double roll_noise = 1.0 / 5;

Point draw_swiss_roll(Draws& draws) {
  const double t = 1.5 * pi * (1 + 2 * draws.uniform());
  return {t * std::cos(t) / 5 + roll_noise * draws.normal(),
          t * std::sin(t) / 5 + roll_noise * draws.normal()};
}

double density_of_swiss_roll(Point p) {
  return integral(1.5 * pi, 4.5 * pi, 100,
                  [=](double t) {
                    return normal_2d(p.x - t * std::cos(t) / 5, p.y - t * std::sin(t) / 5,
                                     roll_noise);
                  }) /
         (3 * pi);
}

// ---- Energies -----------------------------------------------------------------------------------

Var column(const Var& x, Index i) { return reshape(slice(x, 1, i, i + 1), Shape{x.size(0)}); }

Var wave(const Var& x) { return sin((pi / 2) * x); }                                     // w1
Var bump(const Var& x) { return 3.0 * exp(-0.5 * square((x - 1.0) / Var(Real(0.6)))); }  // w2
Var step(const Var& x) { return 3.0 * sigmoid((x - 1.0) / Var(Real(0.3))); }             // w3

Var half_square(const Var& d, double sigma) { return (0.5 / (sigma * sigma)) * square(d); }
// -log(e^-a + e^-b)
Var soft_minimum(const Var& a, const Var& b) { return a - softplus(a - b); }

// Without it u2 to u4 have an infinite mass along the first axis.
Var wall(const Var& x) { return sum_examples(square(relu(abs(x) - 6.0))); }

Var u1(const Var& x) {
  const Var r = sqrt(sum_examples(square(x))), a = column(x, 0);
  return half_square(r - 2.0, 0.4) +
         soft_minimum(half_square(a - 2.0, 0.6), half_square(a + 2.0, 0.6));
}
Var u2(const Var& x) { return half_square(column(x, 1) - wave(column(x, 0)), 0.4) + wall(x); }
Var u3(const Var& x) {
  const Var d = column(x, 1) - wave(column(x, 0));
  return soft_minimum(half_square(d, 0.35), half_square(d + bump(column(x, 0)), 0.35)) + wall(x);
}
Var u4(const Var& x) {
  const Var d = column(x, 1) - wave(column(x, 0));
  return soft_minimum(half_square(d, 0.4), half_square(d + step(column(x, 0)), 0.35)) + wall(x);
}

template <Var (*energy)(const Var&)>
Tensor minus(const Tensor& x) {
  return -energy(Var(x)).value();
}

// What a target of equally likely parts has, by its function of one part.
template <int parts, double (*part)(Point, int), Point (*draw)(Draws&)>
Target of_parts(const char* name, const char* help, double entropy, double entropy_of_part,
                double half_width) {
  return {.name = name,
          .help = help,
          .entropy = entropy,
          .half_width = half_width,
          .sample = sample<draw>,
          .log_density = log_density_of_parts<parts, part>,
          .labels = parts,
          .entropy_given_label = entropy_of_part,
          .sample_with_labels = sample_with_labels<draw>,
          .log_density_given_label = log_density_of_part<parts, part>};
}
Target energy(const char* name, const char* help, double entropy, double log_z, double half_width,
              auto log_p, auto u) {
  return {.name = name,
          .help = help,
          .entropy = entropy,
          .log_z = log_z,
          .half_width = half_width,
          .log_density = log_p,
          .energy = u};
}

}  // namespace

const Table<Target>& targets() {
  static const Table<Target> table(
      "target",
      {of_parts<2, density_of_moon, draw_moons>(
           "moons", "two half circles, one in the other's bend", 2.3938792, 1.7025701, 4),
       of_parts<8, density_of_one_of_eight, draw_eight>(
           "8gaussians", "eight normal distributions on a circle", 2.8318804, 0.7587376, 4.5),
       of_parts<2, density_of_spiral, draw_spirals>(
           "2spirals", "two arms that wind around the middle", 2.6454503, 1.9536599, 4),
       of_parts<2, density_of_half_board, draw_checkerboard>(
           "checkerboard", "eight squares, uniform: log 32", std::log(32.0), std::log(16.0), 4),
       of_parts<4, density_of_ring, draw_rings>("rings", "four thin circles around one centre",
                                                2.6231828, 1.2368947, 4),
       of_parts<2, density_of_one_of_two, draw_two_circles>(
           "circles", "two circles around one centre", 3.2681357, 2.5776202, 4.5),
       of_parts<5, density_of_pinwheel_arm, draw_pinwheel>(
           "pinwheel", "five arms that turn the more the farther out", 2.317788, 0.7148148, 4.5),
       {.name = "swissroll",
        .help = "a spiral, the denser the nearer to the middle",
        .entropy = 2.669646,
        .half_width = 4,
        .sample = sample<draw_swiss_roll>,
        .log_density = log_density<density_of_swiss_roll>},
       energy("u1", "an energy: a circle with two dense places", 2.6600125, 1.8775016, 4, minus<u1>,
              u1),
       energy("u2", "an energy: a wave", 3.1896661, 2.6253183, 8, minus<u2>, u2),
       energy("u3", "an energy: a wave that splits in two and closes", 3.1596158, 3.1849341, 8,
              minus<u3>, u3),
       energy("u4", "an energy: a wave that splits in two", 3.4416613, 3.2539270, 8, minus<u4>,
              u4)});
  return table;
}

}  // namespace backflow::inline BACKFLOW_PRECISION
