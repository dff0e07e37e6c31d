// Neighbouring axes are reduced as one group: x is seen as (outer, n, inner) and n goes away.
// Groups follow one another, the last one first, for its elements are neighbours in memory; no copy
// with permuted axes is ever made.
//
// A group is cut into chunks of rows by its shape alone, and the chunks' results are reduced like
// any other input: so the bits do not depend on the number of threads, and a sum of floats is
// rounded once per group.
#include "backflow/ops/reduce.h"

#include <limits>

#include "backflow/engine/parallel.h"
#include "backflow/ops/lines.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/shape.h"
#include "backflow/ops/softmax_lines.h"
#include "backflow/ops/vector_math.h"
#include "backflow/ops/workspace.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

struct Reduction {
  Reduction(const char* op, const Shape& from, const std::vector<int>& axes);

  const Shape& shape(bool keep) const { return keep ? kept : dropped; }

  // How many elements a line has, where each result is made of one that fits ops/lines.h; else 0.
  Index line(const Shape& from) const {
    int axis = 0;
    while (axis < from.rank() && (!reduced[axis] || from[axis] == 1)) ++axis;
    const bool to_the_end = std::all_of(reduced.begin() + axis, reduced.begin() + from.rank(),
                                        [](bool is) { return is; });
    return to_the_end && count > 1 && count <= longest_line ? count : 0;
  }

  std::array<bool, Shape::max_rank> reduced{};
  Index count = 1;      // of elements behind each result
  Shape kept, dropped;  // the result's shape: reduced axes have size 1, or are left out
};

Reduction::Reduction(const char* op, const Shape& from, const std::vector<int>& axes) {
  for (int named : axes) {
    const int axis = from.axis(op, named);
    if (reduced[axis]) fail(op, "axis ", named, " of the shape ", from, " is named twice");
    reduced[axis] = true;
  }
  if (axes.empty()) reduced.fill(true);
  for (int axis = 0; axis < from.rank(); ++axis) {
    kept.push_back(reduced[axis] ? 1 : from[axis]);
    if (reduced[axis]) {
      count *= from[axis];
    } else {
      dropped.push_back(from[axis]);
    }
  }
}

Reduction reduction_of_some(const char* op, const Shape& from, const std::vector<int>& axes) {
  const Reduction reduction(op, from, axes);
  if (reduction.count == 0) fail(op, "no elements to reduce in the shape ", from);
  return reduction;
}

// ---- The kernel -----------------------------------------------------------------------------

struct Extent {
  Index outer = 1, n = 1, inner = 1;
};

constexpr Index max_width = 1024;  // columns reduced together: their accumulators fit the L1 cache
constexpr Index lanes_width = 64;  // fewer columns than this: several rows at once, each in a lane

// acc[i] = acc[i] o p[i] o p[step + i] o ..., so many rows for each of m columns: by packs, and by
// smaller ones at the end.
template <int rows, Index width, class Acc, class In, class Combine>
void take_rows(const In* p, Index step, Index m, Acc* acc, Combine combine) {
  Index i = 0;
  for (; i + width <= m; i += width) {
    Pack<Acc, width> sum = load_pack<Acc, width>(acc + i);
    for (int r = 0; r < rows; ++r) sum = combine(sum, load_pack<Acc, width>(p + r * step + i));
    store_pack(acc + i, sum);
  }
  if constexpr (width > 1) {
    if (i < m) take_rows<rows, width / 2>(p + i, step, m - i, acc + i, combine);
  }
}

// result[i] = p[i] o p[stride + i] o p[2 stride + i] o ... for each of `width` columns.
template <class Acc, class In, class Out, class Combine>
void fold_rows(const In* p, Index rows, Index stride, Index width, Out* result, Combine combine) {
  constexpr int together = 8;  // rows between loading and storing an accumulator
  Index lanes = 1;
  if (width == stride)
    while (2 * lanes <= rows && 2 * lanes * width <= lanes_width) lanes *= 2;
  alignas(bytes_of_register) Acc acc[max_width];
  const auto take = [&](const In* from, auto count, Index columns) {
    take_rows<count, lanes_of_register<Acc>>(from, lanes * stride, columns, acc, combine);
  };
  constexpr std::integral_constant<int, 1> one;
  std::copy_n(p, lanes * width, acc);
  Index row = lanes;
  for (; row + together * lanes <= rows; row += together * lanes)
    take(p + row * stride, std::integral_constant<int, together>{}, lanes * width);
  for (; row + lanes <= rows; row += lanes) take(p + row * stride, one, lanes * width);
  take(p + row * stride, one, (rows - row) * width);
  for (lanes /= 2; lanes > 0; lanes /= 2)
    for (Index i = 0; i < lanes * width; ++i) acc[i] = combine(acc[i], acc[lanes * width + i]);
  std::copy_n(acc, width, result);
}

// How a group is cut, by its shape alone: into blocks of columns, and chunks of rows.
struct Pieces {
  explicit Pieces(const Extent& x)
      : n(x.n), width(std::min(x.inner, max_width)), blocks((x.inner + width - 1) / width) {
    constexpr Index elements = 4 * elements_per_chunk, enough_tasks = 32, most_rows = 1024;
    rows = x.inner == 1 ? elements_per_chunk : std::max<Index>(1, elements / width);
    if (x.inner > 1 && x.outer * blocks >= enough_tasks) rows = std::max(rows, most_rows);
    chunks = std::max<Index>(1, n / rows);
  }
  Index first_row(Index chunk) const { return chunk * rows; }
  // The last chunk has those that are left over, too: none is too short for lanes.
  Index rows_of(Index chunk) const { return chunk + 1 < chunks ? rows : n - chunk * rows; }

  Index n, width, blocks, rows, chunks;
};

// fold_chunks for an inner size of 1.
template <class Acc, class In, class Out, class Combine>
void fold_lines(const In* p, const Pieces& cut, Index outer, Out* result, Combine combine) {
  with_lanes(cut.chunks > 1 ? cut.rows : cut.n, [&](auto lanes) {
    const Index grain = std::max<Index>(1, elements_per_chunk / cut.n);
    parallel_for(outer * cut.chunks, grain, [&](Index i, Index end) {
      for (; i < end; ++i) {
        const Index chunk = cut.chunks == 1 ? 0 : i % cut.chunks, line = i / cut.chunks;
        const In* from = p + line * cut.n + cut.first_row(chunk);
        result[i] = static_cast<Out>(fold_line<lanes, Acc>(from, cut.rows_of(chunk), combine));
      }
    });
  });
}

// Reduces every chunk of rows to one: (outer, n, inner) -> (outer, chunks, inner).
template <class Acc, class In, class Out, class Combine>
void fold_chunks(const In* p, const Extent& x, const Pieces& cut, Out* result, Combine combine) {
  if (x.inner == 1) return fold_lines<Acc>(p, cut, x.outer, result, combine);
  const Index elements_per_task = std::min(x.n, cut.rows) * cut.width;
  const Index grain = std::max<Index>(1, elements_per_chunk / elements_per_task);
  parallel_for(x.outer * cut.chunks * cut.blocks, grain, [&](Index task, Index end) {
    for (; task < end; ++task) {
      const Index column = task % cut.blocks * cut.width, slot = task / cut.blocks;
      const Index outer = slot / cut.chunks, chunk = slot % cut.chunks;
      const In* from = p + (outer * x.n + cut.first_row(chunk)) * x.inner + column;
      fold_rows<Acc>(from, cut.rows_of(chunk), x.inner, std::min(cut.width, x.inner - column),
                     result + slot * x.inner + column, combine);
    }
  });
}

template <class Acc, class In, class Combine>
void fold_group(const In* p, const Extent& x, Real* result, Combine combine) {
  const Pieces cut(x);
  if (cut.chunks == 1) return fold_chunks<Acc>(p, x, cut, result, combine);
  constexpr Index reals = sizeof(Acc) / sizeof(Real);
  const Workspace partial(x.outer * cut.chunks * x.inner * reals);
  Acc* const results = reinterpret_cast<Acc*>(partial.data());
  fold_chunks<Acc>(p, x, cut, results, combine);
  fold_group<Acc>(results, {x.outer, cut.chunks, x.inner}, result, combine);
}

// The result has the shape reduction.kept; it is zeros if x has no elements.
template <class Acc, class Combine>
Tensor fold(const Tensor& x, const Reduction& reduction, Combine combine) {
  if (x.size() == 0) return Tensor::zeros(reduction.kept);
  Tensor out = x;
  for (int end = x.rank(); end > 0; --end) {
    Extent extent;
    Shape shape = out.shape();
    for (int i = end; i < x.rank(); ++i) extent.inner *= shape[i];
    for (; end > 0 && reduction.reduced[end - 1]; --end)
      extent.n *= std::exchange(shape[end - 1], 1);
    for (int i = 0; i < end; ++i) extent.outer *= shape[i];
    if (extent.n == 1) continue;
    Tensor next = Tensor::empty(shape);
    fold_group<Acc>(out.data(), extent, next.mutable_data(), combine);
    out = next;
  }
  return out;
}

Tensor total(const Tensor& x, const Reduction& reduction) {
  return fold<double>(x, reduction, sum_of_two);
}

