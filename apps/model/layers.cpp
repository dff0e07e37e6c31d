#include "backflow/apps/model/layers.h"

#include <cmath>

#include "backflow/apps/model/contexts.h"
#include "backflow/apps/model/initial_values.h"
#include "backflow/apps/model/vector_flows.h"
#include "backflow/apps/model/whole_number_flow.h"
#include "backflow/flows/linear/conv1x1.h"
#include "backflow/flows/linear/conv_exponential.h"
#include "backflow/flows/linear/emerging.h"
#include "backflow/flows/linear/random_orthogonal.h"
#include "backflow/flows/linear/self_normalizing.h"
#include "backflow/flows/residual/residual.h"
#include "backflow/ops/conv.h"
#include "backflow/ops/linalg.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// ---- Initial values -----------------------------------------------------------------------------

struct Weights {
  Tensor W, R, b;  // R takes the place of the inverse
};

Weights matrix(const Site& site) {
  const Index D = site.size();
  site.claim(D * D);
  const auto [W, b] = initial_values()[site.config.init].make(D, site.random);
  return {W, transpose(W), b};
}

double standard_deviation(const Tensor& x) {
  const Tensor centered = x - mean(x);
  return std::sqrt(sum(centered * centered).item() / std::max<double>(1, x.size() - 1));
}

Shape kernel_shape(const Site& site) {
  const Index K = site.config.kernel_size;
  return {site.C, site.C, K, K};
}

// Dirac's kernel and a little noise, or for a single tap a random orthogonal matrix; a bias as
// wide as the noise; R is the flipped W.
Weights kernel(const Site& site) {
  const Index C = site.C, K = site.config.kernel_size;
  const Shape shape = kernel_shape(site);
  site.claim(shape.size());
  const double gain = 0.01, fan = static_cast<double>(C * K * K);
  const Tensor noise = normal(site.random, 1, shape) * (gain * std::sqrt(1 / fan));  // Xavier's
  Tensor W = noise;
  if (K == 1) {
    W = random_orthogonal(C, site.random).reshape(shape);
  } else {
    for (Index c = 0; c < C; ++c) W.mutable_data()[((c * C + c) * K + K / 2) * K + K / 2] += 1;
  }
  return {W, flip_kernel(W), normal(site.random, 2, {C}) * standard_deviation(noise)};
}

Weights weights(const Site& site) { return site.flat ? matrix(site) : kernel(site); }

// ---- How the layers are made --------------------------------------------------------------------

std::unique_ptr<Flow> exact(const Site& site) {
  const auto [W, R, b] = weights(site);
  return std::make_unique<Exact>(W, b);
}

std::unique_ptr<Flow> self_normalizing(const Site& site) {
  const Config& c = site.config;
  const auto [W, R, b] = weights(site);
  return std::make_unique<SelfNormalizing>(
      W, R, b,
      ReconstructionOptions{c.recon_weight, c.recon_symmetric, c.recon_only_R, c.geco_rate,
                            c.geco_decay});
}

std::unique_ptr<Flow> relative_gradient(const Site& site) {
  const auto [W, R, b] = weights(site);
  return std::make_unique<RelativeGradient>(W, b);
}

std::unique_ptr<Flow> emerging(const Site& site) {
  site.claim(site.C * site.C);
  return std::make_unique<Emerging>(site.C, site.random);
}

std::unique_ptr<Flow> exponential(const Site& site) {
  site.claim(site.C * site.C);
  return std::make_unique<ConvExponential>(site.C, site.H, site.W, site.random);
}

std::unique_ptr<Flow> conv1x1(const Site& site) {
  site.claim(site.C * site.C);
  return std::make_unique<Conv1x1>(random_orthogonal(site.C, site.random));
}

// ---- The products that they need ----------------------------------------------------------------

Product convolution(const Site& site, int times, Index K) {
  return {times, {site.C, site.H, site.W}, {site.C, site.C, K, K}};
}

Product product(const Site& site, int times) {
  const Index D = site.size();
  if (site.flat) return {times, {D}, {D, D}};
  return convolution(site, times, site.config.kernel_size);
}

// z, W^T d_z, dW; for a matrix also 2 D^3, an LU and an inverse.
std::vector<Product> exact_products(const Site& site) {
  Product all = product(site, 3);
  if (site.flat) all.flop_per_step = 2 * std::pow(static_cast<double>(site.size()), 3);
  return {all};
}

