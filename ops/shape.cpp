// All of these are one kernel: a copy between two strided views of the same box of elements.
//
// permute, slice, flip and broadcast_to read with strides (permuted, offset, negative, zero) and
// write in order; concat and pad read in order and write with strides.
#include "backflow/ops/shape.h"

#include <cstdlib>

#include "backflow/engine/parallel.h"
#include "backflow/ops/packs.h"
#include "backflow/ops/transpose_block.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

template <class List>
std::string listed(const List& list) {
  std::ostringstream out;
  for (const auto& item : list) out << (out.tellp() == 0 ? "(" : ", ") << item;
  return list.size() == 0 ? "()" : out.str() + ")";
}

// ---- The kernel -----------------------------------------------------------------------------

struct Axis {
  Index size, from, to;  // how far a step moves in the source and in the destination
};

// Drops axes of size 1 and merges neighbours that both sides walk through in one go.
std::vector<Axis> merged(const Shape& box, const Strides& from, const Strides& to) {
  std::vector<Axis> axes;
  for (int i = 0; i < box.rank(); ++i) {
    const Axis axis{box[i], from[i], to[i]};
    if (axis.size == 1) continue;
    const bool continues = !axes.empty() && axes.back().from == axis.size * axis.from &&
                           axes.back().to == axis.size * axis.to;
    if (continues) {
      axes.back() = {axes.back().size * axis.size, axis.from, axis.to};
    } else {
      axes.push_back(axis);
    }
  }
  return axes;
}

// A call of memcpy() takes longer than a short row.
void copy_neighbours(const Real* from, Real* to, Index count) {
  constexpr Index most_inlined = 32, width = 4;
  if (count > most_inlined) {
    std::copy_n(from, count, to);
    return;
  }
  Index i = 0;
  for (; i + width <= count; i += width) store_pack(to + i, load_pack<Real, width>(from + i));
  for (; i < count; ++i) to[i] = from[i];
}

void copy_row(const Real* from, Index from_step, Real* to, Index to_step, Index count) {
  if (from_step == 1 && to_step == 1) {
    copy_neighbours(from, to, count);
  } else if (from_step == 0 && to_step == 1) {
    std::fill_n(to, count, *from);
  } else if (from_step == -1 && to_step == 1) {
    for (Index i = 0; i < count; ++i) to[i] = from[-i];  // with a constant step, in vectors
  } else {
    for (Index i = 0; i < count; ++i) to[i * to_step] = from[i * from_step];
  }
}

void copy_panel(const Axis& row, const Axis& column, const Real* from, Real* to) {
  for (Index r = 0; r < row.size; ++r)
    copy_row(from + r * row.from, column.from, to + r * row.to, column.to, column.size);
}

constexpr Index tile = 32;

// buffer[r * tile + c] = from[c * column.from + r * row.from]
void transpose_into(Real* buffer, const Axis& row, const Axis& column, const Real* from) {
  if (row.from == 1) return transpose_block(from, column.from, column.size, row.size, buffer, tile);
  for (Index c = 0; c < column.size; ++c)
    for (Index r = 0; r < row.size; ++r)
      buffer[r * tile + c] = from[c * column.from + r * row.from];
}

// The next panel's part of the source: it is in as many pages as the tile has columns, which is too
// many for the processor to foresee.
void fetch_ahead(const Axis& row, const Axis& column, const Real* from) {
  constexpr Index line = 64 / sizeof(Real);
  for (Index c = 0; c < column.size; ++c)
    for (Index r = tile; r < 2 * tile; r += line)
      __builtin_prefetch(from + c * column.from + r * row.from);
}

// For a source whose rows are (nearly) contiguous where the destination's columns are. By way of
// a small buffer: both sides touch each cache line once, whatever the strides.
void transpose_panel(const Axis& row, const Axis& column, const Real* from, Real* to) {
  Real buffer[tile * tile];
  fetch_ahead(row, column, from);
  transpose_into(buffer, row, column, from);
  for (Index r = 0; r < row.size; ++r)
    copy_row(buffer + r * tile, 1, to + r * row.to, column.to, column.size);
}