Tensor largest(const Tensor& x, const Reduction& reduction) {
  return fold<Real>(x, reduction, larger_or_nan);
}

Tensor smallest(const Tensor& x, const Reduction& reduction) {
  return fold<Real>(x, reduction, smaller_or_nan);
}

// An op whose value is one of the elements behind it: its gradient is shared among those that are
// equal to it.
Var chosen_element(OpName op, const Var& x, const Tensor& chosen, const Reduction& reduction,
                   bool keep) {
  const auto equal = [](Real x, Real chosen) { return Real(x == chosen); };
  const auto if_tied = [](Real tie, Real g) { return tie != 0 ? g : Real(0); };
  return record(op, chosen.reshape(reduction.shape(keep)),
                grad(x, [=, X = x.value()](const Tensor& g) {
                  const Tensor ties = pointwise(op, X, chosen, equal);
                  const Tensor shares = pointwise(op, ties, g.reshape(chosen.shape()), if_tied);
                  return shares / total(ties, reduction);  // 0 / 0 if what was chosen is NaN
                }));
}

// log(sum(e^x)) = log(sum(e^(x - shift))) + shift. The gradient is made from the two parts, not
// from their sum: a large shift would round the logarithm away.
struct LogTotalExp {
  LogTotalExp(const Tensor& x, const Reduction& reduction)
      : line(reduction.line(x.shape())),
        shift(Tensor::empty(reduction.kept)),
        scaled(Tensor::empty(reduction.kept)) {
    if (line) {
      exp_totals_of_lines(x, line, shift.mutable_data(), scaled.mutable_data());
    } else {
      shift = pointwise(largest(x, reduction),
                        [](Real top) { return std::isinf(top) ? Real(0) : top; });
      scaled = total(shifted_exp(x), reduction);
    }
  }

  Tensor value() const {
    return pointwise("logsumexp", scaled, shift,
                     [](Real sum, Real by) { return vector_math::log(sum) + by; });
  }
  Tensor softmax_times(const Tensor& x, const Tensor& g) const {
    if (line) return weighted_softmax_of_lines(x, line, shift.data(), scaled.data(), g.data());
    return g * pointwise("logsumexp", shifted_exp(x), scaled,
                         [](Real e, Real total) { return total == 0 ? Real(0) : e / total; });
  }

  Index line;     // the elements of a line, or 0
  Tensor shift;   // the largest x, or 0 where that is infinite
  Tensor scaled;  // sum(e^(x - shift))

 private:
  Tensor shifted_exp(const Tensor& x) const {
    return pointwise("logsumexp", x, shift,
                     [](Real x, Real by) { return vector_math::exp(x - by); });
  }
};

// Scaled by the largest |x|, whose square may be no number.
Tensor length(const Tensor& x, const Reduction& reduction) {
  if (x.size() == 0) return Tensor::zeros(reduction.kept);
  const Tensor top = largest(pointwise(x, [](Real x) { return std::abs(x); }), reduction);
  const auto scaled_square = [](Real x, Real top) {
    return top == 0 || std::isinf(top) ? x * x : (x / top) * (x / top);
  };
  const auto unscaled_root = [](Real squares, Real top) {
    return std::isinf(top) ? top : top == 0 ? Real(0) : top * std::sqrt(squares);
  };
  return pointwise("norm", total(pointwise("norm", x, top, scaled_square), reduction), top,
                   unscaled_root);
}

Tensor divided(const Tensor& x, Index count) {
  return pointwise(x, [n = static_cast<Real>(count)](Real x) { return x / n; });
}

std::vector<int> axes_of_an_example(const Shape& shape) {
  if (shape.rank() == 0) fail("sum_examples", "a scalar has no axis of examples");
  std::vector<int> axes;
  for (int axis = 1; axis < shape.rank(); ++axis) axes.push_back(axis);
  return axes;
}

}  // namespace

// ---- The ops --------------------------------------------------------------------------------

Tensor sum(const Tensor& x, const std::vector<int>& axes, bool keep) {
  const Reduction reduction("sum", x.shape(), axes);
  return total(x, reduction).reshape(reduction.shape(keep));
}

Var sum(const Var& x, const std::vector<int>& axes, bool keep) {
  const Reduction reduction("sum", x.shape(), axes);
  return record("sum", total(x.value(), reduction).reshape(reduction.shape(keep)),
                grad(x, [from = x.shape(), kept = reduction.kept](const Tensor& g) {
                  return broadcast_to(g.reshape(kept), from);
                }));
}

