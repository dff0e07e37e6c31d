// The pictures of a run of the zoo.
#pragma once

#include "backflow/apps/train/loop.h"
#include "backflow/apps/zoo/data.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct ZooPictures {
  const RunDirectory& run;
  const ZooConfig& config;
  const ZooData& data;
  const Density& density;

  // The learned density beside the true one; how the grid of the base is bent; samples beside the
  // data's, of a table standardised and by pairs of columns; NLLs against steps, with the entropy
  // as a line. A density that is conditioned on something has no one grid, and one of a table that
  // is not of two columns neither a grid nor a map of its density; a flow of integers bends
  // nothing: there nothing is drawn.
  void save_map(const std::filesystem::path& png) const;
  void save_bent_grid(const std::filesystem::path& png) const;
  void save_samples(Index epoch) const;
  void save_curve(const MetricsTable& metrics, const TrainingPlan& plan) const;
};

}  // namespace backflow::inline BACKFLOW_PRECISION