// Panels of rows and columns in parallel. Columns run along the last axis; rows along the one
// before it, or along the source's contiguous one if steps between columns would waste cache lines.
class StridedCopy {
 public:
  explicit StridedCopy(std::vector<Axis> axes) : outer_(std::move(axes)) {
    while (outer_.size() < 2) outer_.insert(outer_.begin(), Axis{1, 0, 0});
    column_ = outer_.back();
    outer_.pop_back();
    auto row = outer_.end() - 1;
    if (std::abs(column_.from) >= 8) {
      row = std::min_element(outer_.begin(), outer_.end(), [](const Axis& a, const Axis& b) {
        return std::abs(a.from) < std::abs(b.from);
      });
      transposing_ = std::abs(row->from) < std::abs(column_.from);
    }
    row_ = *row;
    outer_.erase(row);
    panel_columns_ = std::min(column_.size, transposing_ ? tile : elements_per_chunk);
    panel_rows_ = std::min(row_.size, transposing_ ? tile : elements_per_chunk / panel_columns_);
  }

  void run(const Real* from, Real* to) const {
    Index panels = panels_along(row_, panel_rows_) * panels_along(column_, panel_columns_);
    for (const Axis& axis : outer_) panels *= axis.size;
    const Index elements = panel_rows_ * panel_columns_;
    parallel_for(panels, std::max<Index>(1, elements_per_chunk / elements),
                 [&](Index panel, Index end) {
                   for (; panel < end; ++panel) copy(panel, from, to);
                 });
  }

 private:
  static Index panels_along(const Axis& axis, Index size) { return (axis.size + size - 1) / size; }

  void copy(Index panel, const Real* from, Real* to) const {
    Axis row = row_, column = column_;
    const auto advance = [&](const Axis& axis, Index index) {
      from += index * axis.from;
      to += index * axis.to;
    };
    const auto narrow = [&](Axis& axis, Index size) {
      const Index begin = panel % panels_along(axis, size) * size;
      panel /= panels_along(axis, size);
      advance(axis, begin);
      axis.size = std::min(size, axis.size - begin);
    };
    if (transposing_) {  // along the source's neighbours, which are fetched ahead
      narrow(row, panel_rows_);
      narrow(column, panel_columns_);
    } else {
      narrow(column, panel_columns_);
      narrow(row, panel_rows_);
    }
    for (auto axis = outer_.rbegin(); axis != outer_.rend(); ++axis) {
      advance(*axis, panel % axis->size);
      panel /= axis->size;
    }
    (transposing_ ? transpose_panel : copy_panel)(row, column, from, to);
  }

  std::vector<Axis> outer_;
  Axis row_{}, column_{};
  Index panel_rows_ = 1, panel_columns_ = 1;
  bool transposing_ = false;
};

// out[i, j, ...] = x[start + i * strides[0] + j * strides[1] + ...]
Tensor read_strided(const Tensor& x, const Shape& shape, const Strides& strides, Index start = 0) {
  const std::vector<Axis> axes = merged(shape, strides, strides_of(shape));
  const bool all_in_order = axes.empty() || (axes.size() == 1 && axes[0].from == 1);
  if (all_in_order && shape.size() == x.size()) return x.reshape(shape);
  Tensor out = Tensor::empty(shape);
  if (out.size() > 0) StridedCopy(axes).run(x.data() + start, out.mutable_data());
  return out;
}

// out[..., begin + i, ...] = x[..., i, ...]
void place(const Tensor& x, Tensor& out, int axis, Index begin) {
  if (x.size() == 0) return;
  const Strides to = strides_of(out.shape());
  StridedCopy(merged(x.shape(), strides_of(x.shape()), to))
      .run(x.data(), out.mutable_data() + begin * to[axis]);
}

// ---- What the arguments mean ----------------------------------------------------------------

Shape inferred(const Shape& from, std::initializer_list<Index> sizes) {
  Index known = 1, unknown = 0;
  for (Index size : sizes) {
    if (size == -1) {
      ++unknown;
    } else {
      known *= size;
    }
  }
  if (unknown == 0) return sizes;
  if (unknown > 1 || known <= 0 || from.size() % known != 0)
    fail("reshape", "cannot make ", listed(sizes), " of ", from);
  Shape shape;
  for (Index size : sizes) shape.push_back(size == -1 ? from.size() / known : size);
  return shape;
}