std::array<Tensor, 2> difference_and_squares(const Tensor& a, const Tensor& b) {
  if (!(a.shape() == b.shape()))
    fail("difference_and_squares", "shapes differ: ", a.shape(), " and ", b.shape());
  Tensor difference = Tensor::empty(a.shape()), squares(Real(0));
  if (a.size() == 0) return {difference, squares};
  // As fold_group() would reduce a tensor of squares, each chunk while its squares are in the
  // cache.
  const Pieces cut({1, a.size(), 1});
  std::vector<double> sums(cut.chunks);
  parallel_for(cut.chunks, 1, [&, to = difference.mutable_data()](Index chunk, Index end) {
    for (; chunk < end; ++chunk) {
      const Index first = cut.first_row(chunk), count = cut.rows_of(chunk);
      const Workspace square(count);
      const Real *const p = a.data() + first, *const q = b.data() + first;
      Real *const e = to + first, *const e2 = square.data();
      for (Index i = 0; i < count; ++i) e[i] = p[i] - q[i], e2[i] = e[i] * e[i];
      with_lanes(count, [&](auto lanes) {
        sums[chunk] = fold_line<lanes, double>(e2, count, sum_of_two);
      });
    }
  });
  fold_group<double>(sums.data(), {1, cut.chunks, 1}, squares.mutable_data(), sum_of_two);
  return {difference, squares};
}

Tensor mean(const Tensor& x, const std::vector<int>& axes, bool keep) {
  const Reduction reduction = reduction_of_some("mean", x.shape(), axes);
  return divided(total(x, reduction), reduction.count).reshape(reduction.shape(keep));
}

Var mean(const Var& x, const std::vector<int>& axes, bool keep) {
  const Reduction reduction = reduction_of_some("mean", x.shape(), axes);
  return record("mean", mean(x.value(), axes, keep),
                grad(x, [from = x.shape(), reduction](const Tensor& g) {
                  return broadcast_to(divided(g, reduction.count).reshape(reduction.kept), from);
                }));
}

Tensor max(const Tensor& x, const std::vector<int>& axes, bool keep) {
  const Reduction reduction = reduction_of_some("max", x.shape(), axes);
  return largest(x, reduction).reshape(reduction.shape(keep));
}

Var max(const Var& x, const std::vector<int>& axes, bool keep) {
  const Reduction reduction = reduction_of_some("max", x.shape(), axes);
  return chosen_element("max", x, largest(x.value(), reduction), reduction, keep);
}

Tensor min(const Tensor& x, const std::vector<int>& axes, bool keep) {
  const Reduction reduction = reduction_of_some("min", x.shape(), axes);
  return smallest(x, reduction).reshape(reduction.shape(keep));
}

Var min(const Var& x, const std::vector<int>& axes, bool keep) {
  const Reduction reduction = reduction_of_some("min", x.shape(), axes);
  return chosen_element("min", x, smallest(x.value(), reduction), reduction, keep);
}

Tensor logsumexp(const Tensor& x, const std::vector<int>& axes, bool keep) {
  const Reduction reduction = reduction_of_some("logsumexp", x.shape(), axes);
  return LogTotalExp(x, reduction).value().reshape(reduction.shape(keep));
}

Var logsumexp(const Var& x, const std::vector<int>& axes, bool keep) {
  const Reduction reduction = reduction_of_some("logsumexp", x.shape(), axes);
  const Tensor X = x.value();
  const LogTotalExp parts(X, reduction);
  return record("logsumexp", parts.value().reshape(reduction.shape(keep)),
                grad(x, [X, parts, kept = reduction.kept](const Tensor& g) {
                  return parts.softmax_times(X, g.reshape(kept));
                }));
}

Tensor norm(const Tensor& x, const std::vector<int>& axes, bool keep) {
  const Reduction reduction("norm", x.shape(), axes);
  return length(x, reduction).reshape(reduction.shape(keep));
}

Var norm(const Var& x, const std::vector<int>& axes, bool keep) {
  const Reduction reduction("norm", x.shape(), axes);
  const Tensor X = x.value(), y = length(X, reduction);
  return record("norm", y.reshape(reduction.shape(keep)), grad(x, [X, y](const Tensor& g) {
                  const Tensor unit = pointwise(
                      "norm", X, y, [](Real x, Real y) { return y == 0 ? Real(0) : x / y; });
                  return unit * g.reshape(y.shape());
                }));
}

Tensor sum_examples(const Tensor& x) {
  const std::vector<int> axes = axes_of_an_example(x.shape());
  return axes.empty() ? x : sum(x, axes);
}

Var sum_examples(const Var& x) {
  const std::vector<int> axes = axes_of_an_example(x.shape());
  return axes.empty() ? x : sum(x, axes);
}

}  // namespace backflow::inline BACKFLOW_PRECISION
