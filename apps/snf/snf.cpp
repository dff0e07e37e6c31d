// The program snf: self-normalizing flows and their rivals, trained, evaluated, sampled, timed.
//
// Exit codes: 0 done; 2 bad input, said in one line; 3 training diverged; 130 stopped by Ctrl-C.
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <map>
#include <memory>
#include <new>

#include "backflow/apps/bench/bench.h"
#include "backflow/apps/bench/scaling.h"
#include "backflow/apps/bench/scaling_figure.h"
#include "backflow/apps/bench/timescaling_figure.h"
#include "backflow/apps/command_line/answers.h"
#include "backflow/apps/command_line/command.h"
#include "backflow/apps/files/columns.h"
#include "backflow/apps/files/quote.h"
#include "backflow/apps/model/activations.h"
#include "backflow/apps/model/architectures.h"
#include "backflow/apps/model/augmentations.h"
#include "backflow/apps/model/contexts.h"
#include "backflow/apps/model/datasets.h"
#include "backflow/apps/model/experiments.h"
#include "backflow/apps/model/initial_values.h"
#include "backflow/apps/model/layers.h"
#include "backflow/apps/model/nearest.h"
#include "backflow/apps/model/optimizers.h"
#include "backflow/apps/model/schedules.h"
#include "backflow/apps/snf/commands.h"
#include "backflow/apps/snf/pretrained.h"
#include "backflow/apps/snf/train.h"
#include "backflow/apps/train/mpi.h"
#include "backflow/engine/parallel.h"
#include "backflow/ops/instructions.h"
#include "backflow/ops/subnormals.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr Index many = 1'000'000'000'000;  // more than fits any memory, but times 784 any Index
// A square of samples, and a row of images, of 32 x 32 pixels, stay below the most pixels a side
// that a PNG has (apps/files/png.cpp).
constexpr Index most_samples = 65536, most_in_a_row = 10000;

// "the experiment's, 250, 1000 or 6000".
std::string default_of(const std::string& key) {
  std::vector<std::string> values;
  for (const Experiment& experiment : experiments()) {
    const std::string value = field_as_text(experiment.config, key);
    if (std::find(values.begin(), values.end(), value) == values.end()) values.push_back(value);
  }
  std::string text = values[0];
  for (std::size_t i = 1; i < values.size(); ++i)
    text += (i + 1 < values.size() ? ", " : " or ") + values[i];
  return "the experiment's, " + text;
}

std::string default_data() {
  std::string text = "data/DATASET";
  for (const DatasetRow& row : datasets().rows())
    if (!row.elsewhere.empty()) text += ", for " + row.name + " also " + row.elsewhere;
  return text;
}

std::string keys_of_set() {
  const Config& config = find_experiment("selfnorm_fc_mnist").config;
  Column keys, defaults, help;
  Config::visit(config, [&](const std::string& key, const auto&, const char* meaning) {
    if (key == "experiment") return;
    keys.cells.push_back(key);
    defaults.cells.push_back(field_as_text(config, key));
    help.cells.push_back(meaning);
  });
  return "Keys of --set, with the defaults of selfnorm_fc_mnist:\n" +
         in_columns({keys, defaults, help}, "  ");
}

template <class Row>
std::string names_of(const Table<Row>& table) {
  Column names, help, suits;
  for (const Row& row : table.rows()) {
    names.cells.push_back(row.name);
    help.cells.push_back(row.help);
    suits.cells.emplace_back();
    if constexpr (requires { row.architectures; }) suits.cells.back() = in_words(row.architectures);
  }
  return "\n--set " + table.what() + "=NAME:\n" + in_columns({names, suits, help}, "  ");
}

std::string names_of_all_tables() {
  return names_of(datasets()) + names_of(augmentations()) + names_of(contexts()) +
         names_of(architectures()) + names_of(layers()) + names_of(activations()) +
         names_of(initial_values()) + names_of(optimizers()) + names_of(schedules());
}

// ---- The commands ---------------------------------------------------------------------------

