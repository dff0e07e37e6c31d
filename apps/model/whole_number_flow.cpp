#include "backflow/apps/model/whole_number_flow.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "backflow/apps/model/vector_flows.h"
#include "backflow/flows/discrete/integer_discrete_flow.h"
#include "backflow/flows/discrete/split_mixture.h"
#include "backflow/flows/permute.h"
#include "backflow/flows/sequential.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// What the flow calls a step of a pixel: the learning rate moves the couplings' shifts by some of
// them, and the networks see numbers of up to 16.
constexpr double step = 1.0 / 16;
constexpr Index most_parts = 8;
constexpr Index base_stream = 1 << 16;  // beyond those of the couplings

// Pixels row by row to those of a coarse grid first, then those in the middle of its squares, and
// so on: sixteen grids, each of every fourth pixel of every fourth row. A quarter of the order, or
// an eighth, is spread over the whole image.
std::vector<Index> coarse_to_fine(const Site& site) {
  constexpr std::array<std::array<int, 4>, 4> rank = {
      {{0, 8, 2, 10}, {12, 4, 14, 6}, {3, 11, 1, 9}, {15, 7, 13, 5}}};
  std::vector<Index> order(static_cast<std::size_t>(site.size()));
  std::iota(order.begin(), order.end(), Index{0});
  std::ranges::stable_sort(order, {}, [&](Index i) {
    return rank[static_cast<std::size_t>(i / site.W % site.H % 4)]
               [static_cast<std::size_t>(i % site.W % 4)];
  });
  return order;
}

// Behind the layers of integer_discrete_flow(), which turn the order by a quarter between each two:
// from the first again.
std::vector<Index> turned_back(Index D, Index layers) {
  const Index turned = (D + 3) / 4 * (layers - 1) % D;
  std::vector<Index> order;
  for (Index i = 0; i < D; ++i) order.push_back((i + turned) % D);
  return order;
}

SplitMixtureOptions mixture_of(const Site& site) {
  constexpr double black = 0, white = 253, between = 128;  // in MNIST's strokes 253 is the mode
  return {
      .step = step,
      .parts = std::min(most_parts, site.size()),
      .net = net_of(site.config),
      .components = {
          {black * step, 0.4 * step, 2}, {white * step, 1.5 * step}, {between * step, 40 * step}}};
}

std::vector<Product> coupling_products(const Site& site) {
  std::vector<Product> all;
  const Index D = site.size(), quarter = (D + 3) / 4;
  for (Index i = 0; i < site.config.num_layers; ++i)
    add_net(all, site.config, D - quarter, quarter);
  return all;
}

std::vector<Product> mixture_products(const Site& site) {
  std::vector<Product> all;
  const SplitMixtureOptions options = mixture_of(site);
  for (Index part = 1; part < options.parts; ++part) {
    const Index first = part * site.size() / options.parts;
    const Index end = (part + 1) * site.size() / options.parts;
    add_net(all, site.config, first, (end - first) * 3 * std::ssize(options.components));
  }
  return all;
}

}  // namespace

std::vector<Product> integer_discrete_flow_products(const Site& site) {
  std::vector<Product> all = coupling_products(site);
  std::ranges::copy(mixture_products(site), std::back_inserter(all));
  return all;
}

std::unique_ptr<Flow> make_integer_discrete_flow(const Site& site) {
  claim_all(site, coupling_products(site));
  IdfOptions options = options_of<IdfOptions>(site);
  options.step = step;
  std::vector<std::unique_ptr<Flow>> layers;
  layers.push_back(std::make_unique<WholeNumbers>(step));
  layers.push_back(std::make_unique<Permute>(coarse_to_fine(site)));
  layers.push_back(integer_discrete_flow(site.size(), options, site.random));
  layers.push_back(std::make_unique<Permute>(turned_back(site.size(), options.layers)));
  return std::make_unique<Sequential>(std::move(layers));
}

std::unique_ptr<Base> make_split_mixture(const Site& site) {
  claim_all(site, mixture_products(site));
  return std::make_unique<SplitLogisticMixture>(site.size(), mixture_of(site),
                                                site.random.stream(base_stream));
}

}  // namespace backflow::inline BACKFLOW_PRECISION
