// The checkpoints in tests/data/checkpoints, written once by an old program: what made them, which
// tests/data/checkpoints/make.cpp ran then, and what the tests expect of them now.
//
// Beyond the public names of apps/ it uses nothing, so that the old library compiles it as well.
#pragma once

#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "backflow/apps/data/purposes.h"
#include "backflow/apps/model/checkpoint.h"
#include "backflow/apps/train/step.h"

// OpenBLAS's kernels differ in the last bits of a product.
extern "C" char* openblas_get_corename();

namespace backflow::inline BACKFLOW_PRECISION {

inline constexpr const char* precision_name = sizeof(Real) == sizeof(double) ? "f64" : "f32";

// A model of a few pixels with layers of each kind, under the file's name.
struct OldCheckpoint {
  std::string name, experiment;
  std::vector<std::pair<std::string, std::string>> assignments = {};
};

inline const std::vector<OldCheckpoint>& old_checkpoints() {
  static const std::vector<OldCheckpoint> all = {
      {"fc_self_normalizing", "selfnorm_fc_mnist"},
      {"fc_exact", "exact_fc_mnist", {{"activation", "learnable_leaky_relu"}}},
      {"fc_relative_gradient", "relative_gradient_fc_mnist"},
      {"cnn_self_normalizing", "selfnorm_cnn_mnist"},
      {"cnn_exact", "exact_cnn_mnist"},
      {"cnn_emerging", "emerging_cnn_mnist"},
      {"cnn_exponential", "exponential_cnn_mnist"},
      {"glow_conv1x1", "conv1x1_glow_mnist"},
      {"glow_self_normalizing", "selfnorm_glow_mnist"},
      {"glow_geco", "geco_selfnorm_glow_mnist"},
      {"glow_color", "selfnorm_glow_cifar"},
  };
  return all;
}

inline Config config_of(const OldCheckpoint& old) {
  Config config = find_experiment(old.experiment).config;
  config.num_blocks = 2;
  config.block_size = 1;
  config.width = 4;
  for (const auto& [key, value] : old.assignments) set_field(config, key, value);
  return config;
}

// 16 images of 4 x 4 pixels, made of integers alone.
inline ImageSet old_images(const std::string& dataset) {
  const int channels = dataset == "cifar10" ? 3 : 1;
  ImageSet images{channels, 4, 4, {}};
  std::uint32_t state = 1;  // a linear congruential generator; its upper bits are good enough
  for (int i = 0; i < 16 * channels * 16; ++i) {
    state = state * 1664525u + 1013904223u;
    images.pixels.push_back(static_cast<std::uint8_t>(state >> 24));
  }
  return images;
}

inline void take_old_steps(const Model& model, Optimizer& optimizer, const Config& config,
                           int steps) {
  const ImageSet images = old_images(config.dataset);
  std::vector<std::uint32_t> rows;
  for (Index i = 0; i < images.count(); ++i) rows.push_back(static_cast<std::uint32_t>(i));
  for (int step = 0; step < steps; ++step) {
    Pass pass;
    pass.noise = Random(7, purposes::dequantization, static_cast<std::uint32_t>(optimizer.steps()));
    training_step(model, optimizer, config, to_tensor(images, rows), pass, 3e-3);
  }
}

inline double old_nll(const Model& model, const Config& config) {
  return evaluate(model, old_images(config.dataset), Split::test, Noise::uniform).nll;
}

inline constexpr int steps_before = 5, steps_after = 5;
inline const Position old_position{3, 2, 1.5, 0.25, 2, 12.5, -13.75, 4000000000u};

struct OldNll {
  double saved = 0;    // exact, of the model in the file
  double resumed = 0;  // after `steps_after` training steps more
};

// Lines "precision kernel name saved resumed" of nll.txt.
struct OldNlls {
  std::string kernel;  // of OpenBLAS, under which they were computed
  std::map<std::string, OldNll> by_name;
};
inline OldNlls read_old_nlls(const std::string& path) {
  OldNlls all;
  std::ifstream lines(path);
  std::string precision, kernel, name;
  for (OldNll nll; lines >> precision >> kernel >> name >> nll.saved >> nll.resumed;)
    if (precision == precision_name) all.kernel = kernel, all.by_name[name] = nll;
  return all;
}

}  // namespace backflow::inline BACKFLOW_PRECISION
