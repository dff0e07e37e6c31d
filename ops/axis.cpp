#include "backflow/ops/axis.h"

#include <cmath>
#include <limits>

#include "backflow/engine/parallel.h"
#include "backflow/ops/lines.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/softmax_lines.h"
#include "backflow/ops/vector_math.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// ---- Softmax ----------------------------------------------------------------------------------

Tensor below_largest(const Tensor& x, int axis) { return x - max(x, {axis}, true); }
Tensor each_exp(const Tensor& x) {
  return pointwise(x, [](Real x) { return vector_math::exp(x); });
}
Tensor each_log(const Tensor& x) {
  return pointwise(x, [](Real x) { return vector_math::log(x); });
}

// How many elements a line along the axis has, where lines fit ops/lines.h; else 0.
Index line(const Shape& shape, int axis) {
  axis = shape.axis("softmax", axis);
  Index inner = 1;
  for (int i = axis + 1; i < shape.rank(); ++i) inner *= shape[i];
  return inner == 1 && shape.size() > 0 && shape[axis] <= longest_line ? shape[axis] : 0;
}

// ---- Lines ------------------------------------------------------------------------------------

// x seen as (outer, n, inner): the lines run along n.
struct Lines {
  Lines(const Shape& shape, int axis) : n(shape[axis]) {
    for (int i = 0; i < axis; ++i) outer *= shape[i];
    for (int i = axis + 1; i < shape.rank(); ++i) inner *= shape[i];
  }
  Index outer = 1, n, inner = 1;
};

constexpr Index max_width = 64;  // lines that are walked along together

// Calls body(outer, first, count) for `count` neighbouring lines, in parallel.
template <class Body>
void for_each_panel(const Lines& l, const Body& body) {
  if (l.outer * l.n * l.inner == 0) return;
  const Index width = std::min(l.inner, max_width), panels = (l.inner + width - 1) / width;
  parallel_for(l.outer * panels, std::max<Index>(1, elements_per_chunk / (l.n * width)),
               [&](Index panel, Index end) {
                 for (; panel < end; ++panel) {
                   const Index first = panel % panels * width;
                   body(panel / panels, first, std::min(width, l.inner - first));
                 }
               });
}

enum class Direction { forwards, backwards };

// y_i = x_0 + ... + x_i along `count` lines of n neighbours each. An addition waits for the one
// before it: so several lines are walked along side by side.
template <Index count>
void run_along_lines(const Real* x, Index n, Direction direction, Real* y) {
  double sums[count] = {};
  for (Index step = 0; step < n; ++step) {
    const Index j = direction == Direction::forwards ? step : n - 1 - step;
    for (Index i = 0; i < count; ++i)
      y[i * n + j] = static_cast<Real>(sums[i] += static_cast<double>(x[i * n + j]));
  }
}

Tensor running_sum_of_lines(const Tensor& x, Index n, Direction direction) {
  constexpr Index together = 4;
  Tensor y = Tensor::empty(x.shape());
  const Index grain = together * std::max<Index>(1, elements_per_chunk / (together * n));
  parallel_for(x.size() / n, grain,
               [=, p = x.data(), to = y.mutable_data()](Index line, Index end) {
                 for (; line + together <= end; line += together)
                   run_along_lines<together>(p + line * n, n, direction, to + line * n);
                 for (; line < end; ++line)
                   run_along_lines<1>(p + line * n, n, direction, to + line * n);
               });
  return y;
}

Tensor running_sum(const Tensor& x, int axis, Direction direction) {
  const Lines l(x.shape(), axis);
  if (l.inner == 1 && x.size() > 0) return running_sum_of_lines(x, l.n, direction);
  Tensor y = Tensor::empty(x.shape());
  for_each_panel(l,
                 [&, p = x.data(), to = y.mutable_data()](Index outer, Index first, Index count) {
                   double sums[max_width] = {};
                   for (Index step = 0; step < l.n; ++step) {
                     const Index j = direction == Direction::forwards ? step : l.n - 1 - step;
                     const Index row = (outer * l.n + j) * l.inner + first;
                     for (Index i = 0; i < count; ++i)
                       to[row + i] = static_cast<Real>(sums[i] += static_cast<double>(p[row + i]));
                   }
                 });
  return y;
}

// Calls visit(place in x, place in the index) for each number of the index; in order of the places
// in the index for each place in x.
template <class Visit>
void for_each_indexed(const Shape& x, int axis, const Tensor& index, const Visit& visit) {
  const Lines l(index.shape(), axis);
  const Index n = x[axis];
  for_each_panel(l, [&, which = index.data()](Index outer, Index first, Index count) {
    for (Index j = 0; j < l.n; ++j) {
      const Index row = (outer * l.n + j) * l.inner + first;
      for (Index i = 0; i < count; ++i)
        visit((outer * n + static_cast<Index>(which[row + i])) * l.inner + first + i, row + i);
    }
  });
}

// Beyond this length, some whole numbers are no Reals: places would be rounded.
void check_places_are_exact(const char* op, const Shape& x, int axis) {
  constexpr Index most = Index{1} << std::numeric_limits<Real>::digits;
  if (x[axis] > most)
    fail(op, "axis ", axis, " of the shape ", x, " is too long: an index held as ",
         sizeof(Real) == 4 ? "float" : "double", " names ", most, " places exactly");
}

