// One column of x per vector lane, and no branch on data: each knot is compared with x and selects
// what belongs to its bin. An element beyond the bound is computed as if it were 0, with gradient
// 0; afterwards the identity takes its place.
#include "backflow/engine/parallel.h"
#include "backflow/ops/spline_formula.h"
#include "backflow/ops/spline_per_element.h"
#include "backflow/ops/spline_tables.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using namespace spline_formula;
using Tables = SplineTables;
using Prepared = std::shared_ptr<const Tables>;
constexpr Index width = SplineLayout::strip_width;
constexpr char name[] = "rational_quadratic_spline";
constexpr char inverse_name[] = "rational_quadratic_spline_inverse";

// Calls body(first element, its column in the strip, count) for each vector of a task's part of x.
// The count of whole ones is a constant: then nothing goes by way of memory.
template <class Body>
void for_each_vector(const SplineLayout& l, Index task, const Body& body) {
  const Index first_column = l.strip_of(task) * width;
  const Index columns = std::min(width, l.columns - first_column);
  const Index first_row = l.first_row_of(task);
  const Index end_row = std::min(l.rows, first_row + l.rows_per_task);
  constexpr std::integral_constant<Index, lanes> whole;
  for (Index row = first_row; row < end_row; ++row) {
    const Index first = row * l.columns + first_column;
    const Index count = std::min(columns, l.elements - first);
    Index column = 0;
    for (; column + lanes <= count; column += lanes) body(first + column, column, whole);
    if (column < count) body(first + column, column, count - column);
  }
}

// ---- The spline -----------------------------------------------------------------------------

// A strip's tables, from one column on.
class Knots {
 public:
  Knots(const Tables& tables, Index strip)
      : start_(tables.row(strip, Tables::x, 0)), stride_(tables.kind_stride()) {}
  Knots at(Index column) const {
    Knots moved = *this;
    moved.start_ += column;
    return moved;
  }
  Lanes operator()(Tables::Kind kind, Index k) const {
    return load(start_ + kind * stride_ + k * width);
  }

 private:
  const Real* start_;
  Index stride_;
};

inline Bin find_bin(const Knots& knots, Index bins, const Lanes& x) {
  const auto bin = [&](Index k) -> Bin {
    return {knots(Tables::x, k),      knots(Tables::y, k),
            knots(Tables::height, k), knots(Tables::inverse_width, k),
            knots(Tables::slope, k),  knots(Tables::slope, k + 1)};
  };
  Bin found = bin(0);
  for (Index k = 1; k < bins; ++k) {
    const Bin next = bin(k);
    const Mask below = x < next.x;
    found.x = below ? found.x : next.x;
    found.y = below ? found.y : next.y;
    found.height = below ? found.height : next.height;
    found.inverse_width = below ? found.inverse_width : next.inverse_width;
    found.d0 = below ? found.d0 : next.d0;
    found.d1 = below ? found.d1 : next.d1;
  }
  return found;
}

void forward_task(const SplineLayout& l, const Tables& tables, Index task, const Real* x,
                  Real* value, Real* log_derivative) {
  const Knots strip(tables, l.strip_of(task));
  const Real bound = static_cast<Real>(tables.options().bound);
  for_each_vector(l, task, [&](Index at, Index column, auto count) {
    const Lanes in = load(x + at, count);
    const Mask outside = is_outside(in, bound);
    const Lanes inside = outside ? zero : in;
    const Bin bin = find_bin(strip.at(column), l.bins, inside);
    const Terms p = terms_of(bin, inside);
    store(value + at, outside ? in : bin.y + bin.height * p.share, count);
    store(log_derivative + at, log(outside ? one : p.slope), count);
  });
}

// ---- Its gradient ---------------------------------------------------------------------------

inline void add(Real* sum, const Lanes& g) { store(sum, load(sum) + g); }

// Adds to the sums of bin widths, bin heights and inner slopes, one row of each per bin. A bin's
// width moves all knots to its right.
inline void add_to_sums(const Knots& knots, Index bins, const Lanes& x, const Lanes& value,
                        const BinGradient& g, Real* sums) {
  constexpr Mask never{}, always = ~never;
  Mask below_last = never, below = never;  // the knots k - 1 and k
  for (Index k = 0; k < bins; ++k) {
    const Mask below_next = k + 1 < bins ? x < knots(Tables::x, k + 1) : always;
    add(sums + k * width, below_next ? (below ? zero : g.width) : -g.x);
    add(sums + (bins + k) * width, below_next ? (below ? zero : g.height) : value);
    if (k > 0)
      add(sums + (2 * bins + k - 1) * width,
          below ? (below_last ? zero : g.d1) : (below_next ? g.d0 : zero));
    below_last = below;
    below = below_next;
  }
}

// Where a task reads and writes; no `sums` if the parameters need no gradient.
struct Backward {
  const Real *x, *value, *log_derivative;  // the last two: their gradients
  Real *gradient, *sums;
};

void backward_task(const SplineLayout& l, const Tables& tables, Index task, const Backward& b) {
  const Knots strip(tables, l.strip_of(task));
  const Real bound = static_cast<Real>(tables.options().bound);
  for_each_vector(l, task, [&](Index at, Index column, auto count) {
    const Lanes in = load(b.x + at, count), g_value = load(b.value + at, count);
    const Mask outside = is_outside(in, bound);
    const Lanes x = outside ? zero : in, value = outside ? zero : g_value;
    const Lanes log_derivative = outside ? zero : load(b.log_derivative + at, count);
    const Knots knots = strip.at(column);
    const Bin bin = find_bin(knots, l.bins, x);
    const BinGradient g = gradient_of(bin, terms_of(bin, x), value, log_derivative);
    store(b.gradient + at, outside ? g_value : g.x, count);
    if (b.sums != nullptr) add_to_sums(knots, l.bins, x, value, g, b.sums + column);
  });
}

// Adds up the sums of a strip's tasks, and of the columns that share a spline, in order.
std::vector<double> total_sums(const SplineLayout& l, Index strip, const Tensor& sums) {
  const Index per_task = sums.size(1);
  std::vector<double> total(per_task);
  for (Index task = strip; task < l.tasks(); task += l.strips)
    for (Index i = 0; i < per_task; ++i) total[i] += sums[task * per_task + i];
  const Index splines = l.splines_in(strip);
  for (Index row = 0; row < per_task; row += width)
    for (Index i = splines; i < width; ++i) total[row + i % splines] += total[row + i];
  return total;
}

std::array<Tensor, 3> parameter_gradients(const SplineLayout& l, const Tables& tables,
                                          const Tensor& sums, const std::array<Shape, 3>& shapes) {
  std::array<Tensor, 3> g;
  for (int i = 0; i < 3; ++i) g[i] = Tensor::zeros(shapes[i]);
  const Tables::Parameters out{g[0].mutable_data(), g[1].mutable_data(), g[2].mutable_data()};
  parallel_for(l.strips, 4, [&](Index strip, Index end) {
    for (; strip < end; ++strip) tables.chain(l, strip, total_sums(l, strip, sums).data(), out);
  });
  return g;
}

// ---- Its inverse ----------------------------------------------------------------------------

inline Ends find_ends(const Knots& knots, Index bins, const Lanes& value) {
  Lanes left = knots(Tables::x, 0), right = knots(Tables::x, 1);
  Lanes bottom = knots(Tables::y, 0), top = knots(Tables::y, 1);
  Lanes d0 = knots(Tables::slope, 0), d1 = knots(Tables::slope, 1);
  for (Index k = 1; k < bins; ++k) {
    const Mask below = value < knots(Tables::y, k);
    const auto select = [&](Lanes& found, Tables::Kind kind, Index knot) {
      found = below ? found : knots(kind, knot);
    };
    select(left, Tables::x, k), select(right, Tables::x, k + 1);
    select(bottom, Tables::y, k), select(top, Tables::y, k + 1);
    select(d0, Tables::slope, k), select(d1, Tables::slope, k + 1);
  }
  Ends ends;
  store(ends.left, left), store(ends.right, right);
  store(ends.bottom, bottom), store(ends.top, top);
  store(ends.d0, d0), store(ends.d1, d1);
  return ends;
}

void inverse_task(const SplineLayout& l, const Tables& tables, Index task, const Real* y, Real* x) {
  const Knots strip(tables, l.strip_of(task));
  const Real bound = static_cast<Real>(tables.options().bound);
  for_each_vector(l, task, [&](Index at, Index column, auto count) {
    const Lanes in = load(y + at, count);
    const Mask outside = is_outside(in, bound);
    const Lanes inside = outside ? zero : in;
    const Ends ends = find_ends(strip.at(column), l.bins, inside);
    store(x + at, outside ? in : inverse_in_bin(ends, inside), count);
  });
}

}  // namespace

static Prepared tables_of(const char* op, const SplineLayout& layout, const Tensor& widths,
                          const Tensor& heights, const Tensor& derivatives,
                          const SplineOptions& options) {
  return std::make_shared<const SplineTables>(op, layout, widths, heights, derivatives, options);
}

