#include "backflow/ops/logmatmulexp.h"

#include <cmath>
#include <limits>

#include "backflow/engine/parallel.h"
#include "backflow/ops/lines.h"
#include "backflow/ops/matmul.h"
#include "backflow/ops/vector_math.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// Below it a scaled sum may lack terms that underflowed, and is computed anew.
constexpr Real least_sum = sizeof(Real) == sizeof(float) ? Real(1e-25) : Real(1e-250);
constexpr Index rows_of_part = 64;

// By how much the exponents of a line are reduced: by the largest, if that is finite.
Real shift(Real largest) { return std::isinf(largest) ? Real(0) : largest; }

// e^(x - shift) of the lines along the last axis.
struct ScaledExp {
  explicit ScaledExp(const Tensor& x)
      : n(x.size(-1)), value(Tensor::empty(x.shape())), largest(Tensor::empty({x.size() / n})) {
    with_lanes(n, [&](auto lanes) {
      parallel_for(largest.size(), 1 + elements_per_chunk / n,
                   [&, to = value.mutable_data(), of_lines = largest.mutable_data(),
                    from = x.data()](Index line, Index end) {
                     for (; line < end; ++line) {
                       const Real* const row = from + line * n;
                       of_lines[line] = fold_line<lanes, Real>(row, n, larger_or_nan);
                       const Real by = shift(of_lines[line]);
                       for (Index i = 0; i < n; ++i)
                         to[line * n + i] = vector_math::exp(row[i] - by);
                     }
                   });
    });
  }
  Index n;
  Tensor value, largest;
};

// The product, and what its gradient needs. A sum that was computed anew is kept as 0.
class Product {
 public:
  Product(const Tensor& x, const Tensor& w)
      : B(x.size(0)),
        D(x.size(1)),
        I(x.size(2)),
        O(w.size(1)),
        x_(x),
        w_(w),
        ex_(x),
        ew_(w),
        sums_(Tensor::empty({B, D, O})),
        y_(Tensor::empty({B, D, O})) {
    for_each_part(B, [&, sums = sums_.mutable_data(), y = y_.mutable_data()](Index d, Index first,
                                                                             Index rows) {
      product(sums + row(first, d, O), D * O, 0, part(ex_.value, d, first, rows, I),
              transposed(matrix(ew_.value.data() + d * O * I, O, I)));
      for (Index b = first; b < first + rows; ++b)
        take_logs(sums + row(b, d, O), y + row(b, d, O), b, d);
    });
  }

  const Tensor& value() const { return y_; }

  std::array<Tensor, 2> gradients(const Tensor& g) const {
    Tensor scaled = Tensor::empty(g.shape()), gx = Tensor::empty(x_.shape());
    for_each_part(B, [&, gs = scaled.mutable_data(), to = gx.mutable_data()](Index d, Index first,
                                                                             Index rows) {
      const Real *const from = g.data(), *const sums = sums_.data();
      for (Index b = first; b < first + rows; ++b)
        for (Index i = row(b, d, O), end = i + O; i < end; ++i)
          gs[i] = sums[i] == 0 ? Real(0) : from[i] / sums[i];
      product(to + row(first, d, I), D * I, 0, part(scaled, d, first, rows, O),
              matrix(ew_.value.data() + d * O * I, O, I));
      for (Index b = first; b < first + rows; ++b)
        finish_gradient(g, to + row(b, d, I), ex_.value.data() + row(b, d, I), d, {b, b + 1, 0, O});
    });
    Tensor gw = Tensor::empty(w_.shape());
    for_each_part(O, [&, to = gw.mutable_data()](Index d, Index first, Index rows) {
      MatrixView of_rows{scaled.data() + d * O + first, B, rows, D * O};
      product(to + (d * O + first) * I, I, 0, transposed(of_rows), part(ex_.value, d, 0, B, I));
      for (Index o = first; o < first + rows; ++o)
        finish_gradient(g, to + (d * O + o) * I, ew_.value.data() + (d * O + o) * I, d,
                        {0, B, o, o + 1});
    });
    return grads(gx, gw);
  }

