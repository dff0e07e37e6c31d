#include "backflow/apps/bench/scaling_figure.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "backflow/apps/bench/step_costs.h"
#include "backflow/apps/files/atomic_file.h"
#include "backflow/apps/files/numbers.h"
#include "backflow/apps/files/quote.h"
#include "backflow/apps/files/text.h"
#include "backflow/apps/model/datasets.h"
#include "backflow/apps/model/experiments.h"
#include "backflow/apps/pictures/gnuplot.h"
#include "backflow/engine/parallel.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// Latencies of a message between two processes, as such networks have them: Ethernet with its usual
// switches and the kernel's TCP, a faster one, and one whose cards go past the kernel.
constexpr std::array networks{Interconnect{1, 50}, Interconnect{10, 20}, Interconnect{100, 2}};

struct Task {
  Config config;
  Index shards;  // 0: the best for each number of ranks
  std::vector<Interconnect> interconnects;
  std::vector<MeasuredStep> measured;  // of growing ranks
  Index max_ranks;
  fs::path csv, png;
};

struct Prediction {
  Interconnect interconnect;
  std::vector<ScalingRow> rows;
};

// ---- What is asked for -------------------------------------------------------------------------

std::vector<Interconnect> interconnects_of(const ScalingOptions& options) {
  std::vector<Interconnect> all(networks.begin(), networks.end());
  if (options.gbits) all = {{*options.gbits, networks[1].latency_us}};
  for (Interconnect& one : all) one.latency_us = options.latency_us.value_or(one.latency_us);
  return all;
}

// Those that the configuration was given, or 0.
Index shards_of(const ScalingOptions& options, const Config& config) {
  const auto given = [](const auto& assignment) { return assignment.first == "shards"; };
  if (std::none_of(options.assignments.begin(), options.assignments.end(), given)) return 0;
  if (!std::has_single_bit(static_cast<std::uint64_t>(config.shards)))
    fail("shards", "expected a power of two, which ranks can share, got ", config.shards,
         "; without --set shards=S the best are found");
  return config.shards;
}

std::vector<MeasuredStep> measured_in_order(std::vector<MeasuredStep> measured,
                                            const std::vector<Index>& ranks) {
  std::sort(measured.begin(), measured.end(),
            [](const MeasuredStep& a, const MeasuredStep& b) { return a.ranks < b.ranks; });
  for (std::size_t i = 0; i < measured.size(); ++i) {
    if (std::find(ranks.begin(), ranks.end(), measured[i].ranks) == ranks.end())
      fail("--measured", "expected a number of ranks that is predicted, a power of two from 1 to ",
           ranks.back(), ", got ", measured[i].ranks);
    if (i > 0 && measured[i].ranks == measured[i - 1].ranks)
      fail("--measured", "expected one time for ", measured[i].ranks, " ranks, got two");
  }
  return measured;
}

Task task_of(const ScalingOptions& options) {
  Task task;
  task.config = find_experiment(options.experiment).config;
  for (const auto& [key, value] : options.assignments) set_field(task.config, key, value);
  if (options.batch_size > 0) task.config.batch_size = options.batch_size;
  validate(task.config);
  task.shards = shards_of(options, task.config);
  task.max_ranks = options.max_ranks;
  task.interconnects = interconnects_of(options);
  task.measured = measured_in_order(options.measured, rank_counts(task.max_ranks, task.shards));
  const fs::path out =
      options.out.empty() ? fs::path("runs/scaling") / options.experiment : options.out;
  std::error_code error;
  fs::create_directories(out, error);
  if (error)
    fail(out.string(), "cannot make the directory: ", error.message(),
         "; choose another with --out");
  task.csv = out / "scaling.csv";
  task.png = out / "scaling.png";
  return task;
}

// ---- The files ---------------------------------------------------------------------------------

const MeasuredStep* measured_at(const Task& task, Index ranks) {
  for (const MeasuredStep& measured : task.measured)
    if (measured.ranks == ranks) return &measured;
  return nullptr;
}

std::string as_csv(const Task& task, const std::vector<Prediction>& predictions) {
  std::string csv =
      "gbits,latency_us,ranks,shards,empty_shards,ms,once_ms,compute_ms,sums_ms,exchange_ms,"
      "latency_ms,speed_up,efficiency,measured_ms\n";
  for (const auto& [interconnect, rows] : predictions)
    for (const ScalingRow& row : rows) {
      const auto& [once, compute, sums, exchange, latency] = row.step;
      csv += text("%.6g,%.6g,%lld,%lld,%lld,", interconnect.gbits, interconnect.latency_us,
                  number(row.ranks), number(row.shards), number(row.empty_shards));
      csv += text("%.6g,%.6g,%.6g,%.6g,%.6g,%.6g,", row.step.total(), once, compute, sums, exchange,
                  latency);
      csv += text("%.6g,%.6g,", row.speed_up, row.efficiency);
      const MeasuredStep* measured = measured_at(task, row.ranks);
      csv += (measured ? text("%.6g", measured->ms) : "") + "\n";
    }
  return csv;
}