void add_train(CLI::App& app, TrainOptions& options) {
  Command train(app, "train", "Train an experiment; it can be stopped and resumed");
  train.experiment(options.experiment);
  const auto field = [&](const char* flag, const char* key, const char* type, const char* help) {
    train.text(flag, type, help, default_of(key), [&options, key](const std::string& value) {
      options.assignments.emplace_back(key, value);
    });
  };
  field("--dataset", "dataset", "DATASET", ("one of " + datasets().in_words()).c_str());
  train.path("--data", "DIR", options.data, "directory of the images", default_data());
  train.path("--out", "DIR", options.out, "run directory", "runs/EXPERIMENT");
  field("--epochs", "epochs", "N", "passes over the training set");
  field("--batch-size", "batch_size", "N", "images per training step");
  field("--lr", "lr", "X", "learning rate after warm-up");
  field("--seed", "seed", "N", "of initialization, order and noise");
  train.threads();
  field("--limit-batches", "limit_batches", "N", "training steps per epoch at most; 0: all");
  train.assignments(options.assignments,
                    "fields of the configuration, see below; also KEY=VALUE,KEY=VALUE");
  train.flag("--resume", options.resume,
             "go on with the run in --out, with another --lr if you like");
  train.number<double>("--save-every", "MINUTES", options.save_minutes, 0, 1e6,
                       "a checkpoint within an epoch after so long, too; 0: none", "5");
  train.choice("--shard-order", "ORDER", options.shard_schedule, shard_schedules(),
               "of --set shards=S: in-turn, for the least memory, or side-by-side", "the faster");
  train.flag("--profile", options.profile, "at the end, time, calls and bytes of each op");
  train.flag("--quiet", options.quiet, "print errors only");
  train->footer(keys_of_set() + names_of_all_tables());
}

// One of --checkpoint and --pretrained, which is then a checkpoint like any other.
void choose_checkpoint(CheckpointOptions& options, bool pretrained, const std::string& command) {
  const bool given = !options.checkpoint.empty();
  if (pretrained && given)
    fail("--pretrained", "found --checkpoint ", options.checkpoint.string(),
         " beside it, expected one of the two; leave one of them out");
  if (!pretrained && !given)
    fail("--checkpoint", "found no model, expected --checkpoint FILE or --pretrained; see 'snf ",
         command, " --help'");
  find_experiment(options.experiment);  // or else its name is what is wrong
  if (pretrained) options.checkpoint = find_pretrained(options.experiment, SNF_PRETRAINED);
}

void add_checkpoint(Command& command, CheckpointOptions& options) {
  command.experiment(options.experiment);
  command.path("--checkpoint", "FILE", options.checkpoint, "safetensors: ours or the authors'",
               "none, with --pretrained");
  const auto pretrained = std::make_shared<bool>(false);
  command.flag("--pretrained", *pretrained,
               "instead, the model that comes with snf, trained for long");
  command->callback([&options, pretrained, name = command->get_name()] {
    choose_checkpoint(options, *pretrained, name);
  });
  command.assignments(options.assignments,
                      "for the authors': how its model differs, as for 'snf train'");
}

void add_data(Command& command, DataOptions& options) {
  command.row("--dataset", "DATASET", options.dataset, datasets(), "the model's");
  command.path("--data", "DIR", options.data, "directory of the images", default_data());
  command.choice<Split>(
      "--split", "SPLIT", options.split,
      {{"train", Split::train}, {"validation", Split::validation}, {"test", Split::test}},
      "train, validation or test", "test");
}

void add_inverse(Command& command, std::optional<Inverse>& inverse) {
  command.choice<Inverse>("--inverse", "INVERSE", inverse,
                          {{"learned", Inverse::learned}, {"exact", Inverse::exact}},
                          "learned or exact", "learned, where there is one");
}

void add_evaluate(CLI::App& app, EvaluateOptions& options) {
  Command evaluate(app, "evaluate",
                   "The NLL of a checkpoint: exact, or where it cannot be, an unbiased estimate");
  add_checkpoint(evaluate, options);
  add_data(evaluate, options);
  evaluate.number<Index>("--limit", "N", options.limit, 1, many, "only the first N images", "all");
  evaluate.choice<Noise>("--noise", "NOISE", options.noise,
                         {{"uniform", Noise::uniform}, {"midpoint", Noise::midpoint}},
                         "dequantization: uniform (fixed numbers), or midpoint, 0.5 everywhere",
                         "uniform");
  evaluate.threads();
  evaluate.flag("--json", options.json, "print one JSON object");
}