// The layout of a single example tells as much of the splines as that of a batch.
Prepared prepared_splines(const Tensor& widths, const Tensor& heights, const Tensor& derivatives,
                          const SplineOptions& options) {
  const Shape& w = widths.shape();
  const Shape example = w.rank() > 1 ? Shape(w.begin(), w.end() - 1) : Shape{1};
  const SplineLayout layout(name, example, w, heights.shape(), derivatives.shape());
  return tables_of(name, layout, widths, heights, derivatives, options);
}

static void check_prepared(const char* op, const SplineLayout& layout, const Prepared& prepared) {
  if (!prepared || !prepared->suits(layout))
    fail(op, "the splines were prepared of parameters of other shapes");
}

std::array<Var, 2> rational_quadratic_spline(const Var& x, const Var& widths, const Var& heights,
                                             const Var& derivatives, const SplineOptions& options) {
  if (are_per_element(x.shape(), widths.shape(), heights.shape(), derivatives.shape()))
    return spline_per_element(x, widths, heights, derivatives, options);
  const SplineLayout layout(name, x.shape(), widths.shape(), heights.shape(), derivatives.shape());
  return rational_quadratic_spline(
      x, widths, heights, derivatives,
      tables_of(name, layout, widths.value(), heights.value(), derivatives.value(), options));
}

std::array<Var, 2> rational_quadratic_spline(const Var& x, const Var& widths, const Var& heights,
                                             const Var& derivatives, const Prepared& prepared) {
  const SplineLayout layout(name, x.shape(), widths.shape(), heights.shape(), derivatives.shape());
  check_prepared(name, layout, prepared);
  const Tensor X = x.value();
  Tensor value = Tensor::empty(x.shape()), log_derivative = Tensor::empty(x.shape());
  parallel_for(
      layout.tasks(), 1,
      [&, v = value.mutable_data(), d = log_derivative.mutable_data()](Index task, Index end) {
        for (; task < end; ++task) forward_task(layout, *prepared, task, X.data(), v, d);
      });
  const std::array shapes{widths.shape(), heights.shape(), derivatives.shape()};
  const bool parameters =
      widths.requires_grad() || heights.requires_grad() || derivatives.requires_grad();
  const auto rule = [=](const Tensor& g_value, const Tensor& g_log) {
    const Index per_task = (3 * layout.bins - 1) * width;
    Tensor g = Tensor::empty(X.shape());
    Tensor sums = Tensor::zeros({parameters ? layout.tasks() : 0, per_task});
    Real *to = g.mutable_data(), *sum = sums.mutable_data();
    parallel_for(layout.tasks(), 1, [&](Index task, Index end) {
      for (; task < end; ++task)
        backward_task(layout, *prepared, task,
                      {X.data(), g_value.data(), g_log.data(), to,
                       parameters ? sum + task * per_task : nullptr});
    });
    if (!parameters) return grads(g, Tensor(), Tensor(), Tensor());
    const std::array<Tensor, 3> of = parameter_gradients(layout, *prepared, sums, shapes);
    return grads(g, of[0], of[1], of[2]);
  };
  return record(name, {value, log_derivative}, joint_grad({x, widths, heights, derivatives}, rule));
}

Tensor rational_quadratic_spline_inverse(const Tensor& y, const Tensor& widths,
                                         const Tensor& heights, const Tensor& derivatives,
                                         const SplineOptions& options) {
  if (are_per_element(y.shape(), widths.shape(), heights.shape(), derivatives.shape()))
    return spline_per_element_inverse(y, widths, heights, derivatives, options);
  const SplineLayout layout(inverse_name, y.shape(), widths.shape(), heights.shape(),
                            derivatives.shape());
  return rational_quadratic_spline_inverse(
      y, widths, heights, derivatives,
      tables_of(inverse_name, layout, widths, heights, derivatives, options));
}

Tensor rational_quadratic_spline_inverse(const Tensor& y, const Tensor& widths,
                                         const Tensor& heights, const Tensor& derivatives,
                                         const Prepared& prepared) {
  const SplineLayout layout(inverse_name, y.shape(), widths.shape(), heights.shape(),
                            derivatives.shape());
  check_prepared(inverse_name, layout, prepared);
  Tensor x = Tensor::empty(y.shape());
  parallel_for(layout.tasks(), 1, [&, to = x.mutable_data()](Index task, Index end) {
    for (; task < end; ++task) inverse_task(layout, *prepared, task, y.data(), to);
  });
  return x;
}

}  // namespace backflow::inline BACKFLOW_PRECISION