// The axes counted from the front, all different.
std::vector<int> counted(const char* op, const Shape& shape, const std::vector<int>& axes) {
  std::vector<int> all;
  for (int named : axes) {
    const int axis = shape.axis(op, named);
    if (std::find(all.begin(), all.end(), axis) != all.end())
      fail(op, "axis ", named, " of the shape ", shape, " is named twice");
    all.push_back(axis);
  }
  return all;
}

std::vector<int> last_two_swapped(const Shape& shape) {
  if (shape.rank() < 2) fail("transpose", "two axes expected, the shape is ", shape);
  std::vector<int> axes;
  for (int axis = 0; axis < shape.rank(); ++axis) axes.push_back(axis);
  std::swap(axes[axes.size() - 2], axes.back());
  return axes;
}

template <class Part>  // Tensor or Var
Shape concatenated(std::span<const Part> parts, int axis) {
  if (parts.empty()) fail("concat", "nothing to concatenate");
  Shape shape = parts[0].shape();
  axis = shape.axis("concat", axis);
  shape[axis] = 0;
  for (const Part& part : parts) {
    bool fits = part.rank() == shape.rank();
    for (int i = 0; fits && i < shape.rank(); ++i) fits = i == axis || part.size(i) == shape[i];
    if (!fits)
      fail("concat", "sizes differ beside axis ", axis, ": ", parts[0].shape(), " and ",
           part.shape());
    shape[axis] += part.size(axis);
    shape.check_size();
  }
  return shape;
}

}  // namespace

// ---- The ops --------------------------------------------------------------------------------

Tensor reshape(const Tensor& x, const Shape& shape) { return x.reshape(shape); }

Tensor reshape(const Tensor& x, std::initializer_list<Index> sizes) {
  return x.reshape(inferred(x.shape(), sizes));
}

Var reshape(const Var& x, const Shape& shape) {
  return record("reshape", x.value().reshape(shape),
                grad(x, [from = x.shape()](const Tensor& g) { return g.reshape(from); }));
}

Var reshape(const Var& x, std::initializer_list<Index> sizes) {
  return reshape(x, inferred(x.shape(), sizes));
}

Tensor permute(const Tensor& x, const std::vector<int>& axes) {
  const std::vector<int> order = counted("permute", x.shape(), axes);
  if (static_cast<int>(order.size()) != x.rank())
    fail("permute", listed(axes), " does not order all axes of the shape ", x.shape());
  const Strides strides = strides_of(x.shape());
  Shape shape;
  Strides permuted{};
  for (int axis : order) {
    permuted[shape.rank()] = strides[axis];
    shape.push_back(x.size(axis));
  }
  return read_strided(x, shape, permuted);
}

Var permute(const Var& x, const std::vector<int>& axes) {
  const Tensor y = permute(x.value(), axes);
  const std::vector<int> order = counted("permute", x.shape(), axes);
  std::vector<int> inverse(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) inverse[order[i]] = static_cast<int>(i);
  return record("permute", y, grad(x, [inverse](const Tensor& g) { return permute(g, inverse); }));
}

Tensor transpose(const Tensor& x) { return permute(x, last_two_swapped(x.shape())); }

Var transpose(const Var& x) {
  return record("transpose", transpose(x.value()),
                grad(x, [](const Tensor& g) { return transpose(g); }));
}

Tensor slice(const Tensor& x, int axis, Index begin, Index end) {
  axis = x.shape().axis("slice", axis);
  if (begin < 0 || begin > end || end > x.size(axis))
    fail("slice", "no range ", begin, "..", end, " on axis ", axis, " of the shape ", x.shape());
  const Strides strides = strides_of(x.shape());
  Shape shape = x.shape();
  shape[axis] = end - begin;
  return read_strided(x, shape, strides, begin * strides[axis]);
}

