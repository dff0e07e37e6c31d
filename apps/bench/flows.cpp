// What each flow of the zoo takes for a training step, for densities, and for samples, in a form
// that another library's program can be raced against. Build and run:
//
//   ninja -C build apps/bench/flows && build/apps/bench/flows --filter 'maf D=64'
//
// Two settings: D = 2, batches of 256, 8 layers, networks 2-32-32-...; and D = 64, batches of 512,
// 5 layers, networks 64-256-256-... ReLU between them, splines of 8 bins. Each flow is first
// trained for a few steps: at the identity, where flows begin, splines and root finders have less
// to do.
//
// The target is the same for all, so that no training diverges: coordinate i is normal, with
// standard deviation 1/2, about sin(2 x_{i-1}). Flows that are fast from noise to data learn from
// its energy by reverse KL, all others from its samples by likelihood.
#include <cblas.h>
#include <time.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <nlohmann/json.hpp>

#include "backflow/apps/bench/stopwatch.h"
#include "backflow/apps/command_line/answers.h"
#include "backflow/apps/command_line/command.h"
#include "backflow/engine/backward.h"
#include "backflow/engine/optimizer.h"
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
#include "backflow/flows/density.h"
#include "backflow/flows/discrete/discretized_logistic.h"
#include "backflow/flows/discrete/integer_discrete_flow.h"
#include "backflow/flows/inverted.h"
#include "backflow/flows/residual/residual.h"
#include "backflow/flows/variational/planar.h"
#include "backflow/flows/variational/radial.h"
#include "backflow/flows/variational/sylvester.h"
#include "backflow/ops/blas.h"
#include "backflow/ops/functions.h"
#include "backflow/ops/instructions.h"
#include "backflow/ops/matmul.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"
#include "backflow/ops/subnormals.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Json = nlohmann::ordered_json;
using FlowPtr = std::unique_ptr<Flow>;

// ---- The flows ----------------------------------------------------------------------------------

struct Setting {
  Index D, batch;
  int layers;
  std::vector<Index> hidden;
};

enum class Learns { from_data, from_integers, from_energy };

struct Subject {
  const char* name;
  Learns learns;
  bool has_products;  // networks whose products are a good part of the time
  FlowPtr (*make)(const Setting&, const Random&);
};

constexpr double integer_step = 0.125;
constexpr int variational_layers = 32;

// The options of flows that are made of as many layers, each with a network.
template <class Options>
Options with_nets(const Setting& setting) {
  Options options;
  options.layers = setting.layers;
  options.net.hidden = setting.hidden;
  options.net.activation = relu;
  return options;
}

template <class Options, FlowPtr (*make)(Index, const Options&, const Random&)>
FlowPtr of_nets(const Setting& setting, const Random& random) {
  return make(setting.D, with_nets<Options>(setting), random);
}

FlowPtr inverted_iaf(const Setting& setting, const Random& random) {
  return std::make_unique<Inverted>(iaf(setting.D, with_nets<IafOptions>(setting), random));
}

template <class Options, FlowPtr (*make)(Index, const Options&, const Random&)>
FlowPtr inverted_variational(const Setting& setting, const Random& random) {
  Options options;
  options.layers = variational_layers;
  return std::make_unique<Inverted>(make(setting.D, options, random));
}

// One network of 2 x 100 units. For 64 coordinates so many each would be 41 million weights. The
// plain form has no samples outside a box.
FlowPtr one_block_naf(const Setting& setting, const Random& random) {
  const Index units = setting.D > 8 ? 10 : 50;
  return block_naf(setting.D, {.hidden = {units, units}, .form = BlockNafForm::gated}, random);
}

FlowPtr discrete(const Setting& setting, const Random& random) {
  IdfOptions options = with_nets<IdfOptions>(setting);
  options.step = integer_step;
  return integer_discrete_flow(setting.D, options, random);
}

