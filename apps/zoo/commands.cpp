#include "backflow/apps/zoo/commands.h"

#include <cmath>
#include <cstdio>

#include "backflow/apps/files/columns.h"
#include "backflow/apps/files/quote.h"
#include "backflow/apps/files/text.h"
#include "backflow/apps/zoo/figures.h"
#include "backflow/apps/zoo/report.h"
#include "backflow/apps/zoo/targets.h"

namespace backflow::inline BACKFLOW_PRECISION {

void list_zoo() {
  Column names{{"flow"}}, papers{{"paper"}}, fast{{"fast direction"}}, inverses{{"inverse"}},
      parameters{{"parameters"}, true};
  for (const ZooFlow& flow : zoo_flows().rows()) {
    const ZooDensity density(zoo_defaults(flow.name, "moons"), 2, 0);
    names.cells.emplace_back(flow.name);
    papers.cells.emplace_back(flow.paper);
    fast.cells.emplace_back(flow.fast);
    inverses.cells.emplace_back(flow.inverse);
    parameters.cells.push_back(std::to_string(parameter_count(density)));
  }
  std::printf("%s", in_columns({names, papers, fast, inverses, parameters}).c_str());
  std::printf(
      "\nparameters: of the default for moons, in the plane\nglow, emerging convolutions and "
      "convolution exponentials are flows of images: see 'snf list'\n");
}

int evaluate_zoo(const ZooEvaluateOptions& options) {
  const ZooRun run(options.run, options.files);
  const ZooScore score = run.data().report(run.density());
  if (!std::isfinite(score.nll)) fail(options.run.string(), run.name(), ": the NLL is not finite");
  if (options.json) {
    std::printf("%s", as_json(score, run.data(), run.config()).c_str());
  } else {
    std::printf("%s\n%s", run.name().c_str(), in_words(score, run.data()).c_str());
  }
  return verdict(score);
}

// Of a target: its two coordinates.
static TableColumns plane() { return {{{"x"}, {"y"}}, true}; }

void sample_zoo(const ZooSampleOptions& options) {
  if (options.csv && !options.out.empty())
    fail("--out", "is for a picture, and --csv prints numbers; leave one of them out");
  const ZooRun run(options.run, options.files);
  const ZooExamples drawn = run.sample(options.count, options.seed);
  const TableColumns* columns = run.columns();
  if (options.csv) {
    const Tensor context = columns ? drawn.context : Tensor();
    std::printf("%s", to_csv(columns ? *columns : plane(), drawn.x, context).c_str());
    return;
  }
  if (drawn.x.size(1) < 2)
    fail(options.run.string(), "samples of one column make no picture; --csv prints them");
  const auto out = options.out.empty() ? options.run / "samples.png" : options.out;
  const double half_width = columns ? 4 : targets()[run.config().target].half_width;
  save_points(out, {half_width, run.name()}, drawn.x);
  std::printf("%s: %lld samples of %s\n", printable(out.string()).c_str(), number(options.count),
              run.name().c_str());
}

void draw_zoo_density(const ZooDensityOptions& options) {
  const ZooRun run(options.run, options.files);
  const TableColumns* columns = run.columns();
  if (columns && (columns->dimensions() != 2 || columns->contexts() > 0))
    fail(options.run.string(), "a picture shows the density of two columns, this run has ",
         columns->dimensions(), columns->contexts() > 0 ? " given others" : "");
  const ZooData& data = run.data();
  save_density(options.out, {data.half_width(), run.name()}, data.learned(run.density()),
               data.truth());
  std::printf("%s: the density of %s\n", printable(options.out.string()).c_str(),
              run.name().c_str());
}

}  // namespace backflow::inline BACKFLOW_PRECISION
