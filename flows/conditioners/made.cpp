#include "backflow/flows/conditioners/made.h"

#include <numeric>

#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Degrees = std::vector<std::vector<Index>>;

// The place of each coordinate.
std::vector<Index> places_of(const std::vector<Index>& order) {
  const Index D = std::ssize(order);
  if (D == 0) fail("made", "an order of at least one coordinate expected, got none");
  std::vector<Index> places(order.size(), -1);
  for (Index t = 0; t < D; ++t) {
    const Index i = order[t];
    if (i < 0 || i >= D || places[i] != -1)
      fail("made", "the order of ", D, " coordinates must hold each of 0 ... ", D - 1,
           " once, at place ", t, " it has ", i);
    places[i] = t;
  }
  return places;
}

Degrees degrees_of(const std::vector<Index>& order, Index K, const Net& net,
                   const std::vector<Index>& of_hidden) {
  if (K < 1) fail("made", "at least one parameter per coordinate expected, got ", K);
  const std::vector<Index> places = places_of(order);
  const Index D = std::ssize(order),
              units = std::accumulate(net.hidden.begin(), net.hidden.end(), Index{0});
  if (!of_hidden.empty() && std::ssize(of_hidden) != units)
    fail("made", "a degree for each of ", units, " hidden units expected, got ", of_hidden.size());
  for (Index degree : of_hidden)
    if (degree < 0 || degree > D) fail("made", "degrees of 0 ... ", D, " expected, got ", degree);
  const Index least = net.context > 0 ? 0 : 1, kinds = std::max<Index>(1, D - least);
  Degrees degrees(1);
  for (Index t : places) degrees[0].push_back(t + 1);
  auto given = of_hidden.begin();
  for (Index width : net.hidden) {
    degrees.emplace_back();
    for (Index k = 0; k < width; ++k)
      degrees.back().push_back(of_hidden.empty() ? least + k % kinds : *given++);
  }
  degrees.emplace_back();
  for (Index t : places) degrees.back().insert(degrees.back().end(), K, t);
  return degrees;
}

std::vector<Tensor> masks_of(const Degrees& degrees) {
  std::vector<Tensor> masks;
  for (std::size_t layer = 1; layer < degrees.size(); ++layer) {
    const std::vector<Index>&from = degrees[layer - 1], &to = degrees[layer];
    Tensor mask = Tensor::empty({std::ssize(to), std::ssize(from)});
    Real* at = mask.mutable_data();
    bool is_full = true;
    for (Index unit : to)
      for (Index input : from) {
        *at++ = input <= unit ? 1 : 0;
        is_full = is_full && input <= unit;
      }
    masks.push_back(is_full ? Tensor() : mask);
  }
  return masks;
}

}  // namespace

Made::Made(const std::vector<Index>& order, Index K, const Net& net, const Random& random,
           const std::vector<Index>& hidden_degrees)
    : Made(degrees_of(order, K, net, hidden_degrees), order, K, net, random) {}

Made::Made(Degrees degrees, const std::vector<Index>& order, Index K, const Net& net,
           const Random& random)
    : Mlp(std::ssize(order), std::ssize(order) * K, net, random, masks_of(degrees)),
      order_(order),
      K_(K),
      degrees_(std::move(degrees)) {
  make_staircases();
}

// Hidden units are ordered by degree, and so handed from layer to layer. Inputs and outputs stay as
// they are: in an order of coordinates that ascends or descends their steps follow one another.
void Made::make_staircases() {
  if (context() > 0) return;
  const auto ordered = [&](std::size_t layer) {
    std::vector<Index> units(degrees_[layer].size());
    std::iota(units.begin(), units.end(), Index{0});
    if (layer > 0 && layer + 1 < degrees_.size())
      std::stable_sort(units.begin(), units.end(),
                       [&](Index a, Index b) { return degrees_[layer][a] < degrees_[layer][b]; });
    return units;
  };
  double all = 0, read = 0;
  for (std::size_t layer = 0; layer < masks_.size(); ++layer) {
    const Shape shape{std::ssize(degrees_[layer + 1]), std::ssize(degrees_[layer])};
    const Tensor mask = masks_[layer].defined() ? masks_[layer] : Tensor::full(shape, 1);
    staircases_.emplace_back(mask, ordered(layer + 1), ordered(layer));
    all += static_cast<double>(shape.size());
    read += staircases_.back().area() * static_cast<double>(shape.size());
  }
  if (read > 0.85 * all) staircases_.clear();
}

KeptWeights Made::arranged(std::vector<Arranged>& kept, std::size_t layer, const Parameter& weight,
                           const std::function<KeptWeights(const Tensor& W)>& arrange) const {
  const std::lock_guard lock(arranging_);
  kept.resize(layers_.size());
  Arranged& own = kept[layer];
  if (!own.weight || own.version != weight.version())
    own = {arrange(weight.value()), weight.version()};
  return own.weight;
}

Var Made::through_staircases(const Var& x, const Pass& pass) const {
  Var h = x;
  std::size_t i = 0;
  for (const FullyConnected& layer : layers_) {
    const Staircase& staircase = staircases_[i];
    const KeptWeights masked = arranged(for_staircases_, i, layer.weight(),
                                        [&](const Tensor& W) { return staircase.masked(W); });
    h = layer(i == 0 ? h : activation_(h), staircase, masked);
    if (i++ == 0) check_context("made", context(), pass, x.size(0));
  }
  return h;
}

Var Made::operator()(const Var& x, const Pass& pass) const {
  const Var p = staircases_.empty() ? Mlp::operator()(x, pass) : through_staircases(x, pass);
  return reshape(p, Shape{x.size(0), std::ssize(order_), K_});
}

}  // namespace backflow::inline BACKFLOW_PRECISION
