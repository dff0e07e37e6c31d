// The experiments by name.
#pragma once

#include <optional>

#include "backflow/apps/data/images.h"
#include "backflow/apps/model/config.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct Experiment {
  std::string paper;                // its converged test NLL, as printed there; "": none
  std::optional<double> paper_nll;  // the same in nats per image, where it is a single number
  Config config;                    // its defaults; config.experiment is its name
};

const std::vector<Experiment>& experiments();
// Fails for an unknown name and suggests the nearest.
const Experiment& find_experiment(const std::string& name);

// The model in a few words, as it is configured: "2 exact FC, smooth leaky ReLU".
std::string model_description(const Config& config);
// Whether it still is the model of which config.experiment's paper_nll speaks, on the same data
// set.
bool is_papers_model(const Config& config);
// Whether the paper's figures may stand beside results of that model on these images: they are the
// data set's own.
bool is_comparable(const Config& config, const ImageSplits& images);

}  // namespace backflow::inline BACKFLOW_PRECISION
