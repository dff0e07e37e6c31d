// Tables are small: they are made in double. Only the exponentials of the softmax are not, for they
// are what most of the time went into. Slopes keep theirs, so that a parameter 0 means exactly 1.
#include "backflow/ops/spline_tables.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "backflow/engine/parallel.h"
#include "backflow/ops/vector_math.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr Index width = SplineLayout::strip_width;
using Column = std::array<double, width>;  // one number of each of a strip's splines

Shape parameter_shape(const Shape& x, bool shared, Index count) {
  Shape shape;
  if (!shared) {
    shape.push_back(1);
    for (int axis = 1; axis < x.rank(); ++axis) shape.push_back(x[axis]);
  }
  shape.push_back(count);
  return shape;
}

// Number k of `count` numbers per spline, laid out spline after spline.
Column column_of(const Real* parameters, Index splines, Index k, Index count) {
  Column c;
  for (Index i = 0, spline = 0; i < width; ++i) {
    c[i] = parameters[spline * count + k];
    if (++spline == splines) spline = 0;
  }
  return c;
}

std::vector<Column> softmax(const Real* parameters, Index splines, Index bins) {
  std::vector<Column> p;
  p.reserve(bins);
  for (Index k = 0; k < bins; ++k) p.push_back(column_of(parameters, splines, k, bins));
  Column top = p[0], total{};
  for (const Column& c : p)
    for (Index i = 0; i < width; ++i) top[i] = c[i] > top[i] ? c[i] : top[i];
  for (Column& c : p)
    for (Index i = 0; i < width; ++i)
      total[i] += c[i] = vector_math::exp(static_cast<Real>(c[i] - top[i]));
  for (Column& c : p)
    for (Index i = 0; i < width; ++i) c[i] /= total[i];
  return p;
}

void fill_knots(const std::vector<Column>& p, double bound, double least, Real* knots,
                Real* probabilities) {
  const double span = 2 * bound, rest = 1 - least * static_cast<double>(p.size());
  Column position;
  position.fill(-bound);
  for (const Column& c : p)
    for (Index i = 0; i < width; ++i) {
      *knots++ = static_cast<Real>(position[i]);
      *probabilities++ = static_cast<Real>(c[i]);
      position[i] += span * (least + rest * c[i]);
    }
  std::fill_n(knots, width, static_cast<Real>(bound));
}

// softplus and its slope.
void fill_slopes(Column p, double least, Real* slopes, Real* sigmoids) {
  const double shift = std::log(std::expm1(1 - least));
  for (Index i = 0; i < width; ++i) {
    const double x = p[i] + shift;
    slopes[i] = static_cast<Real>(least + vector_math::softplus(x));
    sigmoids[i] = static_cast<Real>(vector_math::sigmoid(x));
  }
}

// p_k scale (g_k - sum_j p_j g_j), for the splines of a strip.
void chain_softmax(const Real* p, const double* g, double scale, Index splines, Index bins,
                   Real* out) {
  Column mean{};
  for (Index k = 0; k < bins; ++k)
    for (Index i = 0; i < width; ++i) mean[i] += p[k * width + i] * g[k * width + i];
  for (Index k = 0; k < bins; ++k)
    for (Index i = 0; i < splines; ++i)
      out[i * bins + k] =
          static_cast<Real>(scale * p[k * width + i] * (g[k * width + i] - mean[i]));
}

}  // namespace

void check_spline_options(const char* op, const SplineOptions& o, Index bins) {
  using Limits = std::numeric_limits<Real>;
  const double most = 1.0 / static_cast<double>(bins);
  const auto within = [](double x, double low, double high) { return x > low && x <= high; };
  constexpr double widest = Limits::max() / 4;  // twice the bound is the interval, and is finite
  const bool possible = within(o.bound, 0, widest) && within(o.least_width, 0, most) &&
                        within(o.least_height, 0, most) && o.least_derivative > 0 &&
                        o.least_derivative < 1;
  if (!possible)
    fail(op, "no spline of ", bins, " bins has bound ", o.bound, ", least width ", o.least_width,
         ", least height ", o.least_height, ", least derivative ", o.least_derivative);
  // Knots are Reals as large as the bound: closer ones would fall together, into a bin of no width.
  constexpr double least = 8 * static_cast<double>(Limits::epsilon());
  if (std::min({o.least_width, o.least_height, o.least_derivative}) < least ||
      o.bound < static_cast<double>(Limits::min()) / least)
    fail(op, "least width ", o.least_width, ", least height ", o.least_height,
         ", least derivative ", o.least_derivative, " at bound ", o.bound, " are too fine for a ",
         sizeof(Real) == sizeof(float) ? "float" : "double", ", which resolves ", least);
}

