#include "backflow/ops/fully_connected.h"

#include <algorithm>
#include <functional>

#include "backflow/engine/parallel.h"
#include "backflow/ops/matmul.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/workspace.h"

namespace backflow::inline BACKFLOW_PRECISION {

static void check_shapes(const Shape& x, const Shape& W, const Shape& b) {
  if (x.rank() != 2 || W.rank() != 2 || x[1] != W[1] || !(b == Shape{W[0]}))
    fail("fully_connected", "x (B, in), W (out, in) and b (out) expected, the shapes are ", x, ", ",
         W, " and ", b);
}

// `count` rows of `width` numbers become b, or a part of it.
static void fill_rows(Real* rows, Index count, Index leading, const Real* b, Index width) {
  for (Index row = 0; row < count; ++row) std::copy_n(b, width, rows + row * leading);
}

Var fully_connected(const Var& x, const Var& W, const Var& b) {
  check_shapes(x.shape(), W.shape(), b.shape());
  const Tensor X = x.value(), weight = W.value();
  Tensor y = Tensor::empty({X.size(0), weight.size(0)});
  fill_rows(y.mutable_data(), y.size(0), y.size(1), b.value().data(), y.size(1));
  matmul_into(y, 1, X, transposed(weight));
  return record(
      "fully_connected", y,
      grad(x,
           [weight](const Tensor& g, Accumulator& into) {
             into.add_in_place([&](Tensor& sum, Real beta) { matmul_into(sum, beta, g, weight); });
           }),
      grad(W,
           [X](const Tensor& g, Accumulator& into) {
             into.add_in_place(
                 [&](Tensor& sum, Real beta) { matmul_into(sum, beta, transposed(g), X); });
           }),
      grad(b, [](const Tensor& g) { return sum(g, {0}); }));
}

// ---- Staircases ---------------------------------------------------------------------------------

namespace {

// Rows [begin, end) of a matrix, which have nothing but zeros outside of columns [from, to).
struct Panel {
  Index begin, end, from, to;

  Index rows() const { return end - begin; }
  Index columns() const { return to - from; }
  Index area() const { return rows() * columns(); }
};

// Whether the mask has a one in a place: number (row, column) in the orders of the staircase.
using HasOne = std::function<bool(Index row, Index column)>;

// Cut by the shape alone. Fewer rows than 64 would pay more for packing what they are multiplied by
// than the zeros cost. The largest come first: threads that are done early find small ones left.
std::vector<Panel> panels_of(Index rows, Index columns, const HasOne& has_one) {
  const Index height = std::max<Index>(64, (rows + 7) / 8);
  std::vector<Panel> panels;
  for (Index begin = 0; begin < rows; begin += height) {
    Panel panel{begin, std::min(begin + height, rows), columns, 0};
    for (Index row = panel.begin; row < panel.end; ++row)
      for (Index column = 0; column < columns; ++column)
        if (has_one(row, column)) {
          panel.from = std::min(panel.from, column);
          panel.to = std::max(panel.to, column + 1);
        }
    if (panel.to == 0) panel.from = 0;
    panels.push_back(panel);
  }
  std::stable_sort(panels.begin(), panels.end(),
                   [](const Panel& a, const Panel& b) { return a.area() > b.area(); });
  return panels;
}

void check_order(std::vector<Index> order, Index size, const char* what) {
  if (std::ssize(order) != size)
    fail("staircase", "an order of ", size, " ", what, " expected, got ", order.size(), " of them");
  std::sort(order.begin(), order.end());
  for (Index i = 0; i < size; ++i)
    if (order[i] != i)
      fail("staircase", "an order of ", what, " must hold each of 0 ... ", size - 1, " once");
}

}  // namespace

struct Staircase::Plan {
  std::vector<Index> rows, columns;
  Tensor mask;                             // (out, in) in these orders
  std::vector<Panel> of_rows, of_columns;  // a panel of columns is one of the transpose

