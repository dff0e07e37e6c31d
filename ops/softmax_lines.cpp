// A block of lines at a time. The exponentials of a block are one loop: a loop for each short line
// would hardly use vector instructions.
#include "backflow/ops/softmax_lines.h"

#include "backflow/ops/lines.h"
#include "backflow/ops/vector_math.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// f(line, its first element's place in the block).
template <class F>
void for_each_line(const LineBlock& block, const F& f) {
  for (Index line = 0; line < block.lines; ++line) f(line, line * block.n);
}

template <Index lanes>
Real largest_of(const Real* line, Index n) {
  return fold_line<lanes, Real>(line, n, larger_or_nan);
}
template <Index lanes>
Real sum_of(const Real* line, Index n) {
  return static_cast<Real>(fold_line<lanes, double>(line, n, sum_of_two));
}

void each_exp(const Real* x, Index n, Real* y) {
  for (Index i = 0; i < n; ++i) y[i] = vector_math::exp(x[i]);
}
void subtract(const Real* x, Real c, Index n, Real* y) {
  for (Index i = 0; i < n; ++i) y[i] = x[i] - c;
}

}  // namespace

Tensor softmax_of_lines(const Tensor& x, Index n) {
  Tensor out = Tensor::empty(x.shape());
  for_each_line_block(x.size() / n, n,
                      [n, from = x.data(), to = out.mutable_data()](LineBlock block, auto lanes) {
                        const Real* p = from + block.begin();
                        Real* y = to + block.begin();
                        for_each_line(block, [=](Index, Index at) {
                          subtract(p + at, largest_of<lanes>(p + at, n), n, y + at);
                        });
                        each_exp(y, block.size(), y);
                        for_each_line(block, [=](Index, Index at) {
                          const Real total = sum_of<lanes>(y + at, n);
                          for (Index i = 0; i < n; ++i) y[at + i] /= total;
                        });
                      });
  return out;
}

Tensor softmax_gradient_of_lines(const Tensor& y, const Tensor& g, Index n) {
  Tensor out = Tensor::empty(y.shape());
  for_each_line_block(
      y.size() / n, n,
      [n, Y = y.data(), G = g.data(), to = out.mutable_data()](LineBlock block, auto lanes) {
        const Real *p = Y + block.begin(), *q = G + block.begin();
        Real* gx = to + block.begin();
        for (Index i = 0; i < block.size(); ++i) gx[i] = q[i] * p[i];
        for_each_line(block, [=](Index, Index at) {
          const Real mean = sum_of<lanes>(gx + at, n);
          for (Index i = at; i < at + n; ++i) gx[i] = p[i] * (q[i] - mean);
        });
      });
  return out;
}

Tensor log_softmax_of_lines(const Tensor& x, Index n) {
  Tensor out = Tensor::empty(x.shape());
  for_each_line_block(
      x.size() / n, n, [n, from = x.data(), to = out.mutable_data()](LineBlock block, auto lanes) {
        const Real* p = from + block.begin();
        Real* y = to + block.begin();
        Real* e = block.scratch;
        for_each_line(block, [=](Index, Index at) {
          subtract(p + at, largest_of<lanes>(p + at, n), n, y + at);
        });
        each_exp(y, block.size(), e);
        // The sums take the places of exponentials that are no longer needed.
        for_each_line(block, [=](Index line, Index at) { e[line] = sum_of<lanes>(e + at, n); });
        for (Index i = 0; i < block.lines; ++i) e[i] = vector_math::log(e[i]);
        for_each_line(block, [=](Index line, Index at) { subtract(y + at, e[line], n, y + at); });
      });
  return out;
}

Tensor log_softmax_gradient_of_lines(const Tensor& y, const Tensor& g, Index n) {
  Tensor out = Tensor::empty(y.shape());
  for_each_line_block(
      y.size() / n, n,
      [n, Y = y.data(), G = g.data(), to = out.mutable_data()](LineBlock block, auto lanes) {
        const Real* q = G + block.begin();
        Real* gx = to + block.begin();
        each_exp(Y + block.begin(), block.size(), gx);
        for_each_line(block, [=](Index, Index at) {
          const Real total = sum_of<lanes>(q + at, n);
          for (Index i = at; i < at + n; ++i) gx[i] = q[i] - gx[i] * total;
        });
      });
  return out;
}

void exp_totals_of_lines(const Tensor& x, Index n, Real* shift, Real* total) {
  for_each_line_block(x.size() / n, n, [=, from = x.data()](LineBlock block, auto lanes) {
    const Real* p = from + block.begin();
    Real* e = block.scratch;
    for_each_line(block, [&](Index line, Index at) {
      const Real top = largest_of<lanes>(p + at, n);
      shift[block.first + line] = std::isinf(top) ? Real(0) : top;
      subtract(p + at, shift[block.first + line], n, e + at);
    });
    each_exp(e, block.size(), e);
    for_each_line(
        block, [&](Index line, Index at) { total[block.first + line] = sum_of<lanes>(e + at, n); });
  });
}

Tensor weighted_softmax_of_lines(const Tensor& x, Index n, const Real* shift, const Real* total,
                                 const Real* g) {
  Tensor out = Tensor::empty(x.shape());
  for_each_line_block(
      x.size() / n, n, [=, from = x.data(), to = out.mutable_data()](LineBlock block, auto) {
        Real* y = to + block.begin();
        for_each_line(block, [&](Index line, Index at) {
          subtract(from + block.begin() + at, shift[block.first + line], n, y + at);
        });
        each_exp(y, block.size(), y);
        for_each_line(block, [&](Index line, Index at) {
          const Real sum = total[block.first + line], weight = g[block.first + line];
          if (sum == 0) std::fill_n(y + at, n, Real(0) * weight);
          if (sum != 0)
            for (Index i = at; i < at + n; ++i) y[i] = y[i] / sum * weight;
        });
      });
  return out;
}

}  // namespace backflow::inline BACKFLOW_PRECISION
