#include "backflow/apps/zoo/flows.h"

#include <cmath>

#include "backflow/apps/data/purposes.h"
#include "backflow/apps/zoo/targets.h"
#include "backflow/flows/autoregressive/block_naf.h"
#include "backflow/flows/autoregressive/iaf.h"
#include "backflow/flows/autoregressive/maf.h"
#include "backflow/flows/autoregressive/naf.h"
#include "backflow/flows/autoregressive/neural_spline.h"
#include "backflow/flows/autoregressive/sos.h"
#include "backflow/flows/coupling/flowpp.h"
#include "backflow/flows/coupling/neural_spline.h"
#include "backflow/flows/coupling/nice.h"
#include "backflow/flows/coupling/real_nvp.h"
#include "backflow/flows/discrete/discretized_logistic.h"
#include "backflow/flows/discrete/integer_discrete_flow.h"
#include "backflow/flows/inverted.h"
#include "backflow/flows/residual/residual.h"
#include "backflow/flows/variational/planar.h"
#include "backflow/flows/variational/radial.h"
#include "backflow/flows/variational/sylvester.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// ---- How each is made ---------------------------------------------------------------------------

Net net(const ZooConfig& config, const ZooSite& site, Var (*activation)(const Var&) = relu) {
  return {
      .hidden = {config.width, config.width}, .activation = activation, .context = site.context};
}
int layers(const ZooConfig& config) { return static_cast<int>(config.layers); }

ZooModel with_normal_base(std::unique_ptr<Flow> flow) {
  return {std::move(flow), std::make_unique<StandardNormal>()};
}
// As most are made: by a function of the library, of options with layers and a network.
template <class Options, auto make>
ZooModel made(const ZooConfig& config, const ZooSite& site, const Random& random) {
  Options options;
  options.layers = layers(config);
  options.net = net(config, site, options.net.activation);
  return with_normal_base(make(site.dimensions, options, random));
}

// Its fast direction is from noise to data, which is what an energy needs. To learn from data it is
// turned around as well, and takes its slow one. There ReLU loses no modes, and learns faster.
ZooModel made_iaf(const ZooConfig& config, const ZooSite& site, const Random& random) {
  IafOptions options;
  options.layers = layers(config);
  options.net = net(config, site, site.energy ? options.net.activation : relu);
  return with_normal_base(std::make_unique<Inverted>(iaf(site.dimensions, options, random)));
}

// With a gate, since the plain form is not onto: noise outside of its box is no sample.
ZooModel made_block_naf(const ZooConfig& config, const ZooSite& site, const Random& random) {
  const BlockNafOptions options{.hidden = {config.width, config.width},
                                .form = BlockNafForm::gated,
                                .context = site.context,
                                .layers = layers(config)};
  return with_normal_base(block_naf(site.dimensions, options, random));
}

// The energies u2 to u4 are three times as wide as the noise along the first axis. A flow that has
// to grow so wide by bends alone may be left with parts that none of its samples reaches; so the
// scale in front of the bends, a parameter, begins there.
void begin_wide(const Flow& flow) {
  for (const NamedParameter& scale : flow.parameters())
    if (scale.name == "0.log_scale")
      scale.parameter->update([](std::span<Real> values) { values[0] = Real(1.2); });
}

// Fast is the direction in which they are written: from noise to data for an energy, from data to
// noise by likelihood.
template <class Options, auto make>
ZooModel made_of_bends(const ZooConfig& config, const ZooSite& site, const Random& random) {
  Options options;
  options.layers = layers(config);
  options.ends = site.energy ? Ends::diagonal : Ends::actnorm;
  std::unique_ptr<Flow> flow = make(site.dimensions, options, random);
  if (site.energy) {
    begin_wide(*flow);
    flow = std::make_unique<Inverted>(std::move(flow));
  }
  return with_normal_base(std::move(flow));
}

template <class Options, auto make>
ZooModel made_of_blocks(const ZooConfig& config, const ZooSite& site, const Random& random) {
  Options options;
  options.blocks = config.layers;
  options.hidden = {config.width, config.width};
  options.context = site.context;
  if (site.dimensions <= Residual::most_exact) options.estimator = LogdetEstimator::exact;
  return with_normal_base(make(site.dimensions, options, random));
}

ZooModel made_of_integers(const ZooConfig& config, const ZooSite& site, const Random& random) {
  const IdfOptions options{
      .layers = layers(config), .net = net(config, site), .step = zoo_grid_step};
  return {integer_discrete_flow(site.dimensions, options, random),
          std::make_unique<DiscretizedLogisticMixture>(
              Shape{site.dimensions}, 16, DiscretizedOptions{.step = zoo_grid_step, .scale = 0.2})};
}

// ---- Defaults -----------------------------------------------------------------------------------