void add_sample(CLI::App& app, SampleCommand& command) {
  Command sample(app, "sample", "Draw samples of a checkpoint's model as a PNG");
  add_checkpoint(sample, command);
  sample.picture(command.out);
  sample.number<Index>("--count", "N", command.samples.count, 1, most_samples,
                       ("how many, up to " + std::to_string(most_samples)).c_str(),
                       "64, or 8 of each label");
  add_inverse(sample, command.inverse);
  sample.number<double>("--temperature", "T", command.samples.temperature, 0, 1e6,
                        "standard deviation of the latents", "1");
  sample.number<std::uint64_t>("--seed", "N", command.samples.seed, 0, INT64_MAX, "of the latents",
                               "0");
  sample.flag("--plain", command.plain, "only the images, without the words below them");
  sample.threads();
}

void add_reconstruct(CLI::App& app, ReconstructCommand& command) {
  Command reconstruct(app, "reconstruct",
                      "Draw images, what the inverse makes of their latents, and the difference");
  add_checkpoint(reconstruct, command);
  add_data(reconstruct, command);
  reconstruct.picture(command.out);
  reconstruct.number<Index>("--count", "N", command.count, 1, most_in_a_row,
                            ("how many, up to " + std::to_string(most_in_a_row)).c_str(), "10");
  add_inverse(reconstruct, command.inverse);
  reconstruct.threads();
}

void add_filters(CLI::App& app, FiltersCommand& command) {
  Command filters(app, "filters", "Draw the kernels of self-normalizing convolutions");
  add_checkpoint(filters, command);
  filters.path("--out", "DIR", command.out, "where a PNG per layer goes", "");
}

void add_export(CLI::App& app, ExportCommand& command) {
  Command weights(app, "export",
                  "Write a checkpoint's weights alone, without the optimizer's state");
  weights.experiment(command.experiment);
  weights.path("--checkpoint", "FILE", command.checkpoint, "one that 'snf train' wrote", "");
  weights.path("--out", "FILE", command.out, "the safetensors file", "");
}

void add_bench(CLI::App& app, BenchOptions& options) {
  Command bench(app, "bench", "Time the training step beside the least time it could take here");
  bench.experiment(options.experiment);
  bench.number<Index>("--steps", "N", options.steps, 1, many, "timed steps", "50");
  bench.number<Index>("--batch-size", "N", options.batch_size, 1, many, "images per step",
                      default_of("batch_size"));
  bench.assignments(options.assignments, "fields of the configuration, as for 'snf train'");
  bench.threads();
  bench.choice("--shard-order", "ORDER", options.shard_schedule, shard_schedules(),
               "of --set shards=S: in-turn or side-by-side", "in-turn");
  bench.flag("--profile", options.profile, "also time, calls and bytes of each op");
  bench.flag("--json", options.json, "print one JSON object");
}

void add_timescaling(CLI::App& app, TimescalingOptions& options) {
  Command timescaling(app, "timescaling",
                      "Time a training step against the dimension, exact and self-normalizing");
  timescaling.path("--out", "DIR", options.out, "directory of the CSV and the PNG",
                   options.out.string());
  timescaling.number<Index>("--max-dim", "N", options.max_dim, least_max_dim, greatest_max_dim,
                            "no dimension above it", std::to_string(options.max_dim));
  timescaling.number<Index>("--batch-size", "N", options.batch_size, 1, many, "examples per step",
                            std::to_string(options.batch_size));
  timescaling.threads();
  timescaling.flag("--json", options.json, "print one JSON object");
}

void add_scaling(CLI::App& app, ScalingOptions& options) {
  Command scaling(app, "scaling",
                  "Predict the speed-up of training on many machines from a step's costs here");
  scaling.experiment(options.experiment);
  scaling.path("--out", "DIR", options.out, "directory of the CSV and the PNG",
               "runs/scaling/EXPERIMENT");
  scaling.threads();
  scaling.number<Index>("--batch-size", "N", options.batch_size, 1, many, "images per step",
                        default_of("batch_size"));
  scaling.assignments(options.assignments,
                      "fields of the configuration, as for 'snf train'; shards=S: that S alone");
  scaling.number<double>("--bandwidth", "GBIT", options.gbits, 1e-6, 1e6,
                         "of one network, in Gbit/s, in place of three", "1, 10 and 100");
  scaling.number<double>("--latency", "MICROSECONDS", options.latency_us, 0, 1e9, "of a message",
                         "50, 20 and 2, or 20 with --bandwidth");
  scaling.number<Index>("--max-ranks", "N", options.max_ranks, 1, most_shards,
                        "no more ranks than these", std::to_string(options.max_ranks));
  scaling.each("--measured", "RANKS=MILLISECONDS", "a step as timed on so many ranks; repeatable",
               [&options](const std::string& text) {
                 options.measured.push_back(parse_measured_step(text));
               });
  scaling.flag("--json", options.json, "print one JSON object");
}