// Few dimensions have the exact log-determinant, which is cheaper there.
template <class Options, FlowPtr (*make)(Index, const Options&, const Random&)>
FlowPtr residual_blocks(const Setting& setting, const Random& random) {
  Options options;
  options.blocks = setting.layers;
  options.hidden = setting.hidden;
  if (setting.D <= 8) options.estimator = LogdetEstimator::exact;
  return make(setting.D, options, random);
}

constexpr Subject subjects[] = {
    {"nice", Learns::from_data, true, of_nets<NiceOptions, nice>},
    {"real_nvp", Learns::from_data, true, of_nets<RealNvpOptions, real_nvp>},
    {"flowpp", Learns::from_data, true, of_nets<FlowppOptions, flowpp>},
    {"neural_spline_coupling", Learns::from_data, true,
     of_nets<NeuralSplineOptions, neural_spline_coupling>},
    {"neural_spline_autoregressive", Learns::from_data, true,
     of_nets<NeuralSplineOptions, neural_spline_autoregressive>},
    {"maf", Learns::from_data, true, of_nets<MafOptions, maf>},
    {"iaf", Learns::from_energy, true, inverted_iaf},
    {"naf", Learns::from_data, true, of_nets<NafOptions, naf>},
    {"sos", Learns::from_data, true, of_nets<SosOptions, sos>},
    {"block_naf", Learns::from_data, false, one_block_naf},
    {"planar", Learns::from_energy, false, inverted_variational<PlanarOptions, planar>},
    {"radial", Learns::from_energy, false, inverted_variational<RadialOptions, radial>},
    {"sylvester", Learns::from_energy, false, inverted_variational<SylvesterOptions, sylvester>},
    {"i_resnet", Learns::from_data, false, residual_blocks<IResNetOptions, i_resnet>},
    {"residual_flow", Learns::from_data, false,
     residual_blocks<ResidualFlowOptions, residual_flow>},
    {"integer_discrete_flow", Learns::from_integers, true, discrete},
};

// ---- The target ---------------------------------------------------------------------------------

constexpr double deviation = 0.5;

Tensor target_samples(const Shape& shape, const Random& random) {
  const Tensor noise = random.normal(shape);
  Tensor x = Tensor::empty(shape);
  const Index D = shape[1];
  for (Index i = 0; i < shape.size(); ++i) {
    const double before = i % D == 0 ? 0 : x[i - 1];
    x.mutable_data()[i] = static_cast<Real>(deviation * noise[i] + std::sin(2 * before));
  }
  return x;
}

Var target_energy(const Var& x) {
  const Index D = x.size(1);
  const Var means = concat({Tensor::zeros({x.size(0), 1}), sin(2.0 * slice(x, 1, 0, D - 1))}, 1);
  return sum_examples(square(x - means)) * (0.5 / (deviation * deviation));
}

// ---- What is timed ------------------------------------------------------------------------------

class Racer {
 public:
  Racer(const Subject& subject, const Setting& setting)
      : subject_(subject),
        setting_(setting),
        flow_(subject.make(setting, Random(1))),
        base_({setting.D}, {.step = integer_step}),
        density_(*flow_, {setting.D}, base()),
        adam_(density_.parameters()),
        x_(target_samples({setting.batch, setting.D}, Random(2))) {
    if (subject.learns == Learns::from_integers)
      x_ = pointwise(x_, [](Real x) {
        return static_cast<Real>(integer_step * std::nearbyint(x / integer_step));
      });
  }

  void train() {
    constexpr double learning_rate = 1e-3;
    Pass pass;
    pass.mode = Mode::train;
    pass.noise = Random(3).at_epoch(steps_++);
    adam_.step(backward(loss(pass)), learning_rate);
  }

  void evaluate() const {
    Pass pass;
    pass.probes = Random(4);  // for log-determinants that exact mode cannot compute
    density_.log_prob(x_, pass);
  }

  // What other libraries have where log-determinants are estimated, from one draw.
  void estimate() const {
    const NoGrad no_grad;
    Pass pass;
    pass.mode = Mode::train;
    pass.step_begun = true;
    pass.noise = Random(4);
    density_.objective(x_, pass);
  }

  void draw() const { density_.sample(setting_.batch, Random(5)); }

  const Flow& flow() const { return *flow_; }

 private:
  const Base& base() const {
    if (subject_.learns == Learns::from_integers) return base_;
    return standard_normal();
  }

  Var loss(Pass& pass) const {
    if (subject_.learns != Learns::from_energy) return -mean(density_.objective(x_, pass));
    const RecordedSample drawn =
        density_.recorded_sample_and_log_prob(setting_.batch, *pass.noise, pass);
    return mean(drawn.log_prob + target_energy(drawn.x));
  }

  const Subject& subject_;
  const Setting& setting_;
  FlowPtr flow_;
  DiscretizedLogistic base_;
  Density density_;
  Adam adam_;
  Tensor x_;
  std::uint32_t steps_ = 0;
};

// The products of a step that the networks cannot do without, at the rate of our own product: that
// of each weight with a batch, and those of the two gradients. Masks of zeros do not count.
class Products {
 public:
  Products(const Flow& flow, Index batch) {
    for (const auto& [name, parameter] : flow.parameters()) {
      if (parameter->shape().rank() != 2) continue;
      const Shape& w = parameter->shape();
      all_.push_back(
          {Random(1).normal({batch, w[1]}), Random(2).normal(w), Random(3).normal({batch, w[0]})});
      flop_ += 6.0 * static_cast<double>(batch * w[0] * w[1]);
    }
  }
  void run() const {
    for (const auto& [x, w, g] : all_) {
      matmul(x, transposed(w));
      matmul(g, w);
      matmul(transposed(g), x);
    }
  }
  double flop() const { return flop_; }

 private:
  struct Product {
    Tensor x, w, g;
  };
  std::vector<Product> all_;
  double flop_ = 0;
};

// ---- Timing -------------------------------------------------------------------------------------

double cpu_milliseconds() {
  timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return 1e3 * static_cast<double>(now.tv_sec) + 1e-6 * static_cast<double>(now.tv_nsec);
}

// Medians. The processors' time counts that of all threads, those that wait for work among them.
struct Time {
  double ms = 0, cpu_ms = 0;
};

template <class Work>
Time time(double seconds, const Work& work) {
  constexpr std::size_t least = 5, most = 2000;
  std::vector<double> ms, cpu;
  work();
  for (double total = 0; ms.size() < least || (total < 1e3 * seconds && ms.size() < most);) {
    const double before = cpu_milliseconds();
    ms.push_back(milliseconds(work));
    cpu.push_back(cpu_milliseconds() - before);
    total += ms.back();
  }
  return {median(std::move(ms)), median(std::move(cpu))};
}

struct Row {
  std::string name;
  const Setting& setting;
  Time step, density, samples, products, estimate;
  double product_flop = 0;
};

Row measure(const Subject& subject, const Setting& setting, const std::string& name,
            double seconds) {
  constexpr int first_steps = 50;
  Racer racer(subject, setting);
  for (int i = 0; i < first_steps; ++i) racer.train();
  Row row{name, setting, {}, {}, {}, {}, {}};
  row.density = time(seconds, [&] { racer.evaluate(); });
  row.samples = time(seconds, [&] { racer.draw(); });
  row.step = time(seconds, [&] { racer.train(); });
  if (!racer.flow().exact_in_training()) row.estimate = time(seconds, [&] { racer.estimate(); });
  if (!subject.has_products) return row;
  const Products products(racer.flow(), setting.batch);
  row.products = time(seconds, [&] { products.run(); });
  row.product_flop = products.flop();
  return row;
}

// Of two matrices of 1024 x 1024.
Time square_product() {
  const Tensor a = Random(1).normal({1024, 1024}), b = Random(2).normal({1024, 1024});
  return time(0.3, [&] { matmul(a, b); });
}
double square_gflops(double ms) { return 2.0 * 1024 * 1024 * 1024 / ms / 1e6; }

// ---- Printing -----------------------------------------------------------------------------------

