#include "backflow/apps/model/vector_flows.h"

#include "backflow/apps/model/contexts.h"
#include "backflow/flows/autoregressive/maf.h"
#include "backflow/flows/coupling/neural_spline.h"
#include "backflow/flows/coupling/nice.h"
#include "backflow/flows/coupling/real_nvp.h"
#include "backflow/flows/residual/residual.h"

namespace backflow::inline BACKFLOW_PRECISION {

static Index context_of(const Config& config) { return contexts()[config.context].width; }

Net net_of(const Config& config) {
  Net net;
  net.hidden.assign(static_cast<std::size_t>(config.depth), config.width);
  net.context = context_of(config);
  return net;
}

void claim_all(const Site& site, const std::vector<Product>& products) {
  Index parameters = 0;
  for (const Product& product : products) parameters += product.w.size();
  site.claim(parameters);
}

void add_net(std::vector<Product>& all, const Config& config, Index in, Index out, double share) {
  const Index context = context_of(config), width = config.width;
  Index from = in;
  for (Index i = 0; i < config.depth; ++i) {
    all.push_back({3, {from}, {width, from}, 0, share});
    from = width;
  }
  all.push_back({3, {from}, {out, from}, 0, share});
  if (context == 0) return;
  all.push_back({2, {context}, {width, context}});
  all.push_back({2, {context}, {out, context}});
}

// Of an odd number of coordinates, those that a layer moves are those that the next one keeps.
static std::vector<Product> coupling_products(const Site& site, Index parameters_of_transform) {
  std::vector<Product> all;
  const Index D = site.size();
  for (Index i = 0; i < site.config.num_layers; ++i) {
    const Index kept = i % 2 == 0 ? D - D / 2 : D / 2;
    add_net(all, site.config, kept, (D - kept) * parameters_of_transform);
  }
  return all;
}

std::vector<Product> nice_products(const Site& site) { return coupling_products(site, 1); }
std::vector<Product> real_nvp_products(const Site& site) { return coupling_products(site, 2); }
std::vector<Product> neural_spline_coupling_products(const Site& site) {
  return coupling_products(site, 3 * NeuralSplineOptions().bins - 1);
}

// Half of each matrix is masked, but for a sliver: a unit of degree d reads d of D others.
std::vector<Product> maf_products(const Site& site) {
  std::vector<Product> all;
  for (Index i = 0; i < site.config.num_layers; ++i)
    add_net(all, site.config, site.size(), 2 * site.size(), 0.5);
  return all;
}

// Beside a block's network, the tangents that an estimate of its log-determinant takes at least:
// those of the first terms of the series, and one whose gradients are those of the weights.
std::vector<Product> residual_flow_products(const Site& site) {
  const int tangents = ResidualFlowOptions().series.terms + 3;
  std::vector<Product> all;
  for (Index i = 0; i < site.config.num_layers; ++i)
    add_net(all, site.config, site.size(), site.size());
  for (Product& product : all) product.times += tangents;
  return all;
}

std::unique_ptr<Flow> make_nice(const Site& site) {
  claim_all(site, nice_products(site));
  return nice(site.size(), options_of<NiceOptions>(site), site.random);
}
std::unique_ptr<Flow> make_real_nvp(const Site& site) {
  claim_all(site, real_nvp_products(site));
  return real_nvp(site.size(), options_of<RealNvpOptions>(site), site.random);
}
std::unique_ptr<Flow> make_maf(const Site& site) {
  claim_all(site, maf_products(site));
  return maf(site.size(), options_of<MafOptions>(site), site.random);
}
std::unique_ptr<Flow> make_neural_spline_coupling(const Site& site) {
  claim_all(site, neural_spline_coupling_products(site));
  return neural_spline_coupling(site.size(), options_of<NeuralSplineOptions>(site), site.random);
}
std::unique_ptr<Flow> make_residual_flow(const Site& site) {
  claim_all(site, residual_flow_products(site));
  ResidualFlowOptions options;
  options.blocks = site.config.num_layers;
  options.hidden = net_of(site.config).hidden;
  return residual_flow(site.size(), options, site.random);
}

}  // namespace backflow::inline BACKFLOW_PRECISION