void check_index(const Shape& x, int axis, const Tensor& index) {
  bool fits = index.rank() == x.rank();
  for (int i = 0; fits && i < x.rank(); ++i) fits = i == axis || index.size(i) == x[i];
  if (!fits)
    fail("gather", "sizes differ beside axis ", axis, ": x is ", x, ", the index ", index.shape());
  check_places_are_exact("gather", x, axis);
  const Real n = static_cast<Real>(x[axis]);
  for (Index i = 0; i < index.size(); ++i)
    if (!(index[i] >= 0 && index[i] < n && index[i] == std::trunc(index[i])))
      fail("gather", "the index ", index[i], " is none of the ", x[axis], " places on axis ", axis,
           " of the shape ", x);
}

}  // namespace

// ---- The ops ----------------------------------------------------------------------------------

Tensor softmax(const Tensor& x, int axis) {
  axis = x.shape().axis("softmax", axis);
  if (x.size() == 0) return x;
  if (const Index n = line(x.shape(), axis)) return softmax_of_lines(x, n);
  const Tensor e = each_exp(below_largest(x, axis));
  return e / sum(e, {axis}, true);
}

Var softmax(const Var& x, int axis) {
  const Tensor y = softmax(x.value(), axis);
  return record("softmax", y, grad(x, [y, axis](const Tensor& g) {
                  if (const Index n = line(y.shape(), axis))
                    return softmax_gradient_of_lines(y, g, n);
                  return y * (g - sum(g * y, {axis}, true));
                }));
}

Tensor log_softmax(const Tensor& x, int axis) {
  axis = x.shape().axis("log_softmax", axis);
  if (x.size() == 0) return x;
  if (const Index n = line(x.shape(), axis)) return log_softmax_of_lines(x, n);
  const Tensor shifted = below_largest(x, axis);
  return shifted - each_log(sum(each_exp(shifted), {axis}, true));
}

Var log_softmax(const Var& x, int axis) {
  const Tensor y = log_softmax(x.value(), axis);
  return record("log_softmax", y, grad(x, [y, axis](const Tensor& g) {
                  if (const Index n = line(y.shape(), axis))
                    return log_softmax_gradient_of_lines(y, g, n);
                  return g - each_exp(y) * sum(g, {axis}, true);
                }));
}

Tensor cumsum(const Tensor& x, int axis) {
  return running_sum(x, x.shape().axis("cumsum", axis), Direction::forwards);
}

Var cumsum(const Var& x, int axis) {
  axis = x.shape().axis("cumsum", axis);
  return record("cumsum", cumsum(x.value(), axis), grad(x, [axis](const Tensor& g) {
                  return running_sum(g, axis, Direction::backwards);
                }));
}

Tensor argmax(const Tensor& x, int axis, bool keep) {
  axis = x.shape().axis("argmax", axis);
  if (x.size(axis) == 0) fail("argmax", "no elements on axis ", axis, " of the shape ", x.shape());
  check_places_are_exact("argmax", x.shape(), axis);
  Shape kept, dropped;
  for (int i = 0; i < x.rank(); ++i) {
    kept.push_back(i == axis ? 1 : x.size(i));
    if (i != axis) dropped.push_back(x.size(i));
  }
  const Lines l(x.shape(), axis);
  Tensor y = Tensor::empty(keep ? kept : dropped);
  for_each_panel(l,
                 [&, p = x.data(), to = y.mutable_data()](Index outer, Index first, Index count) {
                   Real top[max_width], place[max_width] = {};
                   std::copy_n(p + outer * l.n * l.inner + first, count, top);
                   for (Index j = 1; j < l.n; ++j)
                     for (Index i = 0; i < count; ++i) {
                       const Real x = p[(outer * l.n + j) * l.inner + first + i];
                       const bool stays = top[i] >= x || top[i] != top[i];
                       place[i] = stays ? place[i] : static_cast<Real>(j);
                       top[i] = stays ? top[i] : x;
                     }
                   std::copy_n(place, count, to + outer * l.inner + first);
                 });
  return y;
}

Index argmax(const Tensor& x) {
  if (x.size() == 0) fail("argmax", "no elements in the shape ", x.shape());
  const auto is_largest = [top = max(x).item()](Real x) { return x == top || x != x; };
  return std::find_if(x.data(), x.data() + x.size(), is_largest) - x.data();
}

Tensor gather(const Tensor& x, int axis, const Tensor& index) {
  axis = x.shape().axis("gather", axis);
  check_index(x.shape(), axis, index);
  Tensor y = Tensor::empty(index.shape());
  for_each_indexed(x.shape(), axis, index,
                   [p = x.data(), to = y.mutable_data()](Index at, Index i) { to[i] = p[at]; });
  return y;
}

Var gather(const Var& x, int axis, const Tensor& index) {
  axis = x.shape().axis("gather", axis);
  return record("gather", gather(x.value(), axis, index),
                grad(x, [axis, index, shape = x.shape()](const Tensor& g) {
                  Tensor gx = Tensor::zeros(shape);
                  for_each_indexed(shape, axis, index,
                                   [p = g.data(), to = gx.mutable_data()](Index at, Index i) {
                                     to[at] += p[i];
                                   });
                  return gx;
                }));
}

}  // namespace backflow::inline BACKFLOW_PRECISION