  KeptWeights masked(const Tensor& W) const;
  void multiply(Tensor& y, const Tensor& x, const Real* weight, const Tensor& b) const;
  void add_input_gradient(Tensor& sum, Real beta, const Tensor& g, const Real* weight) const;
  Tensor weight_gradient(const Tensor& g, const Tensor& x) const;
  Tensor bias_gradient(const Tensor& g) const;

 private:
  void put_back(Real* to, const Real* from, const Panel& panel) const;
};

Staircase::Staircase(const Tensor& mask, std::vector<Index> rows, std::vector<Index> columns) {
  if (mask.rank() != 2) fail("staircase", "a mask (out, in) expected, the shape is ", mask.shape());
  const Index out = mask.size(0), in = mask.size(1);
  check_order(rows, out, "outputs");
  check_order(columns, in, "inputs");
  Plan plan{std::move(rows), std::move(columns), Tensor::empty(mask.shape()), {}, {}};
  Real* to = plan.mask.mutable_data();
  for (const Index row : plan.rows)
    for (const Index column : plan.columns) *to++ = mask[row * in + column];
  const auto has_one = [&](Index i, Index j) { return plan.mask[i * in + j] != 0; };
  plan.of_rows = panels_of(out, in, has_one);
  plan.of_columns = panels_of(in, out, [&](Index j, Index i) { return has_one(i, j); });
  plan_ = std::make_shared<Plan>(std::move(plan));
}

double Staircase::area() const {
  Index area = 0;
  for (const Panel& panel : plan_->of_rows) area += panel.area();
  return static_cast<double>(area) / static_cast<double>(std::max<Index>(1, plan_->mask.size()));
}

KeptWeights Staircase::masked(const Tensor& W) const {
  if (!(W.shape() == plan_->mask.shape()))
    fail("staircase", "the weights are ", W.shape(), ", their mask ", plan_->mask.shape());
  return plan_->masked(W);
}

KeptWeights Staircase::Plan::masked(const Tensor& W) const {
  const Index in = W.size(1);
  auto weight = std::make_shared<std::vector<Real>>(W.size());
  parallel_for(W.size(0), std::max<Index>(1, elements_per_chunk / std::max<Index>(1, in)),
               [&, to = weight->data()](Index row, Index end) {
                 for (; row < end; ++row) {
                   const Real *from = W.data() + rows[row] * in, *ones = mask.data() + row * in;
                   for (Index j = 0; j < in; ++j)
                     to[row * in + j] = ones[j] != 0 ? from[columns[j]] : 0;
                 }
               });
  return weight;
}

// body(panel, b, count) for each panel and so many examples from number b on.
template <class Body>
static void for_each_panel(const std::vector<Panel>& panels, Index B, const Body& body) {
  constexpr Index examples = 256;
  const Index chunks = (B + examples - 1) / examples, tasks = chunks * std::ssize(panels);
  Index area = 0;
  for (const Panel& panel : panels) area += panel.area();
  const bool is_small = 2 * area * B < 1'000'000;  // not worth a second thread
  parallel_for(tasks, is_small ? tasks : 1, [&](Index task, Index end) {
    for (; task < end; ++task) {
      const Index b = task % chunks * examples;
      body(panels[task / chunks], b, std::min(examples, B - b));
    }
  });
}

// A part of a matrix with `width` columns.
static MatrixView part(const Real* x, Index width, Index row, Index rows, Index column,
                       Index columns) {
  return {x + row * width + column, rows, columns, std::max<Index>(1, width)};
}
static MatrixView part(const Tensor& x, Index row, Index rows, Index column, Index columns) {
  return part(x.data(), x.size(1), row, rows, column, columns);
}

void Staircase::Plan::multiply(Tensor& y, const Tensor& x, const Real* weight,
                               const Tensor& b) const {
  const Index out = y.size(1);
  Tensor sorted_bias = Tensor::empty({out});
  for (Index i = 0; i < out; ++i) sorted_bias.mutable_data()[i] = b[rows[i]];
  for_each_panel(of_rows, x.size(0),
                 [&, to = y.mutable_data(), bias = sorted_bias.data()](const Panel& panel,
                                                                       Index first, Index count) {
                   Real* const at = to + first * out + panel.begin;
                   fill_rows(at, count, out, bias + panel.begin, panel.rows());
                   if (panel.columns() == 0) return;
                   product(at, out, 1, part(x, first, count, panel.from, panel.columns()),
                           transposed(part(weight, mask.size(1), panel.begin, panel.rows(),
                                           panel.from, panel.columns())));
                 });
}

void Staircase::Plan::add_input_gradient(Tensor& sum, Real beta, const Tensor& g,
                                         const Real* weight) const {
  const Index in = sum.size(1);
  for_each_panel(
      of_columns, g.size(0),
      [&, to = sum.mutable_data()](const Panel& panel, Index first, Index count) {
        Real* const at = to + first * in + panel.begin;
        if (panel.columns() == 0) {
          for (Index b = 0; b < count && beta == 0; ++b)
            std::fill_n(at + b * in, panel.rows(), Real(0));
          return;
        }
        product(at, in, beta, part(g, first, count, panel.from, panel.columns()),
                part(weight, mask.size(1), panel.from, panel.columns(), panel.begin, panel.rows()));
      });
}

// Rows of the gradient, in the orders of the staircase, go where their weights are.
void Staircase::Plan::put_back(Real* to, const Real* from, const Panel& panel) const {
  const Index in = mask.size(1);
  for (Index row = panel.begin; row < panel.end; ++row, from += panel.columns()) {
    Real* const gradient = to + rows[row] * in;
    const Real* const ones = mask.data() + row * in;
    std::fill_n(gradient, in, Real(0));
    for (Index j = panel.from; j < panel.to; ++j)
      gradient[columns[j]] = ones[j] != 0 ? from[j - panel.from] : 0;
  }
}

Tensor Staircase::Plan::weight_gradient(const Tensor& g, const Tensor& x) const {
  Tensor gradient = Tensor::empty(mask.shape());
  const Index B = x.size(0);
  parallel_for(std::ssize(of_rows), B * mask.size() < 500'000 ? std::ssize(of_rows) : 1,
               [&, to = gradient.mutable_data()](Index i, Index end) {
                 for (; i < end; ++i) {
                   const Panel& panel = of_rows[i];
                   const Workspace sorted(std::max<Index>(1, panel.area()));
                   if (panel.area() > 0)
                     product(sorted.data(), panel.columns(), 0,
                             transposed(part(g, 0, B, panel.begin, panel.rows())),
                             part(x, 0, B, panel.from, panel.columns()));
                   put_back(to, sorted.data(), panel);
                 }
               });
  return gradient;
}

Tensor Staircase::Plan::bias_gradient(const Tensor& g) const {
  const Tensor sums = sum(g, {0});
  Tensor gradient = Tensor::empty(sums.shape());
  for (Index i = 0; i < sums.size(); ++i) gradient.mutable_data()[rows[i]] = sums[i];
  return gradient;
}

Var fully_connected(const Var& x, const Var& W, const Var& b, const Staircase& staircase,
                    KeptWeights masked) {
  check_shapes(x.shape(), W.shape(), b.shape());
  const auto plan = staircase.plan_;
  if (!(W.shape() == plan->mask.shape()))
    fail("fully_connected", "the weights are ", W.shape(), ", their mask ", plan->mask.shape());
  if (!masked || std::ssize(*masked) != W.size())
    fail("fully_connected", W.size(), " masked weights expected, got ",
         masked ? masked->size() : 0);
  const Tensor X = x.value();
  Tensor y = Tensor::empty({X.size(0), W.size(0)});
  plan->multiply(y, X, masked->data(), b.value());
  return record("fully_connected", y,
                grad(x,
                     [plan, masked](const Tensor& g, Accumulator& into) {
                       into.add_in_place([&](Tensor& sum, Real beta) {
                         plan->add_input_gradient(sum, beta, g, masked->data());
                       });
                     }),
                grad(W, [plan, X](const Tensor& g) { return plan->weight_gradient(g, X); }),
                grad(b, [plan](const Tensor& g) { return plan->bias_gradient(g); }));
}

}  // namespace backflow::inline BACKFLOW_PRECISION
