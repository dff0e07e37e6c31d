#include "backflow/apps/zoo/gallery.h"

#include <algorithm>
#include <cstdio>
#include <limits>
#include <vector>

#include "backflow/apps/files/atomic_file.h"
#include "backflow/apps/files/quote.h"
#include "backflow/apps/files/text.h"
#include "backflow/apps/zoo/figures.h"
#include "backflow/apps/zoo/gallery_page.h"
#include "backflow/apps/zoo/report.h"
#include "backflow/apps/zoo/training.h"

namespace backflow::inline BACKFLOW_PRECISION {

namespace fs = std::filesystem;

namespace {

// What a flow is shown with. Steps and layers other than its defaults, 0 standing for them, where
// the target is hard.
struct GalleryPick {
  const char *flow, *target;
  Index steps = 0, layers = 0;
};
constexpr GalleryPick picks[] = {{"nice", "moons"},
                                 {"real_nvp", "8gaussians"},
                                 {"flowpp", "swissroll"},
                                 {"neural_spline_coupling", "rings", 12'000, 6},
                                 {"neural_spline_autoregressive", "checkerboard", 8'000},
                                 {"maf", "pinwheel"},
                                 {"iaf", "u3", 10'000},
                                 {"naf", "2spirals", 12'000, 3},
                                 {"sos", "circles", 8'000},
                                 {"block_naf", "8gaussians"},
                                 {"planar", "u1"},
                                 {"radial", "u2"},
                                 {"sylvester", "u4", 12'000, 48},
                                 {"i_resnet", "moons"},
                                 {"residual_flow", "8gaussians"},
                                 {"integer_discrete_flow", "moons"}};

// The flows of images take longer than a page may: their samples are in files.
struct ImageFlow {
  const char *file, *name, *caption;
};
constexpr ImageFlow image_flows[] = {
    {"glow.png", "glow", "MNIST   10 epochs   715.8 nats"},
    {"emerging.png", "emerging convolutions", "MNIST   967 epochs   638.5 nats"},
    {"exponential.png", "convolution exponentials", "MNIST   10 epochs   790.2 nats"}};

fs::path directory_of(const GalleryOptions& options, const GalleryPick& pick) {
  const std::string steps = options.steps > 0 ? text("-%lld", number(options.steps)) : "";
  return options.runs / (pick.flow + steps);
}

ZooTrained train(const GalleryOptions& options, const GalleryPick& pick) {
  ZooTrainOptions training;
  training.program = options.program;
  training.flow = pick.flow;
  training.out = directory_of(options, pick);
  training.quiet = true;
  training.resume = fs::exists(RunDirectory{training.out}.last());
  if (!training.resume) {  // what has begun goes on as it began
    const Index steps = options.steps > 0 ? options.steps : pick.steps;
    training.assignments = {{"target", pick.target}};
    if (steps > 0) training.assignments.emplace_back("steps", std::to_string(steps));
    if (pick.layers > 0) training.assignments.emplace_back("layers", std::to_string(pick.layers));
  }
  return train_zoo(training);
}

double seconds_of(const RunDirectory& run) {
  const MetricsTable metrics(run.metrics(), std::numeric_limits<Index>::max());
  double seconds = 0;
  for (const EpochMetrics& row : metrics.rows()) seconds += row.seconds;
  return seconds;
}

std::string caption_of(const GalleryPick& pick, const ZooTrained& trained) {
  return text("%s   KL %.3f \u00b1 %.3f   %.0f s", pick.target, trained.score->kl,
              trained.score->kl_error, seconds_of(RunDirectory{trained.directory}));
}

GalleryDensity density_of_run(const fs::path& directory, const std::string& caption) {
  const ZooRun run(directory, {});
  const ZooData& data = run.data();
  const Window window = window_of(data.half_width());
  return {run.config().flow, caption, density_on_pixels(data.truth(), window, gallery_side),
          density_on_pixels(data.learned(run.density()), window, gallery_side)};
}

std::vector<GalleryImages> images_in(const fs::path& directory) {
  std::vector<GalleryImages> images;
  for (const ImageFlow& flow : image_flows)
    if (const fs::path file = directory / flow.file; fs::exists(file))
      images.push_back({flow.name, flow.caption, decode_png(read_file(file), 1, file.string())});
  return images;
}

}  // namespace

static fs::path page_of(const GalleryOptions& options) {
  if (options.out.empty()) return options.runs.parent_path() / "gallery.png";
  const fs::path directory = fs::absolute(options.out).parent_path();
  if (!fs::is_directory(directory))  // said before minutes of training, not after
    fail(options.out.string(), "cannot write: there is no directory ",
         printable(directory.string()));
  return options.out;
}

static std::vector<GalleryPick> picks_of(const GalleryOptions& options) {
  std::vector<GalleryPick> chosen;
  for (const GalleryPick& pick : picks)
    if (options.flows.empty() || std::ranges::count(options.flows, pick.flow) > 0)
      chosen.push_back(pick);
  return chosen;
}

int draw_gallery(const GalleryOptions& options) {
  const fs::path page = page_of(options);
  std::vector<GalleryDensity> densities;
  for (const GalleryPick& pick : picks_of(options)) {
    std::printf("%-30s", pick.flow);
    std::fflush(stdout);
    const ZooTrained trained = train(options, pick);
    if (trained.code != 0) return trained.code;
    if (const int code = verdict(*trained.score); code != 0) return code;
    const std::string caption = caption_of(pick, trained);
    densities.push_back(density_of_run(trained.directory, caption));
    std::printf("%s\n", caption.c_str());
  }
  const std::vector<GalleryImages> images = images_in(options.images);
  const bool words = save_gallery(page, densities, images);
  std::printf("%s: %lld flows of the plane, %lld of images%s\n", printable(page.string()).c_str(),
              number(std::ssize(densities)), number(std::ssize(images)),
              words ? "" : "; gnuplot, which draws the words, is missing");
  return 0;
}

}  // namespace backflow::inline BACKFLOW_PRECISION
