// How a batch of splines lies in memory, and what is known of each spline before any x is seen.
// Internal to the spline: no header includes this.
//
// x is walked through as rows of columns, one spline per column. A row is an example, or as many of
// them as fill strip_width columns: one spline for all is no special case. A strip is strip_width
// columns, and its splines' tables are one contiguous block. A task is a strip and some of its
// rows.
#pragma once

#include <vector>

#include "backflow/ops/spline.h"

namespace backflow::inline BACKFLOW_PRECISION {

// Fails for options that leave no room for so many bins, or less than Real can resolve.
void check_spline_options(const char* op, const SplineOptions& options, Index bins);

struct SplineLayout {
  static constexpr Index strip_width = 64;

  // Fails unless the shapes are those that rational_quadratic_spline() asks for.
  SplineLayout(const char* op, const Shape& x, const Shape& widths, const Shape& heights,
               const Shape& derivatives);

  // A task is some rows of a strip. Those of the first rows come first: a thread that works on the
  // first half of the tasks meets the examples that other ops gave it.
  Index tasks() const { return strips * tasks_per_strip; }
  Index strip_of(Index task) const { return task % strips; }
  Index first_row_of(Index task) const { return task / strips * rows_per_task; }
  Index splines_in(Index strip) const {  // column i of the strip has its spline i % splines_in
    return std::min(strip_width, splines - strip * strip_width);
  }

  Index bins = 0, splines = 0;
  Index elements = 0, columns = 0, rows = 0;  // the last row may be shorter
  Index strips = 0, rows_per_task = 1, tasks_per_strip = 0;
};

// For each strip, kinds of numbers: one row per knot or bin of each, strip_width long. Column i is
// that of the strip's spline i modulo their number.
class SplineTables {
 public:
  enum Kind { x, y, slope, height, inverse_width, width_softmax, height_softmax, sigmoid, kinds };

  // Fails for options that leave no room for the bins.
  SplineTables(const char* op, const SplineLayout& layout, const Tensor& widths,
               const Tensor& heights, const Tensor& derivatives, const SplineOptions& options);

  const SplineOptions& options() const { return options_; }
  // Whether these may be those of the layout's splines; of no examples it needs none.
  bool suits(const SplineLayout& layout) const {
    return layout.strips == 0 || std::ssize(values_) == layout.strips * kinds * (layout.bins + 1);
  }
  const Real* row(Index strip, Kind kind, Index k) const {
    return values_[place(strip, kind, k)].values;
  }
  Index kind_stride() const { return rows_ * SplineLayout::strip_width; }

  // From the gradients of a strip's bin widths, bin heights and inner slopes, as (bins, bins,
  // bins - 1) rows of strip_width numbers, to those of the parameters.
  struct Parameters {
    Real *widths, *heights, *derivatives;
  };
  void chain(const SplineLayout& layout, Index strip, const double* sums,
             const Parameters& out) const;

 private:
  struct Source;
  void fill(const Source& source, Index strip);
  Index place(Index strip, Kind kind, Index k) const { return (strip * kinds + kind) * rows_ + k; }

  SplineOptions options_;
  Index rows_;
  // Outside of the pool of Tensors, for they may live as long as the parameters stay as they are.
  struct alignas(64) Row {
    Real values[SplineLayout::strip_width];
  };
  std::vector<Row> values_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION
