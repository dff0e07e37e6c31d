// A model of a few pixels and images for it: what the tests of apps/ share.
#pragma once

#include "backflow/apps/data/purposes.h"
#include "backflow/apps/model/experiments.h"
#include "backflow/apps/train/step.h"
#include "backflow/tests/apps/files/scratch.h"

namespace backflow::inline BACKFLOW_PRECISION {

inline constexpr ImageShape small_image{1, 4, 4};
inline constexpr Index small_size = 16;
inline const std::vector<std::string> small_layers = {"exact", "self_normalizing",
                                                      "relative_gradient"};

inline Config small_config(const std::string& layer = "self_normalizing") {
  for (const Experiment& experiment : experiments())
    if (experiment.config.layer == layer) return experiment.config;
  fail("small_config", "no experiment has the layer ", layer);
}

inline ImageSet random_images(Index count, std::uint64_t seed = 1) {
  ImageSet images{1, 4, 4, {}};
  for (Real u : Random(seed).uniform({count * small_size}).values())
    images.pixels.push_back(static_cast<std::uint8_t>(256 * u));
  return images;
}

// Images first, first + 1, ... of a set that has no end.
inline Tensor image_batch(Index count, std::uint32_t first = 0) {
  std::vector<std::uint32_t> rows;
  for (Index i = 0; i < count; ++i) rows.push_back(first + static_cast<std::uint32_t>(i));
  return to_tensor(random_images(first + count), rows);
}

// What training makes of the model in a few steps.
inline void train_a_little(const Model& model, Optimizer& optimizer, const Config& config,
                           int steps = 3, double learning_rate = 0.01) {
  for (int step = 0; step < steps; ++step) {
    Pass pass;
    pass.noise = Random(7, purposes::dequantization, static_cast<std::uint32_t>(optimizer.steps()));
    training_step(model, optimizer, config, image_batch(5), pass, learning_rate);
  }
}

inline std::vector<std::vector<Real>> values_of(const Model& model) {
  std::vector<std::vector<Real>> values;
  for (const auto& [name, parameter] : model.flow().parameters())
    values.push_back(parameter->value().values());
  return values;
}

inline Parameter& parameter_of(const Model& model, const std::string& name) {
  for (const auto& [known, parameter] : model.flow().parameters())
    if (known == name) return *parameter;
  fail("parameter_of", "the model has no ", name);
}

}  // namespace backflow::inline BACKFLOW_PRECISION