std::string version() {
  return std::string("snf " SNF_VERSION ", ") +
         (sizeof(Real) == sizeof(double) ? "double" : "float") + ", built for " +
         vector_instructions();
}

// ---- From the command line to an exit code ----------------------------------------------------

std::string name_of(const Ranks& ranks) {
  return ranks.is_first() ? "snf" : "snf, rank " + std::to_string(ranks.rank());
}

// Says why this process fails. Where all ranks say the same, the first one's line is enough.
int say(Ranks& ranks, int code, const std::string& line) {
  ranks.abandon();
  return backflow::say(name_of(ranks), code, line);
}

// Several ranks are for training.
void check_command(const CLI::App& app, const Ranks& ranks) {
  if (!ranks.are_several() || app.got_subcommand("train")) return;
  fail("mpirun", "several processes can only train together, expected: snf train; start snf ",
       app.get_subcommands()[0]->get_name(), " without mpirun");
}

int run_command(int argc, char** argv, Ranks& ranks) {
  CLI::App app("Self-normalizing flows: train, evaluate, sample, time");
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  TrainOptions train_options;
  EvaluateOptions evaluate_options;
  SampleCommand sample_command;
  ReconstructCommand reconstruct_command;
  FiltersCommand filters_command;
  ExportCommand export_command;
  BenchOptions bench_options;
  TimescalingOptions timescaling_options;
  ScalingOptions scaling_options;
  CLI::App* list = app.add_subcommand("list", "Show the experiments");
  add_train(app, train_options);
  add_evaluate(app, evaluate_options);
  add_sample(app, sample_command);
  add_reconstruct(app, reconstruct_command);
  add_filters(app, filters_command);
  add_export(app, export_command);
  add_bench(app, bench_options);
  add_timescaling(app, timescaling_options);
  add_scaling(app, scaling_options);
  app.set_version_flag("--version", version(), "Show the version, and what it is built for");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return ranks.is_first() ? app.exit(help) : 0;
  } catch (const CLI::ParseError& error) {
    ranks.abandon();
    return explain("snf", app, error);
  }
  check_command(app, ranks);
  if (app.got_subcommand("train")) {
    std::signal(SIGPIPE, SIG_IGN);  // a reader of our output that goes away ends no training
    train_options.program = argv[0];
    if (train_options.out.empty())
      train_options.out = std::filesystem::path("runs") / train_options.experiment;
    check_count(ranks);
    check_same_on_ranks(ranks, "version", version());
    return train(train_options, ranks);
  }
  if (*list) list_experiments();
  if (app.got_subcommand("evaluate")) evaluate_checkpoint(evaluate_options);
  if (app.got_subcommand("sample")) sample_checkpoint(sample_command);
  if (app.got_subcommand("reconstruct")) reconstruct_images(reconstruct_command);
  if (app.got_subcommand("filters")) draw_filters(filters_command);
  if (app.got_subcommand("export")) export_weights(export_command);
  if (app.got_subcommand("bench")) bench_experiment(bench_options);
  if (app.got_subcommand("timescaling")) draw_timescaling(timescaling_options);
  if (app.got_subcommand("scaling")) draw_scaling(scaling_options);
  return 0;
}

int run(int argc, char** argv) try {
  const FlushSubnormals flush;  // in every thread: so small a number only costs time here
  const std::unique_ptr<Ranks> ranks = join_ranks();
  try {
    return run_command(argc, argv, *ranks);
  } catch (const Diverged& error) {
    return say(*ranks, 3, error.what());
  } catch (const std::bad_alloc& error) {
    return say(*ranks, 2, out_of_memory(error));
  } catch (const std::exception& error) {
    return say(*ranks, 2, error.what());
  }
} catch (const std::exception& error) {
  return say(one_rank(), 2, error.what());
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

int main(int argc, char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);  // a file-size limit is an error of write(), not a death
  const int code = backflow::run(argc, argv);
  return code == 0 ? backflow::flush_output("snf") : code;
}
