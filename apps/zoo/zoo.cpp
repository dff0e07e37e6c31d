// The program zoo: flows of vectors, trained on targets whose entropy is known, and on tables.
//
// Exit codes: 0 done; 2 bad input, said in one line; 3 training diverged; 4 a log-determinant is
// wrong; 130 stopped by Ctrl-C.
#include <csignal>
#include <new>

#include "backflow/apps/command_line/answers.h"
#include "backflow/apps/command_line/command.h"
#include "backflow/apps/files/text.h"
#include "backflow/apps/train/step.h"
#include "backflow/apps/zoo/commands.h"
#include "backflow/apps/zoo/gallery.h"
#include "backflow/apps/zoo/report.h"
#include "backflow/apps/zoo/training.h"
#include "backflow/ops/instructions.h"
#include "backflow/ops/subnormals.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr Index most_samples = 1'000'000;

void add_files(Command& command, TableFiles& files, const std::string& data) {
  command.path("--data", "FILE", files.data, "a CSV file of numbers: a table", data);
  command.path("--train", "FILE", files.train, "for a table that is split: the rows to train with",
               "none");
  command.path("--validation", "FILE", files.validation, "those to choose the best by", "none");
  command.path("--test", "FILE", files.test, "those to report", "none");
}

// Fields whose defaults depend on the flow and the target.
void add_fields(Command& command, ZooTrainOptions& options) {
  const ZooConfig config = zoo_defaults("maf", "moons");
  ZooConfig::visit(config, [&](const std::string& key, const auto& field, const char* meaning) {
    if (key == "flow" || key == "target" || key == "data" || key == "validation" || key == "test")
      return;
    std::string flag = "--" + key;
    std::replace(flag.begin(), flag.end(), '_', '-');
    using Field = std::remove_cvref_t<decltype(field)>;
    const bool same = key == "seed" || key == "batch_size" || key == "context";
    const std::string value = key == "context" ? "none" : json_value(field);
    command.text(
        flag.c_str(),
        std::is_same_v<Field, Index> ? "N"
        : key == "context"           ? "COLUMN,..."
                                     : "X",
        meaning, same ? value : "the flow's; of maf on moons " + value,
        [&options, key](const std::string& text) { options.assignments.emplace_back(key, text); });
  });
}

void add_train(CLI::App& app, ZooTrainOptions& options) {
  Command train(app, "train", "Train a flow; it can be stopped and resumed");
  train.positional("flow", "FLOW", options.flow, "one that 'zoo list' shows");
  train.text("--target", "TARGET", ("one of " + targets().in_words()).c_str(), "moons",
             [&options](const std::string& text) {
               if (!targets().contains(text)) fail("--target", targets().not_found(text));
               options.assignments.emplace_back("target", text);
             });
  add_files(train, options.files, "none: a target");
  add_fields(train, options);
  train.threads();
  train.path("--out", "DIR", options.out, "run directory", "runs/zoo/FLOW-TARGET, or FLOW-TABLE");
  train.flag("--resume", options.resume, "go on with the run in --out");
  train.number<double>("--save-every", "MINUTES", options.save_minutes, 0, 1e6,
                       "a checkpoint between two evaluations after so long, too; 0: none", "5");
  train.flag("--quiet", options.quiet, "print errors only");
}

Command run_command(CLI::App& app, const char* name, const char* help, ZooRunOptions& options) {
  Command command(app, name, help);
  command.positional("run", "RUN", options.run, "directory of a run");
  add_files(command, options.files, "where it was");
  command.threads();
  return command;
}

void add_evaluate(CLI::App& app, ZooEvaluateOptions& options) {
  Command evaluate =
      run_command(app, "evaluate", "The held-out NLL of a run, beside the entropy", options);
  evaluate.flag("--json", options.json, "print one JSON object");
}

void add_sample(CLI::App& app, ZooSampleOptions& options) {
  Command sample = run_command(app, "sample", "Draw samples of a run's flow", options);
  sample.number<Index>("--count", "N", options.count, 1, most_samples, "how many",
                       std::to_string(options.count));
  sample.number<std::uint64_t>("--seed", "N", options.seed, 0, INT64_MAX, "of the noise", "0");
  sample.flag("--csv", options.csv, "print them, in the units of the data; no picture");
  sample.picture(options.out, "RUN/samples.png");
}

void add_density(CLI::App& app, ZooDensityOptions& options) {
  Command density =
      run_command(app, "density", "Draw the learned density beside the true one", options);
  density.picture(options.out);
}

void add_gallery(CLI::App& app, GalleryOptions& options) {
  Command gallery(app, "gallery", "Train every flow and draw all of them on one page");
  gallery.picture(options.out, "runs/zoo/gallery.png");
  gallery.number<Index>("--steps", "N", options.steps, 1, 1'000'000'000, "training steps of each",
                        "each flow's");
  gallery.threads();
}

std::string version() {
  return std::string("zoo " SNF_VERSION ", ") +
         (sizeof(Real) == sizeof(double) ? "double" : "float") + ", built for " +
         vector_instructions();
}

// ---- From the command line to an exit code ----------------------------------------------------

int say(int code, const std::string& line) { return backflow::say("zoo", code, line); }

int train(ZooTrainOptions& options, const char* program) {
  std::signal(SIGPIPE, SIG_IGN);  // a reader of our output that goes away ends no training
  options.program = program;
  const ZooTrained trained = train_zoo(options);
  return trained.code == 0 ? verdict(*trained.score) : trained.code;
}

int draw_all(GalleryOptions& options, const char* program) {
  std::signal(SIGPIPE, SIG_IGN);
  options.program = program;
  return draw_gallery(options);
}

int run(int argc, char** argv) try {
  const FlushSubnormals flush;  // in every thread: so small a number only costs time here
  CLI::App app("Normalizing flows of vectors: train, evaluate, sample, draw");
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  ZooTrainOptions train_options;
  ZooEvaluateOptions evaluate_options;
  ZooSampleOptions sample_options;
  ZooDensityOptions density_options;
  CLI::App* list = app.add_subcommand("list", "Show the flows");
  add_train(app, train_options);
  add_evaluate(app, evaluate_options);
  add_sample(app, sample_options);
  add_density(app, density_options);
  GalleryOptions gallery_options;
  add_gallery(app, gallery_options);
  app.set_version_flag("--version", version(), "Show the version, and what it is built for");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    return explain("zoo", app, error);
  }
  if (app.got_subcommand("train")) return train(train_options, argv[0]);
  if (*list) list_zoo();
  if (app.got_subcommand("evaluate")) return evaluate_zoo(evaluate_options);
  if (app.got_subcommand("sample")) sample_zoo(sample_options);
  if (app.got_subcommand("density")) draw_zoo_density(density_options);
  if (app.got_subcommand("gallery")) return draw_all(gallery_options, argv[0]);
  return 0;
} catch (const Diverged& error) {
  return say(3, error.what());
} catch (const std::bad_alloc& error) {
  return say(2, out_of_memory(error));
} catch (const std::exception& error) {
  return say(2, error.what());
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

int main(int argc, char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);  // a file-size limit is an error of write(), not a death
  const int code = backflow::run(argc, argv);
  const int flushed = backflow::flush_output("zoo");
  return code == 0 ? flushed : code;
}
