#include "backflow/apps/zoo/pictures.h"

#include "backflow/apps/data/purposes.h"
#include "backflow/apps/files/quote.h"
#include "backflow/apps/files/text.h"
#include "backflow/apps/pictures/curve.h"
#include "backflow/apps/zoo/flows.h"

namespace backflow::inline BACKFLOW_PRECISION {

static std::string title_of(const ZooPictures& run) {
  return run.config.flow + " on " + printable(run.data.name());
}

static bool in_the_plane(const ZooData& data) {
  return data.dimensions() == 2 && (!data.columns() || data.contexts() == 0);
}

void ZooPictures::save_map(const std::filesystem::path& png) const {
  if (!in_the_plane(data)) return;
  save_density(png, {data.half_width(), title_of(*this)}, data.learned(density), data.truth());
}

void ZooPictures::save_bent_grid(const std::filesystem::path& png) const {
  if (!in_the_plane(data) || data.contexts() > 0 || zoo_flows()[config.flow].of_integers) return;
  const auto inverse = [&](const Tensor& z) { return density.inverse(z).x; };
  save_grid(png, {data.half_width(), title_of(*this)}, inverse, data.learned(density));
}

void ZooPictures::save_samples(Index epoch) const {
  constexpr Index count = 1'000;
  if (data.dimensions() < 2) return;
  const Random random(0, purposes::sampling);
  Pass pass;
  const Tensor context = data.draw_contexts(count, random.stream(1));
  if (context.defined()) pass.context = Var(context);
  const Tensor x = density.sample(count, random.stream(0), 1, pass);
  save_points(run.samples(epoch), {data.half_width(), title_of(*this)}, x, data.points(count));
}

void ZooPictures::save_curve(const MetricsTable& metrics, const TrainingPlan& plan) const {
  std::vector<CurvePoint> points;
  for (const EpochMetrics& row : metrics.rows()) {
    const Index steps = (row.epoch - 1) * plan.steps_per_epoch + plan.steps_of(row.epoch);
    points.push_back({static_cast<double>(steps), row.validation_nll, row.test_nll});
  }
  std::optional<ReferenceLine> bound;
  if (const std::optional<double> least = data.bound())
    bound = {*least, data.bound_name() + text(", %.4f", *least)};
  plot_curve(points, run.curve(), title_of(*this), bound,
             {.time = "step", .loss = data.nll_name() + ", nats"});
}

}  // namespace backflow::inline BACKFLOW_PRECISION