// sum[..., begin + i, ...] += g[..., i, ...]
static void add_slice(Tensor& sum, const Tensor& g, int axis, Index begin) {
  const Index step = strides_of(sum.shape())[axis] * sum.size(axis);
  const Index offset = strides_of(sum.shape())[axis] * begin;
  const Index block = strides_of(g.shape())[axis] * g.size(axis);
  if (g.size() == 0) return;
  parallel_for(g.size() / block, std::max<Index>(1, elements_per_chunk / block),
               [&, to = sum.mutable_data(), from = g.data()](Index row, Index end) {
                 for (; row < end; ++row)
                   for (Index i = 0; i < block; ++i)
                     to[row * step + offset + i] += from[row * block + i];
               });
}

Var slice(const Var& x, int axis, Index begin, Index end) {
  const Tensor y = slice(x.value(), axis, begin, end);
  axis = x.shape().axis("slice", axis);
  return record("slice", y, grad(x, [=, size = x.size(axis)](const Tensor& g, Accumulator& into) {
                  into.add_in_place([&](Tensor& sum, Real beta) {
                    if (beta == 0) {
                      sum = pad(g, axis, begin, size - end);
                    } else {
                      add_slice(sum, g, axis, begin);
                    }
                  });
                }));
}

Tensor concat(std::span<const Tensor> parts, int axis) {
  Tensor out = Tensor::empty(concatenated(parts, axis));
  axis = out.shape().axis("concat", axis);
  Index begin = 0;
  for (const Tensor& part : parts) {
    place(part, out, axis, begin);
    begin += part.size(axis);
  }
  return out;
}

Tensor concat(std::initializer_list<Tensor> parts, int axis) {
  return concat(std::span(parts.begin(), parts.size()), axis);
}

Var concat(std::span<const Var> parts, int axis) {
  std::vector<Tensor> values;
  std::vector<Edge> edges;
  Index begin = 0;
  concatenated(parts, axis);  // fails before the sizes below are asked for
  for (const Var& part : parts) {
    values.push_back(part.value());
    const Index end = begin + part.size(axis);
    edges.push_back(grad(part, [=](const Tensor& g) { return slice(g, axis, begin, end); }));
    begin = end;
  }
  return record("concat", concat(values, axis), edges);
}

Var concat(std::initializer_list<Var> parts, int axis) {
  return concat(std::span(parts.begin(), parts.size()), axis);
}

Tensor pad(const Tensor& x, int axis, Index before, Index after) {
  axis = x.shape().axis("pad", axis);
  if (before < 0 || after < 0 || std::max(before, after) > Shape::max_size)
    fail("pad", "cannot pad axis ", axis, " of the shape ", x.shape(), " by ", before, " and ",
         after);
  if (before == 0 && after == 0) return x;
  Shape shape = x.shape();
  shape[axis] += before + after;
  Tensor out = Tensor::zeros(shape);
  place(x, out, axis, before);
  return out;
}

Var pad(const Var& x, int axis, Index before, Index after) {
  const Tensor y = pad(x.value(), axis, before, after);
  const Index end = before + x.size(axis);
  return record("pad", y, grad(x, [=](const Tensor& g) { return slice(g, axis, before, end); }));
}

Tensor flip(const Tensor& x, const std::vector<int>& axes) {
  Strides strides = strides_of(x.shape());
  Index start = 0;
  for (int axis : counted("flip", x.shape(), axes)) {
    start += (x.size(axis) - 1) * strides[axis];
    strides[axis] = -strides[axis];
  }
  return read_strided(x, x.shape(), strides, start);
}

Var flip(const Var& x, const std::vector<int>& axes) {
  return record("flip", flip(x.value(), axes),
                grad(x, [axes](const Tensor& g) { return flip(g, axes); }));
}

Tensor broadcast_to(const Tensor& x, const Shape& shape) {
  if (!broadcasts_to(x.shape(), shape))
    fail("broadcast_to", "the shape ", x.shape(), " does not broadcast to ", shape);
  return read_strided(x, shape, broadcast_strides(x.shape(), shape));
}

Var broadcast_to(const Var& x, const Shape& shape) {
  return record("broadcast_to", broadcast_to(x.value(), shape),
                grad(x, [](const Tensor& g) { return g; }));  // the engine sums it
}

}  // namespace backflow::inline BACKFLOW_PRECISION
