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
    for (Index unit : to)
      for (Index input : from) *at++ = input <= unit ? 1 : 0;
    masks.push_back(mask);
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
      degrees_(std::move(degrees)) {}

Var Made::operator()(const Var& x, const Pass& pass) const {
  const Var p = Mlp::operator()(x, pass);
  return reshape(p, Shape{x.size(0), std::ssize(order_), K_});
}

}  // namespace backflow::inline BACKFLOW_PRECISION
