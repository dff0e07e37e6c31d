// Made::fill(): coordinate after coordinate, each unit of the network once.
#include <numeric>

#include "backflow/engine/parallel.h"
#include "backflow/flows/conditioners/made.h"
#include "backflow/ops/matmul.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {

// Its rows and columns in these orders.
static KeptWeights sorted(const Tensor& W, const std::vector<Index>& rows,
                          const std::vector<Index>& columns) {
  auto weight = std::make_shared<std::vector<Real>>(W.size());
  Real* to = weight->data();
  for (const Index row : rows) {
    const Real* const of_unit = W.data() + row * std::ssize(columns);
    for (const Index column : columns) *to++ = of_unit[column];
  }
  return weight;
}

// The units of each layer are sorted by degree: what a unit reads lies together then, at the front,
// and no mask is needed. Examples lie along rows: a unit is a row. With the units below degree d
// known,
//
//   known                                      of degree d
//   x at places 0 ... d - 1   ------------>    hidden units, layer after layer
//   hidden units below d      ------------>    parameters of the coordinate at place d
//
// Most of the work should be products of large matrices. So the degrees are taken in groups: when
// one begins, everything known is multiplied into the sums of all its units, and from then on only
// what its own units add.
class Made::Filling {
 public:
  Filling(const Made& made, Index B, const Pass& pass);

  Tensor parameters(Index place);  // (B, K); after set() of the places before
  void set(Index place, const Tensor& x);
  Tensor all() const;  // x (B, D)

 private:
  static constexpr Index group = 8;
  struct Layer {
    std::vector<Index> units;  // sorted by degree
    std::vector<Index> first;  // [d]: how many have a degree below d
    KeptWeights weight;        // rows and columns sorted
    Tensor sums, values;       // (units, B): before and behind the activation
  };

  void add(Layer& layer, const Layer& from, Index degree, Index end, Index known, Index known_end);
  void activate(Layer& layer, Index degree);
  void add_sorted(Real* sums, const Tensor& x, std::span<const Index> units) const;
  void begin_sums(Layer& layer, const Parameter& bias) const;

  const Made& made_;
  Index B_;
  std::vector<Layer> layers_;
  Tensor of_context_;  // V c, (units, B), not sorted
};

Made::Filling::Filling(const Made& made, Index B, const Pass& pass) : made_(made), B_(B) {
  const auto times_context = [&](const Parameter* weight) {
    return weight ? matmul(weight->value(), transposed(pass.context.value())) : Tensor();
  };
  of_context_ = times_context(made.context_hidden_);
  auto parameters = made.layers_.begin();
  for (const std::vector<Index>& degrees : made.degrees_) {
    Layer layer;
    layer.units.resize(degrees.size());
    std::iota(layer.units.begin(), layer.units.end(), Index{0});
    std::stable_sort(layer.units.begin(), layer.units.end(),
                     [&](Index a, Index b) { return degrees[a] < degrees[b]; });
    layer.first.assign(made.order_.size() + 3, 0);
    for (Index degree : degrees) ++layer.first[degree + 1];
    std::partial_sum(layer.first.begin(), layer.first.end(), layer.first.begin());
    layer.values = Tensor::empty({std::ssize(degrees), B});
    if (!layers_.empty()) {
      const std::size_t i = layers_.size() - 1;
      layer.weight = made.arranged(
          made.for_filling_, i, parameters->weight(),
          [&](const Tensor& W) { return sorted(W, layer.units, layers_.back().units); });
      begin_sums(layer, (parameters++)->bias());
    }
    layers_.push_back(std::move(layer));
  }
  if (const Tensor more = times_context(made.context_output_); more.defined()) {
    Layer& output = layers_.back();
    add_sorted(output.sums.mutable_data(), more, output.units);
  }
}

// The rows of x that belong to some units.
void Made::Filling::add_sorted(Real* sums, const Tensor& x, std::span<const Index> units) const {
  for (const Index unit : units) {
    const Real* const row = x.data() + unit * B_;
    for (Index b = 0; b < B_; ++b) *sums++ += row[b];
  }
}

