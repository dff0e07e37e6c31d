#include "backflow/apps/classifier/options.h"

#include <csignal>
#include <cstdio>

#include "backflow/apps/command_line/answers.h"
#include "backflow/apps/command_line/command.h"
#include "backflow/ops/subnormals.h"

namespace backflow::inline BACKFLOW_PRECISION {

static void add_options(CLI::App& app, Options& options) {
  app.get_formatter()->column_width(34);
  Command program(app);
  program.choice<std::string>("--dataset", "NAME", options.dataset,
                              {{"mnist", "mnist"}, {"fashion_mnist", "fashion_mnist"}},
                              "mnist or fashion_mnist", options.dataset);
  program.path("--data", "DIR", options.data, "directory of the four idx files",
               "data/NAME, for fashion_mnist also Debian's");
  program.path("--out", "DIR", options.out, "directory of the pictures and of the network",
               options.out.string());
  program.number<Index>("--epochs", "N", options.epochs, 1, 1'000'000,
                        "passes over the training images", std::to_string(options.epochs));
  program.number<Index>("--limit", "N", options.limit, 1, 1'000'000'000,
                        "only the first N images of each file", "all");
  program.number<std::uint64_t>("--seed", "N", options.seed, 0, INT64_MAX,
                                "of the initial weights and the order of the images",
                                std::to_string(options.seed));
  program.threads();
}

int run_program(int argc, char** argv, const std::function<void(const Options&)>& work) try {
  std::signal(SIGXFSZ, SIG_IGN);  // a file-size limit is an error of write(), not a death
  const FlushSubnormals flush;    // in every thread: so small a number only costs time here
  CLI::App app("Trains a small network to tell ten kinds of images apart: by default, digits");
  Options options;
  add_options(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    return explain("classifier", app, error);
  }
  work(options);
  return flush_output("classifier");
} catch (const std::bad_alloc& error) {
  return say("classifier", 2, out_of_memory(error));
} catch (const std::exception& error) {
  return say("classifier", 2, error.what());
}

}  // namespace backflow::inline BACKFLOW_PRECISION