std::string title_of(const Interconnect& interconnect) {
  return text("%g Gbit/s, %g microseconds a message", interconnect.gbits, interconnect.latency_us);
}

// Against one rank as it was predicted, with which all speed-ups are compared.
double speed_up_of(const MeasuredStep& measured, const std::vector<ScalingRow>& rows) {
  return rows.front().step.total() / measured.ms;
}

// A block of data, and its part of the plot command.
class Plots {
 public:
  void add(const std::vector<std::pair<double, double>>& points, const std::string& look,
           const std::string& title) {
    const std::string name = text("$data%d", count_++);
    script_ += name + " << END\n";
    for (const auto& [x, y] : points) script_ += text("%.17g %.17g\n", x, y);
    script_ += "END\n";
    plots_ += (plots_.empty() ? "plot " : ", ") + name + " using 1:2 " + look + " title " +
              plot_string(title);
  }
  const std::string& data() const { return script_; }
  std::string plot() const { return plots_ + "\n"; }

 private:
  std::string script_, plots_;
  int count_ = 0;
};

std::string plot_script(const Task& task, const std::vector<Prediction>& predictions) {
  constexpr std::array colours{"#d55e00", "#009e73", "#0072b2"};
  const std::vector<ScalingRow>& any = predictions.front().rows;
  const double most = static_cast<double>(any.back().ranks);
  Plots plots;
  plots.add({{1, 1}, {most, most}}, "with lines dashtype 2 linewidth 1.5 linecolor '#777777'",
            "ideal");
  for (std::size_t i = 0; i < predictions.size(); ++i) {
    std::vector<std::pair<double, double>> points;
    for (const ScalingRow& row : predictions[i].rows)
      points.emplace_back(static_cast<double>(row.ranks), row.speed_up);
    const std::string look = "with linespoints pointtype 7 pointsize 1 linewidth 2 linecolor '";
    plots.add(points, look + colours[i] + "'", title_of(predictions[i].interconnect));
  }
  std::vector<std::pair<double, double>> measured;
  for (const MeasuredStep& step : task.measured)
    measured.emplace_back(static_cast<double>(step.ranks), speed_up_of(step, any));
  if (!measured.empty())
    plots.add(measured, "with points pointtype 2 pointsize 2.5 linewidth 2 linecolor '#222222'",
              "measured");
  const Config& config = task.config;
  std::string script = plot_style(text("Predicted speed-up of a training step: %s, batches of %lld",
                                       config.experiment.c_str(), number(config.batch_size)));
  script += text("set xrange [0.9:%g]\nset yrange [*:%g]\n", most * 1.1, most * 1.5);
  script += R"(set key top left
set logscale x 2
set logscale y 2
set format x '%g'
set format y '%g'
set lmargin 11
set rmargin 4
set xlabel 'ranks, one to a machine' offset 0,-0.3
set ylabel 'times as fast as one rank'
)";
  return script + plots.data() + plots.plot();
}

// ---- What is printed ---------------------------------------------------------------------------

void print_head(const Task& task) {
  std::printf("%s, batches of %lld, %d threads a rank\n", task.config.experiment.c_str(),
              number(task.config.batch_size), threads());
}

void print_costs(const StepCosts& costs) {
  std::printf("\nA step on one machine, the least times in ms:\n");
  std::printf("%10.3f  once a step, for whatever shards\n", costs.once_ms);
  std::printf("%10.3f  to add one gradient of %.2f MB to another\n", costs.sum_ms,
              static_cast<double>(costs.gradient_bytes) / 1e6);
  for (auto size = costs.shard_ms.rbegin(); size != costs.shard_ms.rend(); ++size)
    std::printf("%10.3f  for a shard of %lld\n", size->second, number(size->first));
}

void print_prediction(const Prediction& prediction) {
  std::printf("\n%s\n", title_of(prediction.interconnect).c_str());
  std::printf("%5s %6s %9s = %7s %10s %8s %10s %9s %8s %10s\n", "ranks", "shards", "ms a step",
              "once", "+ compute", "+ sums", "+ exchange", "+ latency", "speed-up", "efficiency");
  for (const ScalingRow& row : prediction.rows) {
    const auto& [once, compute, sums, exchange, latency] = row.step;
    std::printf("%5lld %6lld %9.3f   %7.3f %10.3f %8.3f %10.3f %9.3f %8.2f %9.1f%%\n",
                number(row.ranks), number(row.shards), row.step.total(), once, compute, sums,
                exchange, latency, row.speed_up, 100 * row.efficiency);
  }
}

void print_empty_shards(const Task& task, const std::vector<ScalingRow>& rows) {
  const auto first = std::find_if(rows.begin(), rows.end(),
                                  [](const ScalingRow& row) { return row.empty_shards > 0; });
  if (first == rows.end()) return;
  std::printf(
      "\nFrom %lld ranks on, some have nothing to do: of %lld images training makes no more\n"
      "shards than that. --batch-size N makes the batch larger.\n",
      number(first->ranks), number(task.config.batch_size));
}