SplineLayout::SplineLayout(const char* op, const Shape& x, const Shape& widths,
                           const Shape& heights, const Shape& derivatives)
    : bins(widths.rank() > 0 ? widths[-1] : 0), elements(x.size()) {
  const bool shared = widths.rank() == 1;
  const bool possible = x.rank() > 0 && x.rank() < Shape::max_rank && bins > 0;
  if (!possible || !(widths == parameter_shape(x, shared, bins)) || !(heights == widths) ||
      !(derivatives == parameter_shape(x, shared, bins - 1)))
    fail(op, "for x of ", x,
         " the widths, heights and derivatives must be (..., K), (..., K) and (..., K - 1) with "
         "x's sizes, or 1 in place of the first; or (K), (K) and (K - 1); they are ",
         widths, ", ", heights, ", ", derivatives);
  splines = widths.size() / bins;
  if (elements == 0) return;
  columns = splines * std::max<Index>(1, width / splines);
  rows = (elements + columns - 1) / columns;
  strips = (columns + width - 1) / width;
  const Index most_rows = std::min<Index>(elements_per_chunk / std::min(width, columns), 1024);
  const Index pairs = std::max<Index>(1, (rows + 2 * most_rows - 1) / (2 * most_rows));
  rows_per_task = std::max<Index>(1, (rows + 2 * pairs - 1) / (2 * pairs));
  tasks_per_strip = (rows + rows_per_task - 1) / rows_per_task;
}

struct SplineTables::Source {
  const SplineLayout& layout;
  const Real *widths, *heights, *derivatives;
};

SplineTables::SplineTables(const char* op, const SplineLayout& layout, const Tensor& widths,
                           const Tensor& heights, const Tensor& derivatives,
                           const SplineOptions& options)
    : options_(options),
      rows_(layout.bins + 1),
      values_(static_cast<std::size_t>(layout.strips * kinds * rows_)) {
  check_spline_options(op, options, layout.bins);
  const Source source{layout, widths.data(), heights.data(), derivatives.data()};
  parallel_for(layout.strips, 4, [&](Index strip, Index end) {
    for (; strip < end; ++strip) fill(source, strip);
  });
}

// Widths and heights are those between the rounded knots: so the pieces meet.
void SplineTables::fill(const Source& source, Index strip) {
  const Index bins = source.layout.bins, splines = source.layout.splines_in(strip);
  const Index first = strip * width;
  const auto to = [&](Kind kind) { return values_[place(strip, kind, 0)].values; };
  fill_knots(softmax(source.widths + first * bins, splines, bins), options_.bound,
             options_.least_width, to(x), to(width_softmax));
  fill_knots(softmax(source.heights + first * bins, splines, bins), options_.bound,
             options_.least_height, to(y), to(height_softmax));
  std::fill_n(to(slope), kind_stride(), Real(1));
  for (Index k = 1; k < bins; ++k)
    fill_slopes(column_of(source.derivatives + first * (bins - 1), splines, k - 1, bins - 1),
                options_.least_derivative, to(slope) + k * width, to(sigmoid) + k * width);
  const Real *X = to(x), *Y = to(y);
  Real *heights = to(height), *inverse_widths = to(inverse_width);
  for (Index i = 0; i < bins * width; ++i) {
    heights[i] = Y[i + width] - Y[i];
    inverse_widths[i] = 1 / (X[i + width] - X[i]);
  }
}

void SplineTables::chain(const SplineLayout& layout, Index strip, const double* sums,
                         const Parameters& out) const {
  const Index bins = layout.bins, splines = layout.splines_in(strip), first = strip * width;
  const double span = 2 * options_.bound;
  const auto scale = [&](double least) { return span * (1 - static_cast<double>(bins) * least); };
  chain_softmax(row(strip, width_softmax, 0), sums, scale(options_.least_width), splines, bins,
                out.widths + first * bins);
  chain_softmax(row(strip, height_softmax, 0), sums + bins * width, scale(options_.least_height),
                splines, bins, out.heights + first * bins);
  sums += 2 * bins * width;
  for (Index k = 0; k < bins - 1; ++k)
    for (Index i = 0; i < splines; ++i)
      out.derivatives[(first + i) * (bins - 1) + k] =
          static_cast<Real>(row(strip, sigmoid, k + 1)[i] * sums[k * width + i]);
}

}  // namespace backflow::inline BACKFLOW_PRECISION
