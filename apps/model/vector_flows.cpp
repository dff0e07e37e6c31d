#include "backflow/apps/model/vector_flows.h"

#include "backflow/apps/model/contexts.h"
#include "backflow/flows/autoregressive/maf.h"
#include "backflow/flows/coupling/neural_spline.h"
#include "backflow/flows/coupling/nice.h"
#include "backflow/flows/coupling/real_nvp.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

Index context_of(const Config& config) { return contexts()[config.context].width; }

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

template <class Options>
Options options_of(const Site& site) {
  Options options;
  options.layers = static_cast<int>(site.config.num_layers);
  options.net = net_of(site.config);
  return options;
}

// Of a network of so many inputs and outputs: value, gradient of the input, gradient of the
// weights. What the context is given to has no gradient.
void add_net(std::vector<Product>& all, const Config& config, Index in, Index out) {
  const Index context = context_of(config), width = config.width;
  Index from = in;
  for (Index i = 0; i < config.depth; ++i) {
    all.push_back({3, {from}, {width, from}});
    from = width;
  }
  all.push_back({3, {from}, {out, from}});
  if (context == 0) return;
  all.push_back({2, {context}, {width, context}});
  all.push_back({2, {context}, {out, context}});
}

// Of an odd number of coordinates, those that a layer moves are those that the next one keeps.
std::vector<Product> coupling_products(const Site& site, Index parameters_of_transform) {
  std::vector<Product> all;
  const Index D = site.size();
  for (Index i = 0; i < site.config.num_layers; ++i) {
    const Index kept = i % 2 == 0 ? D - D / 2 : D / 2;
    add_net(all, site.config, kept, (D - kept) * parameters_of_transform);
  }
  return all;
}

}  // namespace

std::vector<Product> nice_products(const Site& site) { return coupling_products(site, 1); }
std::vector<Product> real_nvp_products(const Site& site) { return coupling_products(site, 2); }
std::vector<Product> neural_spline_coupling_products(const Site& site) {
  return coupling_products(site, 3 * NeuralSplineOptions().bins - 1);
}
std::vector<Product> maf_products(const Site& site) {
  std::vector<Product> all;
  for (Index i = 0; i < site.config.num_layers; ++i)
    add_net(all, site.config, site.size(), 2 * site.size());
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

}  // namespace backflow::inline BACKFLOW_PRECISION
