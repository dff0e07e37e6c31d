// Each experiment as a model of a few pixels.
#pragma once

#include <numeric>

#include "backflow/apps/data/purposes.h"
#include "backflow/apps/model/datasets.h"
#include "backflow/apps/model/experiments.h"
#include "backflow/apps/model/layers.h"
#include "backflow/apps/train/step.h"

namespace backflow::inline BACKFLOW_PRECISION {

// Two blocks of one layer each, or at most three layers, on images of 4 x 4.
struct Tiny {
  Config config;
  ImageShape image;
  ImageSet images;

  explicit Tiny(const Experiment& experiment) : config(experiment.config) {
    config.num_blocks = 2;
    config.block_size = 1;
    config.width = 6;
    config.num_layers = std::min<Index>(config.num_layers, 3);
    config.warmup_epochs = 0;
    image = {datasets()[config.dataset].shape.channels, 4, 4};
    images = {static_cast<int>(image.channels), 4, 4, {}};
    for (Real u : Random(1).uniform({20 * image.size()}).values())
      images.pixels.push_back(static_cast<std::uint8_t>(256 * u));
    for (std::uint8_t extreme : {0, 255}) images.pixels[extreme] = extreme;
    for (std::uint8_t i = 0; i < 20; ++i) images.labels.push_back(i % 10);
  }

  std::vector<std::uint32_t> rows() const {
    std::vector<std::uint32_t> all(static_cast<std::size_t>(images.count()));
    std::iota(all.begin(), all.end(), 0u);
    return all;
  }
  Tensor batch() const { return to_tensor(images, rows()); }
  Pass pass(const Model& model) const {
    Pass pass;
    pass.inverse = Inverse::exact;
    pass.context = model.context().of_images(images, rows());
    return pass;
  }

  StepResult train(const Model& model, Optimizer& optimizer, int steps,
                   ShardSchedule schedule = ShardSchedule::in_turn,
                   Ranks& ranks = one_rank()) const {
    StepResult last{};
    for (int step = 0; step < steps; ++step) {
      Pass pass = this->pass(model);
      pass.noise =
          Random(7, purposes::dequantization, static_cast<std::uint32_t>(optimizer.steps()));
      last = training_step(model, optimizer, config, batch(), pass, 3e-3, schedule, ranks);
    }
    return last;
  }

  double nll(const Model& model) const {
    return evaluate(model, images, Split::test, Noise::uniform).nll;
  }
};

template <class F>
void for_each_experiment(const F& f) {
  for (const Experiment& experiment : experiments()) {
    SCOPED_TRACE(experiment.config.experiment);
    const Tiny tiny(experiment);
    f(tiny);
    if (!layers()[tiny.config.layer].takes_context) continue;
    SCOPED_TRACE("given the label");
    Tiny labelled(experiment);
    labelled.config.context = "label";
    f(labelled);
  }
}

inline std::vector<Tensor> state_of(const Model& model) {
  std::vector<Tensor> all;
  for (const auto& [name, parameter] : model.density().parameters())
    all.push_back(parameter->value());
  for (const auto& [name, buffer] : model.density().buffers()) all.push_back(*buffer);
  return all;
}

}  // namespace backflow::inline BACKFLOW_PRECISION