struct Numbers {
  Index layers, width, steps;
  double lr = 3e-3;
  Index warmup_steps = 0;
  double max_grad_norm = 5;
};
ZooConfig with(const Numbers& numbers) {
  ZooConfig config;
  config.layers = numbers.layers;
  config.width = numbers.width;
  config.steps = numbers.steps;
  config.lr = numbers.lr;
  config.warmup_steps = numbers.warmup_steps;
  config.max_grad_norm = numbers.max_grad_norm;
  return config;
}

bool is_energy(const std::string& target) { return !target.empty() && targets()[target].energy; }

template <Numbers for_all>
ZooConfig same_for_all(const std::string&) {
  return with(for_all);
}
template <Numbers for_data, Numbers for_energies>
ZooConfig by_kind(const std::string& target) {
  return with(is_energy(target) ? for_energies : for_data);
}

// ---- Reasons ------------------------------------------------------------------------------------

constexpr Reason no_network = "it has no network that could take one";
constexpr Reason learns_from_samples =
    "it learns from samples of its target, and an energy has none; iaf, planar, radial and "
    "sylvester learn from their own";
constexpr Reason slow_samples =
    "an energy is learned from samples of the flow itself, which here are the slow direction; iaf, "
    "planar, radial and sylvester have fast ones";
constexpr Reason whole_numbers =
    "it is a flow of whole numbers, and learns targets that are rounded to multiples of 1/8";

}  // namespace

const Table<ZooFlow>& zoo_flows() {
  static const Table<ZooFlow> table(
      "flow", {{.name = "nice",
                .help = "couplings that add",
                .paper = "Dinh et al. 2014",
                .fast = "both",
                .inverse = "formula",
                .least_dimensions = 2,
                .why_no_energy = learns_from_samples,
                .defaults = same_for_all<Numbers{24, 32, 16000, 5e-3, 200, 1}>,
                .make = made<NiceOptions, nice>},
               {.name = "real_nvp",
                .help = "couplings that stretch and add",
                .paper = "Dinh et al. 2017",
                .fast = "both",
                .inverse = "formula",
                .least_dimensions = 2,
                .why_no_energy = learns_from_samples,
                .defaults = same_for_all<Numbers{16, 32, 12000}>,
                .make = made<RealNvpOptions, real_nvp>},
               {.name = "flowpp",
                .help = "couplings by mixtures of logistics",
                .paper = "Ho et al. 2019",
                .fast = "density",
                .inverse = "a root for each number",
                .least_dimensions = 2,
                .why_no_energy = learns_from_samples,
                .defaults = same_for_all<Numbers{4, 64, 4000}>,
                .make = made<FlowppOptions, flowpp>},
               {.name = "neural_spline_coupling",
                .help = "couplings by rational splines",
                .paper = "Durkan et al. 2019",
                .fast = "both",
                .inverse = "formula",
                .least_dimensions = 2,
                .why_no_energy = learns_from_samples,
                .defaults = same_for_all<Numbers{4, 32, 4000}>,
                .make = made<NeuralSplineOptions, neural_spline_coupling>},
               {.name = "neural_spline_autoregressive",
                .help = "rational splines, each given those before",
                .paper = "Durkan et al. 2019",
                .fast = "density",
                .inverse = "by coordinates",
                .why_no_energy = slow_samples,
                .defaults = same_for_all<Numbers{3, 32, 4000}>,
                .make = made<NeuralSplineOptions, neural_spline_autoregressive>},
               {.name = "maf",
                .help = "affine maps, each given those before",
                .paper = "Papamakarios et al. 2017",
                .fast = "density",
                .inverse = "by coordinates",
                .why_no_energy = slow_samples,
                .defaults = same_for_all<Numbers{16, 32, 12000}>,
                .make = made<MafOptions, maf>},
               {.name = "iaf",
                .help = "MAF turned around",
                .paper = "Kingma et al. 2016",
                .fast = "samples",
                .inverse = "by coordinates",
                .defaults = by_kind<Numbers{12, 32, 8000, 3e-3, 200, 1}, Numbers{8, 32, 5000}>,
                .make = made_iaf},
               {.name = "naf",
                .help = "sums of sigmoids, each given those before",
                .paper = "Huang et al. 2018",
                .fast = "density",
                .inverse = "by coordinates, a root each",
                .why_no_energy = slow_samples,
                .defaults = same_for_all<Numbers{2, 32, 4000}>,
                .make = made<NafOptions, naf>},
               {.name = "sos",
                .help = "polynomials, each given those before",
                .paper = "Jaini et al. 2019",
                .fast = "density",
                .inverse = "by coordinates, a root each",
                .why_no_energy = slow_samples,
                .defaults = same_for_all<Numbers{4, 64, 10000, 2e-3, 200, 1}>,
                .make = made<SosOptions, sos>},
               {.name = "block_naf",
                .help = "one network that is a bijection",
                .paper = "De Cao et al. 2019",
                .fast = "density",
                .inverse = "by coordinates, a root each",
                .why_no_energy = slow_samples,
                .defaults = same_for_all<Numbers{1, 50, 12000, 3e-2}>,
                .make = made_block_naf},
               {.name = "planar",
                .help = "bends across planes",
                .paper = "Rezende & Mohamed 2015",
                .fast = "samples",
                .inverse = "a root",
                .why_no_context = no_network,
                .has_networks = false,
                .defaults = same_for_all<Numbers{32, 0, 20000, 5e-3}>,
                .make = made_of_bends<PlanarOptions, planar>},
               {.name = "radial",
                .help = "swellings about points",
                .paper = "Rezende & Mohamed 2015",
                .fast = "samples",
                .inverse = "formula",
                .why_no_context = no_network,
                .has_networks = false,
                .defaults = same_for_all<Numbers{32, 0, 8000, 1e-2}>,
                .make = made_of_bends<RadialOptions, radial>},
               {.name = "sylvester",
                .help = "several bends at once",
                .paper = "van den Berg et al. 2018",
                .fast = "samples",
                .inverse = "M roots, one after another",
                .why_no_context = no_network,
                .has_networks = false,
                .defaults = same_for_all<Numbers{32, 0, 10000, 5e-3}>,
                .make = made_of_bends<SylvesterOptions, sylvester>},
               {.name = "i_resnet",
                .help = "residual blocks that are contractive",
                .paper = "Behrmann et al. 2019",
                .fast = "density, estimated",
                .inverse = "fixed point",
                .why_no_energy = slow_samples,
                .estimated_beyond = Residual::most_exact,
                .defaults = same_for_all<Numbers{16, 32, 3000, 1e-2, 200, 1}>,
                .make = made_of_blocks<IResNetOptions, i_resnet>},
               {.name = "residual_flow",
                .help = "the same, with unbiased estimates",
                .paper = "Chen et al. 2019",
                .fast = "density, estimated",
                .inverse = "fixed point",
                .why_no_energy = slow_samples,
                .estimated_beyond = Residual::most_exact,
                .defaults = same_for_all<Numbers{16, 32, 3000, 1e-2, 200, 1}>,
                .make = made_of_blocks<ResidualFlowOptions, residual_flow>},
               {.name = "integer_discrete_flow",
                .help = "couplings of whole numbers",
                .paper = "Hoogeboom et al. 2019",
                .fast = "both",
                .inverse = "formula",
                .least_dimensions = 2,
                .why_no_energy = whole_numbers,
                .why_no_table = whole_numbers,
                .of_integers = true,
                .defaults = same_for_all<Numbers{8, 128, 12000, 1e-3}>,
                .make = made_of_integers}});
  return table;
}

