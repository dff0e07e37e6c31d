// The flows on vectors, (B, D), that a configuration can name as its layer: each is all of the
// model, num_layers layers with networks of `depth` hidden layers of `width` units, and otherwise
// what its function in flows/ makes of it by itself.
#pragma once

#include "backflow/apps/model/site.h"
#include "backflow/flows/conditioners/mlp.h"

namespace backflow::inline BACKFLOW_PRECISION {

std::unique_ptr<Flow> make_nice(const Site& site);
std::unique_ptr<Flow> make_real_nvp(const Site& site);
std::unique_ptr<Flow> make_maf(const Site& site);
std::unique_ptr<Flow> make_neural_spline_coupling(const Site& site);
std::unique_ptr<Flow> make_residual_flow(const Site& site);

// Of their networks.
std::vector<Product> nice_products(const Site& site);
std::vector<Product> real_nvp_products(const Site& site);
std::vector<Product> maf_products(const Site& site);
std::vector<Product> neural_spline_coupling_products(const Site& site);
std::vector<Product> residual_flow_products(const Site& site);

// ---- For others of the kind ---------------------------------------------------------------------

Net net_of(const Config& config);  // what the configuration says of a network

template <class Options>
Options options_of(const Site& site) {
  Options options;
  options.layers = static_cast<int>(site.config.num_layers);
  options.net = net_of(site.config);
  return options;
}

// Of a network of so many inputs and outputs: value, gradient of the input, gradient of the
// weights, of which a mask may leave a share. A context has no gradient.
void add_net(std::vector<Product>& all, const Config& config, Index in, Index out,
             double share = 1);
// The weights of these products.
void claim_all(const Site& site, const std::vector<Product>& products);

}  // namespace backflow::inline BACKFLOW_PRECISION