void Made::Filling::begin_sums(Layer& layer, const Parameter& bias) const {
  layer.sums = Tensor::empty({std::ssize(layer.units), B_});
  Real* sums = layer.sums.mutable_data();
  for (const Index unit : layer.units) sums = std::fill_n(sums, B_, bias.value()[unit]);
}

// What the inputs of degrees known ... known_end - 1 add to the units of degree ... end - 1. The
// examples are cut, for other threads.
void Made::Filling::add(Layer& layer, const Layer& from, Index degree, Index end, Index known,
                        Index known_end) {
  const Index row = layer.first[degree], rows = layer.first[end] - row;
  const Index column = from.first[known], columns = from.first[known_end] - column;
  if (rows == 0 || columns == 0) return;
  const Index width = std::ssize(from.units);
  const Real* const weight = layer.weight->data() + row * width + column;
  const Real* const values = from.values.data() + column * B_;
  parallel_for(B_, 512, [=, this, sums = layer.sums.mutable_data() + row * B_](Index b, Index e) {
    product(sums + b, B_, 1, MatrixView{weight, rows, columns, width},
            MatrixView{values + b, columns, e - b, B_});
  });
}

void Made::Filling::activate(Layer& layer, Index degree) {
  const Index row = layer.first[degree], rows = layer.first[degree + 1] - row;
  if (rows == 0) return;
  Tensor sums = Tensor::empty({rows, B_});
  std::copy_n(layer.sums.data() + row * B_, rows * B_, sums.mutable_data());
  const Tensor h = made_.activation_(Var(sums)).value();
  if (!(h.shape() == sums.shape()))
    fail("made", "the activation made ", h.shape(), " of ", sums.shape());
  Real* values = layer.values.mutable_data() + row * B_;
  std::copy_n(h.data(), rows * B_, values);
  if (&layer == &layers_[1] && of_context_.defined())
    add_sorted(values, of_context_, std::span(layer.units).subspan(row, rows));
}

Tensor Made::Filling::parameters(Index place) {
  const Index begin = place - place % group, D = std::ssize(made_.order_), K = made_.K_;
  for (std::size_t i = 1; i < layers_.size(); ++i) {
    Layer& layer = layers_[i];
    const Layer& from = layers_[i - 1];
    if (place == begin) add(layer, from, begin, std::min(begin + group, D), 0, begin);
    add(layer, from, place, place + 1, begin, place + 1);
    if (i + 1 < layers_.size()) activate(layer, place);
  }
  Tensor p = Tensor::empty({B_, K});
  const Real* const sums = layers_.back().sums.data() + place * K * B_;
  Real* to = p.mutable_data();
  for (Index b = 0; b < B_; ++b)
    for (Index k = 0; k < K; ++k) *to++ = sums[k * B_ + b];
  return p;
}

void Made::Filling::set(Index place, const Tensor& x) {
  if (x.size() != B_) fail("made", B_, " values of one coordinate expected, got ", x.shape());
  std::copy_n(x.data(), B_, layers_.front().values.mutable_data() + place * B_);
}

Tensor Made::Filling::all() const {
  const Index D = std::ssize(made_.order_);
  Tensor x = Tensor::empty({B_, D});
  Real* const to = x.mutable_data();
  const Real* const from = layers_.front().values.data();
  constexpr Index at_once = 16;  // examples, whose lines of the cache stay there
  for (Index begin = 0; begin < B_; begin += at_once)
    for (Index place = 0; place < D; ++place)
      for (Index b = begin; b < std::min(begin + at_once, B_); ++b)
        to[b * D + made_.order_[place]] = from[place * B_ + b];
  return x;
}

Tensor Made::fill(const Shape& x, const Pass& pass,
                  const std::function<Tensor(Index i, const Tensor& p)>& value) const {
  const Index D = std::ssize(order_);
  if (x.rank() != 2 || x[1] != D) fail("made", "(B, ", D, ") expected, the shape is ", x);
  check_context("made", context_, pass, x[0]);
  const NoGrad no_grad;
  Filling filling(*this, x[0], pass);
  if (x[0] > 0)
    for (Index t = 0; t < D; ++t) filling.set(t, value(order_[t], filling.parameters(t)));
  return filling.all();
}

}  // namespace backflow::inline BACKFLOW_PRECISION
