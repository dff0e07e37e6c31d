// Training on several threads, for ThreadSanitizer to watch: models whose layers cover products,
// convolutions, splines, couplings, split priors and the auxiliary losses.
#include <numeric>

#include "backflow/apps/data/purposes.h"
#include "backflow/tests/apps/model/small_model.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// Images large enough for most ops to be cut into several chunks.
struct Trained {
  std::vector<std::vector<Real>> values;
  double objective = 0;
};

ImageSet images_of(const ImageShape& shape, Index count) {
  ImageSet images{static_cast<int>(shape.channels),
                  static_cast<int>(shape.height),
                  static_cast<int>(shape.width),
                  {}};
  for (Real u : Random(1).uniform({count * shape.size()}).values())
    images.pixels.push_back(static_cast<std::uint8_t>(256 * u));
  return images;
}

Trained train(const std::string& experiment, int threads) {
  const WithThreads with(threads);
  Config config = find_experiment(experiment).config;
  config.num_blocks = 2;
  config.block_size = 1;
  config.width = 8;
  const ImageShape shape{1, 16, 16};
  const Index count = 40;
  const Model model(config, shape);
  const auto optimizer = make_optimizer(config, model);
  std::vector<std::uint32_t> rows(static_cast<std::size_t>(count));
  std::iota(rows.begin(), rows.end(), 0u);
  const Tensor batch = to_tensor(images_of(shape, count), rows);
  Trained trained;
  for (int step = 0; step < 20; ++step) {
    Pass pass;
    pass.noise = Random(7, purposes::dequantization, static_cast<std::uint32_t>(step));
    trained.objective = training_step(model, *optimizer, config, batch, pass, 1e-3).objective;
  }
  trained.values = values_of(model);
  return trained;
}

class TrainingThreads : public ::testing::TestWithParam<const char*> {};

TEST_P(TrainingThreads, FourTakeTwentyStepsToTheBitsOfOne) {
  const Trained alone = train(GetParam(), 1), together = train(GetParam(), 4);
  EXPECT_TRUE(std::isfinite(alone.objective));
  EXPECT_EQ(together.objective, alone.objective);
  EXPECT_EQ(together.values, alone.values);
}

INSTANTIATE_TEST_SUITE_P(Models, TrainingThreads,
                         ::testing::Values("selfnorm_fc_mnist", "selfnorm_cnn_mnist",
                                           "geco_selfnorm_glow_mnist"));

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