// z, R z, W^T d_z, R^T e, dW, dR.
std::vector<Product> self_normalizing_products(const Site& site) { return {product(site, 6)}; }

// z, W^T z, W^T d_z, dW.
std::vector<Product> relative_gradient_products(const Site& site) { return {product(site, 4)}; }

std::vector<Product> emerging_products(const Site& site) {
  return {convolution(site, 3, 1), convolution(site, 2 * 3, 2)};
}

std::vector<Product> exponential_products(const Site& site) {
  return {convolution(site, 3, 1), convolution(site, 3 * ConvExponential::training_terms, 3)};
}

std::vector<Product> conv1x1_products(const Site& site) { return {convolution(site, 3, 1)}; }

}  // namespace

bool LayerRow::suits(const std::string& architecture) const {
  return std::ranges::count(architectures, architecture) > 0;
}

const Table<LayerRow>& layers() {
  static const Table<LayerRow> all(
      "layer", {{"exact",
                 "log|det W| and its gradient by a factorization",
                 {"fc", "cnn", "glow"},
                 "exact",
                 true,
                 false,
                 exact,
                 exact_products},
                {"self_normalizing",
                 "a learned inverse R takes the place of W^-1 in the gradient",
                 {"fc", "cnn", "glow"},
                 "self-normalizing",
                 true,
                 true,
                 self_normalizing,
                 self_normalizing_products},
                {"relative_gradient",
                 "the gradient times W^T W, so that no inverse is left",
                 {"fc"},
                 "relative-gradient",
                 true,
                 false,
                 relative_gradient,
                 relative_gradient_products},
                {"emerging",
                 "two autoregressive convolutions, the second on the mirrored image",
                 {"cnn"},
                 "emerging convolution",
                 false,
                 false,
                 emerging,
                 emerging_products},
                {"exponential",
                 "exp of a convolution, by its series",
                 {"cnn"},
                 "convolution exponential",
                 false,
                 false,
                 exponential,
                 exponential_products},
                {"conv1x1",
                 "the channels of each pixel times one matrix",
                 {"glow"},
                 "1x1 conv",
                 false,
                 false,
                 conv1x1,
                 conv1x1_products},
                {"nice",
                 "additive couplings, and a scale for each pixel",
                 {"vector"},
                 "NICE",
                 false,
                 false,
                 make_nice,
                 nice_products,
                 true},
                {"real_nvp",
                 "affine couplings",
                 {"vector"},
                 "Real NVP",
                 false,
                 false,
                 make_real_nvp,
                 real_nvp_products,
                 true},
                {"maf",
                 "masked autoregressive flow: affine, each pixel as those before it say",
                 {"vector"},
                 "MAF",
                 false,
                 false,
                 make_maf,
                 maf_products,
                 true},
                {"neural_spline_coupling",
                 "couplings by monotone splines",
                 {"vector"},
                 "neural spline couplings",
                 false,
                 false,
                 make_neural_spline_coupling,
                 neural_spline_coupling_products,
                 true},
                {"integer_discrete_flow",
                 "whole numbers are added to whole pixels, which get a probability",
                 {"vector"},
                 "integer discrete flow",
                 false,
                 false,
                 make_integer_discrete_flow,
                 integer_discrete_flow_products,
                 false,
                 make_split_mixture},
                {"residual_flow",
                 "blocks x + g(x); an unbiased estimate of the likelihood",
                 {"vector"},
                 "Residual Flow",
                 false,
                 false,
                 make_residual_flow,
                 residual_flow_products,
                 false,
                 nullptr,
                 Residual::most_exact}});
  return all;
}

void check_layer(const std::string& layer, const std::string& architecture) {
  const auto suitable =
      layers().where([&](const LayerRow& row) { return row.suits(architecture); });
  if (suitable.contains(layer)) return;
  if (!layers().contains(layer)) fail(suitable.what(), suitable.not_found(layer));
  fail(suitable.what(), "expected one of ", suitable.in_words(), ", got '", layer,
       "', which does not suit ", architecture);
}

void check_layer_context(const std::string& context, const std::string& layer) {
  if (contexts()[context].width == 0 || layers()[layer].takes_context) return;
  const auto taking = layers().where([](const LayerRow& row) { return row.takes_context; });
  fail("context", "expected none, for the layer ", layer, " takes no context, got '", context,
       "'; those that do: ", taking.in_words());
}

}  // namespace backflow::inline BACKFLOW_PRECISION