const ScalingRow& row_of(const std::vector<ScalingRow>& rows, Index ranks) {
  return *std::find_if(rows.begin(), rows.end(),
                       [&](const ScalingRow& row) { return row.ranks == ranks; });
}

void print_measured(const Task& task, const std::vector<Prediction>& predictions) {
  if (task.measured.empty()) return;
  std::printf("\n%5s %8s %12s %13s %24s\n", "ranks", "Gbit/s", "measured ms", "predicted ms",
              "measured over predicted");
  for (const MeasuredStep& measured : task.measured)
    for (const auto& [interconnect, rows] : predictions) {
      const double ms = row_of(rows, measured.ranks).step.total();
      std::printf("%5lld %8g %12.3f %13.3f %24.2f\n", number(measured.ranks), interconnect.gbits,
                  measured.ms, ms, measured.ms / ms);
    }
}

Json json_of(const ScalingRow& row, const MeasuredStep* measured) {
  const auto& [once, compute, sums, exchange, latency] = row.step;
  return {{"ranks", row.ranks},
          {"shards", row.shards},
          {"empty_shards", row.empty_shards},
          {"ms", row.step.total()},
          {"once_ms", once},
          {"compute_ms", compute},
          {"sums_ms", sums},
          {"exchange_ms", exchange},
          {"latency_ms", latency},
          {"speed_up", row.speed_up},
          {"efficiency", row.efficiency},
          {"measured_ms", measured ? Json(measured->ms) : Json()},
          {"measured_over_predicted", measured ? Json(measured->ms / row.step.total()) : Json()}};
}

Json as_json(const Task& task, const StepCosts& costs, const std::vector<Prediction>& predictions,
             bool drawn) {
  Json sizes = Json::array(), all = Json::array();
  for (auto size = costs.shard_ms.rbegin(); size != costs.shard_ms.rend(); ++size)
    sizes.push_back({{"images", size->first}, {"ms", size->second}});
  for (const auto& [interconnect, rows] : predictions) {
    Json of_ranks = Json::array();
    for (const ScalingRow& row : rows)
      of_ranks.push_back(json_of(row, measured_at(task, row.ranks)));
    all.push_back({{"gbits", interconnect.gbits},
                   {"latency_us", interconnect.latency_us},
                   {"ranks", of_ranks}});
  }
  return {{"experiment", task.config.experiment},
          {"threads", threads()},
          {"batch_size", costs.batch_size},
          {"gradient_bytes", costs.gradient_bytes},
          {"once_ms", costs.once_ms},
          {"sum_ms", costs.sum_ms},
          {"shards", sizes},
          {"predictions", all},
          {"csv", task.csv.string()},
          {"png", drawn ? Json(task.png.string()) : Json()}};
}

// ---- The command -------------------------------------------------------------------------------

StepCosts measure(const Task& task, bool quiet) {
  constexpr int rounds = 3;
  const Config& config = task.config;
  StepTimer timer(config, datasets()[config.dataset].shape,
                  shard_sizes(config.batch_size, task.shards));
  for (int round = 1; round <= rounds; ++round) {
    if (!quiet) std::printf("round %d of %d\n", round, rounds);
    std::fflush(stdout);
    timer.round();
  }
  return timer.costs();
}

}  // namespace

MeasuredStep parse_measured_step(const std::string& text) {
  const auto equals = text.find('=');
  const auto ranks = to_number<Index>(text.substr(0, equals));
  const auto ms =
      equals == text.npos ? std::optional<double>() : to_number<double>(text.substr(equals + 1));
  if (!ranks || !ms || *ms <= 0)
    fail("--measured", "expected RANKS=MILLISECONDS, such as 2=41.5, got ", quote(text, '\''));
  return {*ranks, *ms};
}

void draw_scaling(const ScalingOptions& options) {
  const Task task = task_of(options);
  if (!options.json) print_head(task);
  const StepCosts costs = measure(task, options.json);
  std::vector<Prediction> predictions;
  for (const Interconnect& interconnect : task.interconnects)
    predictions.push_back(
        {interconnect, predict_scaling(costs, interconnect, task.max_ranks, task.shards)});
  write_file_atomically(task.csv, as_csv(task, predictions));
  const bool drawn = draw_plot(plot_script(task, predictions), task.png);
  if (options.json) {
    const Json json = as_json(task, costs, predictions, drawn);
    // A path may be no UTF-8.
    std::printf("%s\n", json.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
    return;
  }
  print_costs(costs);
  for (const Prediction& prediction : predictions) print_prediction(prediction);
  print_empty_shards(task, predictions.front().rows);
  print_measured(task, predictions);
  std::printf("\ntable:  %s\n", task.csv.c_str());
  if (drawn)
    std::printf("figure: %s\n", task.png.c_str());
  else
    std::printf("no figure: gnuplot is missing, or fails\n");
}

}  // namespace backflow::inline BACKFLOW_PRECISION