Json as_json(const Time& time) { return {{"ms", time.ms}, {"cpu_ms", time.cpu_ms}}; }

Json as_json(const Row& row) {
  Json json{{"name", row.name},
            {"dimensions", row.setting.D},
            {"batch_size", row.setting.batch},
            {"step", as_json(row.step)},
            {"density", as_json(row.density)},
            {"samples", as_json(row.samples)}};
  if (row.product_flop > 0) {
    json["products"] = as_json(row.products);
    json["product_gflop"] = row.product_flop / 1e9;
  }
  if (row.estimate.ms > 0) json["density_estimate"] = as_json(row.estimate);
  return json;
}

Json machine() {
  const Time product = square_product();
  return {{"version", BACKFLOW_VERSION},
          {"precision", sizeof(Real) == 4 ? "float" : "double"},
          {"threads", threads()},
          {"instructions", vector_instructions()},
          {"openblas", openblas_get_config()},
          {"kernels", blas_kernel()},
          {"square_product_gflops", square_gflops(product.ms)},
          {"square_product_cpu_gflops", square_gflops(product.cpu_ms)}};
}

void print_head(const Json& about) {
  std::printf(
      "backflow %s, %s, %d threads, built for %s; %s, its %s kernels; %.0f GFLOP/s (%.0f)\n",
      about["version"].get<std::string>().c_str(), about["precision"].get<std::string>().c_str(),
      threads(), vector_instructions(), openblas_get_config(), blas_kernel().c_str(),
      about["square_product_gflops"].get<double>(),
      about["square_product_cpu_gflops"].get<double>());
  std::printf(
      "medians, ms of the clock and (of the processors); batches of 256 for D=2, 512 for D=64\n");
  std::printf("%-37s%20s%20s%20s%20s\n", "", "step", "density", "samples", "products");
}

void print(const Row& row) {
  std::printf("%-37s", row.name.c_str());
  for (const Time& time : {row.step, row.density, row.samples, row.products})
    if (time.ms > 0) std::printf("%10.3f (%7.3f)", time.ms, time.cpu_ms);
  if (row.estimate.ms > 0)
    std::printf("%10.3f (%7.3f) for a density by one estimate", row.estimate.ms,
                row.estimate.cpu_ms);
  std::printf("\n");
  std::fflush(stdout);
}

// ---- The program --------------------------------------------------------------------------------

struct Options {
  std::string filter;
  double seconds = 1;
  bool json = false;
};

void run(const Options& options) {
  static const Setting settings[] = {{2, 256, 8, {32, 32}}, {64, 512, 5, {256, 256}}};
  Json all = machine();
  all["flows"] = Json::array();
  if (!options.json) print_head(all);
  for (const Setting& setting : settings)
    for (const Subject& subject : subjects) {
      const std::string name = subject.name + (" D=" + std::to_string(setting.D));
      if (name.find(options.filter) == name.npos) continue;
      const Row row = measure(subject, setting, name, options.seconds);
      if (!options.json) print(row);
      all["flows"].push_back(as_json(row));
    }
  if (all["flows"].empty())
    fail("--filter", "no flow has ", quote(options.filter, '\''),
         " in its name, such as 'maf D=64'");
  if (options.json) std::printf("%s\n", all.dump(2).c_str());
}

int run_program(int argc, char** argv) {
  const FlushSubnormals flush;  // as the program snf does
  CLI::App app("Times a training step, densities and samples of each flow of the zoo.");
  Command command(app);
  Options options;
  command.text("--filter", "TEXT", "flows with this in their name, such as 'maf D=64'", "all",
               [&](const std::string& text) { options.filter = text; });
  command.number("--seconds", "S", options.seconds, 0.001, 3600.0, "for each of the numbers", "1");
  command.flag("--json", options.json, "print JSON");
  command.threads();
  try {
    app.parse(argc, argv);
    run(options);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    return explain("flows", app, error);
  } catch (const Error& error) {
    return say("flows", 2, error.what());
  }
  return flush_output("flows");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

int main(int argc, char** argv) { return backflow::run_program(argc, argv); }