ZooConfig zoo_defaults(const std::string& flow, const std::string& target) {
  ZooConfig config = zoo_flows()[flow].defaults(target);
  config.flow = flow;
  config.target = target;
  return config;
}

void validate(const ZooConfig& config) {
  const ZooFlow& flow = zoo_flows()[config.flow];
  if (config.target.empty() == config.data.empty())
    fail("target", "expected a target or a table of data, got ",
         config.target.empty() ? "neither" : "both");
  if (config.target.empty() && flow.why_no_table) fail("data", flow.name, ": ", flow.why_no_table);
  if (is_energy(config.target) && flow.why_no_energy)
    fail("target", flow.name, " does not learn ", config.target, ": ", flow.why_no_energy);
  if (!config.context.empty() && flow.why_no_context)
    fail("context", flow.name, " takes none: ", flow.why_no_context);
  const auto in_range = [](const char* key, Index value, Index least, Index most) {
    if (value < least || value > most) fail(key, "expected ", least, " to ", most, ", got ", value);
  };
  constexpr Index many = 1'000'000'000;  // products of two of them still fit
  in_range("layers", config.layers, 1, 1000);
  if (flow.has_networks) {
    in_range("width", config.width, 1, 65536);
  } else if (config.width != 0) {
    fail("width", "expected 0, ", flow.name, " has no networks, got ", config.width);
  }
  in_range("steps", config.steps, 1, many);
  in_range("batch_size", config.batch_size, 1, many);
  in_range("warmup_steps", config.warmup_steps, 0, many);
  in_range("seed", config.seed, 0, std::numeric_limits<Index>::max());
  if (!std::isfinite(config.lr) || config.lr <= 0)
    fail("lr", "expected a positive number, got ", config.lr);
  if (!std::isfinite(config.max_grad_norm) || config.max_grad_norm < 0)
    fail("max_grad_norm", "expected at least 0, got ", config.max_grad_norm);
}

ZooModel make_zoo_model(const ZooConfig& config, Index dimensions, Index context) {
  validate(config);
  const ZooFlow& flow = zoo_flows()[config.flow];
  if (dimensions < flow.least_dimensions)
    fail("flow", flow.name, " splits its coordinates in two: expected at least ",
         flow.least_dimensions, " columns, got ", dimensions);
  if (context > 0 && flow.why_no_context)
    fail("context", flow.name, " takes none: ", flow.why_no_context);
  return flow.make(config, {dimensions, context, is_energy(config.target)},
                   Random(static_cast<std::uint64_t>(config.seed), purposes::initialization));
}

}  // namespace backflow::inline BACKFLOW_PRECISION