 private:
  Index row(Index b, Index d, Index n) const { return (b * D + d) * n; }

  // Some examples' rows of (B, D, n), those of one d.
  MatrixView part(const Tensor& of, Index d, Index first, Index rows, Index n) const {
    return {of.data() + row(first, d, n), rows, n, D * n};
  }

  // Calls body(d, first, rows) for parts of the range [0, count), each beside every d.
  template <class Body>
  void for_each_part(Index count, const Body& body) const {
    const Index parts = (count + rows_of_part - 1) / rows_of_part;
    parallel_for(D * parts, 1, [&](Index task, Index end) {
      for (; task < end; ++task) {
        const Index first = task % parts * rows_of_part;
        body(task / parts, first, std::min(rows_of_part, count - first));
      }
    });
  }

  void take_logs(Real* sums, Real* y, Index b, Index d) const {
    if (ex_.largest[b * D + d] == -std::numeric_limits<Real>::infinity()) {
      std::fill_n(y, O, ex_.largest[b * D + d]);  // and the sums are 0
      return;
    }
    const Real by = shift(ex_.largest[b * D + d]), *const largest = ew_.largest.data() + d * O;
    Real smallest = std::numeric_limits<Real>::infinity();
    for (Index o = 0; o < O; ++o) {
      y[o] = vector_math::log(sums[o]) + by + shift(largest[o]);
      smallest = sums[o] < smallest ? sums[o] : smallest;
    }
    if (!(smallest < least_sum)) return;
    for (Index o = 0; o < O; ++o)
      if (sums[o] < least_sum) {
        y[o] = log_sum(b, d, o);
        sums[o] = 0;
      }
  }

  double term(Index b, Index d, Index o, Index i) const {
    return double{x_[row(b, d, I) + i]} + double{w_[(d * O + o) * I + i]};
  }

  Real log_sum(Index b, Index d, Index o) const {
    double largest = -std::numeric_limits<double>::infinity(), total = 0;
    for (Index i = 0; i < I; ++i) largest = std::max(largest, term(b, d, o, i));
    if (std::isinf(largest)) return static_cast<Real>(largest);
    for (Index i = 0; i < I; ++i) total += std::exp(term(b, d, o, i) - largest);
    return static_cast<Real>(largest + std::log(total));
  }

  // A line of a gradient: the product that lies there, times the line's own e^..., and the terms of
  // those sums in the ranges of b and o that the product left out.
  struct Ranges {
    Index b, b_end, o, o_end;
  };
  void finish_gradient(const Tensor& g, Real* line, const Real* e, Index d, Ranges at) const {
    for (Index i = 0; i < I; ++i) line[i] *= e[i];
    for (Index b = at.b; b < at.b_end; ++b)
      for (Index o = at.o; o < at.o_end; ++o) {
        const Index k = row(b, d, O) + o;
        if (sums_[k] != 0 || std::isinf(y_[k])) continue;
        for (Index i = 0; i < I; ++i)
          line[i] += static_cast<Real>(g[k] * std::exp(term(b, d, o, i) - y_[k]));
      }
  }

  Index B, D, I, O;
  Tensor x_, w_;
  ScaledExp ex_, ew_;
  Tensor sums_, y_;
};

}  // namespace

Var logmatmulexp(const Var& x, const Var& w) {
  const Shape &a = x.shape(), &b = w.shape();
  if (a.rank() != 3 || b.rank() != 3 || a[1] != b[0] || a[2] != b[2] || a[2] == 0)
    fail("logmatmulexp", "(B, D, I) and (D, O, I) with I > 0 expected, the shapes are ", a, " and ",
         b);
  const Product product(x.value(), w.value());
  return record("logmatmulexp", product.value(),
                joint_grad({x, w}, [product](const Tensor& g) { return product.gradients(g); }));
}

}  // namespace backflow::inline BACKFLOW_PRECISION
