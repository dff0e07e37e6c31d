#include "backflow/ops/spline_per_element.h"

#include <algorithm>

#include "backflow/engine/parallel.h"
#include "backflow/ops/spline_formula.h"
#include "backflow/ops/spline_tables.h"
#include "backflow/ops/workspace.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using namespace spline_formula;
constexpr char name[] = "rational_quadratic_spline";
constexpr char inverse_name[] = "rational_quadratic_spline_inverse";

// ---- How parameters lie in memory -------------------------------------------------------------

// Widths, heights and derivatives. Those of the next element are `steps` farther: in three tensors,
// or one behind the other in one.
template <class Number>  // Real or const Real
struct Parameters {
  std::array<Number*, 3> start;
  std::array<Index, 3> steps;
  Parameters at(Index element) const {
    Parameters moved = *this;
    for (std::size_t i = 0; i < 3; ++i) moved.start[i] += element * steps[i];
    return moved;
  }
};
using In = Parameters<const Real>;

template <class Number>
Parameters<Number> in_one(Number* all, Index K) {
  return {{all, all + K, all + 2 * K}, {3 * K - 1, 3 * K - 1, 3 * K - 1}};
}

// `rows` numbers of each of `count` elements, and rows of lanes: the one is turned into the other.
// Lanes beyond `count` repeat the last element.
void load_rows(const Real* from, Index step, Index rows, Index count, Real* to) {
  for (Index i = 0; i < lanes; ++i)
    for (Index k = 0; k < rows; ++k) to[k * lanes + i] = from[std::min(i, count - 1) * step + k];
}
void store_rows(const Real* from, Index rows, Index count, Real* to, Index step) {
  for (Index i = 0; i < count; ++i)
    for (Index k = 0; k < rows; ++k) to[i * step + k] = from[k * lanes + i];
}

// ---- A block of splines -----------------------------------------------------------------------

// The widths of bins from their softmax, or the heights.
struct Stretch {
  Stretch(double bound, double least, Index bins)
      : floor(static_cast<Real>(2 * bound * least)),
        slope(static_cast<Real>(2 * bound * (1 - static_cast<double>(bins) * least))) {}
  Lanes operator()(const Lanes& softmax) const { return floor + slope * softmax; }
  Real floor, slope;
};

// What each lane's bin is, and what stands in the parameters' rows there.
struct Found {
  Lanes index{};
  Lanes left{}, bottom{}, width{}, height{};
  Lanes width_softmax{}, height_softmax{};
  Lanes widths_before{}, heights_before{};  // sums of the softmaxes of bins to the left
  Lanes d0{}, d1{};                         // unconstrained; 0 at the ends, where the slope is 1
};

class Block {
 public:
  Block(Index bins, const SplineOptions& o)
      : bins_(bins),
        bound_(static_cast<Real>(o.bound)),
        least_derivative_(static_cast<Real>(o.least_derivative)),
        derivative_shift_(static_cast<Real>(std::log(std::expm1(1 - o.least_derivative)))),
        width_of_(o.bound, o.least_width, bins),
        height_of_(o.bound, o.least_height, bins),
        memory_((3 * bins - 1) * lanes) {}

  Real bound() const { return bound_; }
  Index bins() const { return bins_; }

  void load(const In& from, Index count) {
    load_rows(from.start[0], from.steps[0], bins_, count, widths());
    load_rows(from.start[1], from.steps[1], bins_, count, heights());
    load_rows(from.start[2], from.steps[2], bins_ - 1, count, derivatives());
    softmax(widths());
    softmax(heights());
  }

  // The bin where x is, or the one where the value is.
  Found find(const Lanes& x) const { return find<false>(x); }
  Found find_value(const Lanes& value) const { return find<true>(value); }

  Lanes slope(const Lanes& unconstrained) const {
    return least_derivative_ +
           each(unconstrained + derivative_shift_, [](Real u) { return vector_math::softplus(u); });
  }
  Lanes slope_of_slope(const Lanes& unconstrained) const {
    return each(unconstrained + derivative_shift_, [](Real u) { return vector_math::sigmoid(u); });
  }

  Bin bin_of(const Found& f) const {
    return {f.left, f.bottom, f.height, 1 / f.width, slope(f.d0), slope(f.d1)};
  }

  // From the gradients of the bin's numbers and of the value to those of all parameters.
  void chain(const Found& f, const BinGradient& g, const Lanes& value) {
    chain_softmax(widths(), f.index, -g.x, g.width, f.widths_before, f.width_softmax,
                  width_of_.slope);
    chain_softmax(heights(), f.index, value, g.height, f.heights_before, f.height_softmax,
                  height_of_.slope);
    const Lanes d0 = g.d0 * slope_of_slope(f.d0), d1 = g.d1 * slope_of_slope(f.d1);
    for (Index k = 0; k + 1 < bins_; ++k) {  // the slope between the bins k and k + 1
      const Lanes at = zero + static_cast<Real>(k);
      const Lanes of_left = f.index == at + 1 ? d0 : zero;
      spline_formula::store(derivatives() + k * lanes, f.index == at ? d1 : of_left);
    }
  }

  void store(const Parameters<Real>& to, Index count) {
    store_rows(widths(), bins_, count, to.start[0], to.steps[0]);
    store_rows(heights(), bins_, count, to.start[1], to.steps[1]);
    store_rows(derivatives(), bins_ - 1, count, to.start[2], to.steps[2]);
  }

 private:
  Real* widths() const { return memory_.data(); }
  Real* heights() const { return memory_.data() + bins_ * lanes; }
  Real* derivatives() const { return memory_.data() + 2 * bins_ * lanes; }
  static Lanes row(const Real* rows, Index k) { return spline_formula::load(rows + k * lanes); }

  void softmax(Real* rows) const {
    Lanes top = row(rows, 0), total{};
    for (Index k = 1; k < bins_; ++k) top = row(rows, k) > top ? row(rows, k) : top;
    for (Index k = 0; k < bins_; ++k) spline_formula::store(rows + k * lanes, row(rows, k) - top);
    for (Index i = 0; i < bins_ * lanes; ++i) rows[i] = vector_math::exp(rows[i]);
    for (Index k = 0; k < bins_; ++k) total += row(rows, k);
    for (Index k = 0; k < bins_; ++k) spline_formula::store(rows + k * lanes, row(rows, k) / total);
  }

  template <bool by_value>
  Found find(const Lanes& at) const {
    Found found, next;
    next.left = next.bottom = zero - bound_;
    for (Index k = 0; k < bins_; ++k) {
      next.index = zero + static_cast<Real>(k);
      next.width = width_of_(next.width_softmax = row(widths(), k));
      next.height = height_of_(next.height_softmax = row(heights(), k));
      next.d1 = k + 1 < bins_ ? row(derivatives(), k) : zero;
      take(found, next, k == 0 ? Mask{} : at < (by_value ? next.bottom : next.left));
      next.left += next.width, next.bottom += next.height;
      next.widths_before += next.width_softmax, next.heights_before += next.height_softmax;
      next.d0 = next.d1;
    }
    return found;
  }

  static void take(Found& found, const Found& next, const Mask& below) {
    const auto select = [&](Lanes Found::*number) {
      found.*number = below ? found.*number : next.*number;
    };
    select(&Found::index);
    select(&Found::left), select(&Found::bottom), select(&Found::width), select(&Found::height);
    select(&Found::width_softmax), select(&Found::height_softmax);
    select(&Found::widths_before), select(&Found::heights_before);
    select(&Found::d0), select(&Found::d1);
  }

  // p_k scale (g_k - sum_j p_j g_j), where g_k is one number to the left of the bin, another at it,
  // and 0 to the right.
  void chain_softmax(Real* rows, const Lanes& index, const Lanes& left, const Lanes& here,
                     const Lanes& softmax_before, const Lanes& softmax_here, Real scale) const {
    const Lanes mean = left * softmax_before + here * softmax_here;
    for (Index k = 0; k < bins_; ++k) {
      const Lanes at = zero + static_cast<Real>(k);
      const Lanes rest = index == at ? here : zero;
      const Lanes g = index > at ? left : rest;
      spline_formula::store(rows + k * lanes, scale * row(rows, k) * (g - mean));
    }
  }

  Index bins_;
  Real bound_, least_derivative_, derivative_shift_;
  Stretch width_of_, height_of_;
  Workspace memory_;
};

// body(block, first element, count) for each block, in parallel.
template <class Body>
void for_each_block(Index elements, Index bins, const SplineOptions& options, const Body& body) {
  const Index grain = lanes * std::max<Index>(1, 256 / bins);
  parallel_for(elements, grain, [&](Index first, Index end) {
    Block block(bins, options);
    for (; first < end; first += lanes) body(block, first, std::min(lanes, end - first));
  });
}

// ---- The three walks ----------------------------------------------------------------------------

void forward_block(Block& block, const In& parameters, Index count, const Real* x, Real* value,
                   Real* log_derivative) {
  const Lanes in = load(x, count);
  const Mask outside = is_outside(in, block.bound());
  const Lanes inside = outside ? zero : in;
  block.load(parameters, count);
  const Bin bin = block.bin_of(block.find(inside));
  const Terms p = terms_of(bin, inside);
  store(value, outside ? in : bin.y + bin.height * p.share, count);
  store(log_derivative, log(outside ? one : p.slope), count);
}

struct Backward {
  const Real *x, *value, *log_derivative;  // the last two: their gradients
  Real* gx;
};

void backward_block(Block& block, const In& parameters, Index first, Index count, const Backward& b,
                    const Parameters<Real>& to) {
  const Lanes in = load(b.x + first, count), g_value = load(b.value + first, count);
  const Mask outside = is_outside(in, block.bound());
  const Lanes x = outside ? zero : in, value = outside ? zero : g_value;
  const Lanes log_derivative = outside ? zero : load(b.log_derivative + first, count);
  block.load(parameters, count);
  const Found found = block.find(x);
  const Bin bin = block.bin_of(found);
  const BinGradient g = gradient_of(bin, terms_of(bin, x), value, log_derivative);
  store(b.gx + first, outside ? g_value : g.x, count);
  block.chain(found, g, value);
  block.store(to, count);
}

// A value above the last bin's top, by rounding, is held to be there.
void inverse_block(Block& block, const In& parameters, Index count, const Real* y, Real* x) {
  const Lanes in = load(y, count);
  const Mask outside = is_outside(in, block.bound());
  const Lanes inside = outside ? zero : in;
  block.load(parameters, count);
  const Found f = block.find_value(inside);
  const Lanes top = f.bottom + f.height;
  Ends ends;
  store(ends.left, f.left), store(ends.right, f.left + f.width);
  store(ends.bottom, f.bottom), store(ends.top, top);
  store(ends.d0, block.slope(f.d0)), store(ends.d1, block.slope(f.d1));
  store(x, outside ? in : inverse_in_bin(ends, inside > top ? top : inside), count);
}

std::array<Tensor, 2> forward(const Tensor& x, const In& parameters, Index bins,
                              const SplineOptions& options) {
  Tensor value = Tensor::empty(x.shape()), log_derivative = Tensor::empty(x.shape());
  for_each_block(x.size(), bins, options,
                 [&, X = x.data(), v = value.mutable_data(), d = log_derivative.mutable_data()](
                     Block& block, Index at, Index count) {
                   forward_block(block, parameters.at(at), count, X + at, v + at, d + at);
                 });
  return {value, log_derivative};
}

Tensor inverse(const Tensor& y, const In& parameters, Index bins, const SplineOptions& options) {
  Tensor x = Tensor::empty(y.shape());
  for_each_block(y.size(), bins, options,
                 [&, Y = y.data(), to = x.mutable_data()](Block& block, Index at, Index count) {
                   inverse_block(block, parameters.at(at), count, Y + at, to + at);
                 });
  return x;
}

// Leaves the gradients of the parameters in `to`; returns that of x.
Tensor gradients(const Tensor& x, const In& parameters, Index bins, const SplineOptions& options,
                 const std::array<Tensor, 2>& g, const Parameters<Real>& to) {
  Tensor gx = Tensor::empty(x.shape());
  const Backward backward{x.data(), g[0].data(), g[1].data(), gx.mutable_data()};
  for_each_block(x.size(), bins, options, [&](Block& block, Index at, Index count) {
    backward_block(block, parameters.at(at), at, count, backward, to.at(at));
  });
  return gx;
}

// ---- Parameters in three tensors, and in one ----------------------------------------------------

Shape with_axis(Shape shape, Index size) {
  shape.push_back(size);
  return shape;
}

In in_three(const Tensor& widths, const Tensor& heights, const Tensor& derivatives) {
  const Index K = widths.size(-1);
  return {{widths.data(), heights.data(), derivatives.data()}, {K, K, K - 1}};
}

// K, of parameters (..., 3 K - 1).
Index bins_in(const char* op, const Shape& x, const Shape& parameters) {
  const Index last = parameters.rank() > 0 ? parameters[-1] : 0;
  if (last < 2 || last % 3 != 2 || x.rank() == Shape::max_rank ||
      !(parameters == with_axis(x, last)))
    fail(op, "for x of ", x, " the parameters must be (..., 3 K - 1); they are ", parameters);
  return (last + 1) / 3;
}

}  // namespace

bool are_per_element(const Shape& x, const Shape& widths, const Shape& heights,
                     const Shape& derivatives) {
  if (x.rank() == 0 || x.rank() == Shape::max_rank || x[0] == 1) return false;
  if (widths.rank() != x.rank() + 1 || widths[-1] < 1) return false;
  return widths == with_axis(x, widths[-1]) && heights == widths &&
         derivatives == with_axis(x, widths[-1] - 1);
}

std::array<Var, 2> spline_per_element(const Var& x, const Var& widths, const Var& heights,
                                      const Var& derivatives, const SplineOptions& options) {
  const Tensor X = x.value(), W = widths.value(), H = heights.value(), D = derivatives.value();
  const Index K = W.size(-1);
  check_spline_options(name, options, K);
  const auto [value, log_derivative] = forward(X, in_three(W, H, D), K, options);
  const auto rule = [=](const Tensor& g_value, const Tensor& g_log) {
    Tensor gW = Tensor::empty(W.shape()), gH = Tensor::empty(W.shape());
    Tensor gD = Tensor::empty(D.shape());
    const Parameters<Real> to{{gW.mutable_data(), gH.mutable_data(), gD.mutable_data()},
                              {K, K, K - 1}};
    const Tensor gx = gradients(X, in_three(W, H, D), K, options, {g_value, g_log}, to);
    return grads(gx, gW, gH, gD);
  };
  return record(name, {value, log_derivative}, joint_grad({x, widths, heights, derivatives}, rule));
}

Tensor spline_per_element_inverse(const Tensor& y, const Tensor& widths, const Tensor& heights,
                                  const Tensor& derivatives, const SplineOptions& options) {
  check_spline_options(inverse_name, options, widths.size(-1));
  return inverse(y, in_three(widths, heights, derivatives), widths.size(-1), options);
}

std::array<Var, 2> rational_quadratic_spline(const Var& x, const Var& parameters,
                                             const SplineOptions& options) {
  const Tensor X = x.value(), P = parameters.value();
  const Index K = bins_in(name, X.shape(), P.shape());
  check_spline_options(name, options, K);
  const auto [value, log_derivative] = forward(X, in_one(P.data(), K), K, options);
  const auto rule = [=](const Tensor& g_value, const Tensor& g_log) {
    Tensor gP = Tensor::empty(P.shape());
    const Tensor gx = gradients(X, in_one(P.data(), K), K, options, {g_value, g_log},
                                in_one(gP.mutable_data(), K));
    return grads(gx, gP);
  };
  return record(name, {value, log_derivative}, joint_grad({x, parameters}, rule));
}

Tensor rational_quadratic_spline_inverse(const Tensor& y, const Tensor& parameters,
                                         const SplineOptions& options) {
  const Index K = bins_in(inverse_name, y.shape(), parameters.shape());
  check_spline_options(inverse_name, options, K);
  return inverse(y, in_one(parameters.data(), K), K, options);
}

}  // namespace backflow::inline BACKFLOW_PRECISION
