// A run that an old program was interrupted in, in its second epoch, goes on to the end that it
// would have had: tests/data/checkpoints/README.md says how it was made.
#include "backflow/apps/files/safetensors.h"
#include "backflow/tests/apps/model/old_checkpoints.h"
#include "backflow/tests/apps/snf/program.h"
#include "backflow/tests/apps/snf/program_output.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

namespace fs = std::filesystem;

const fs::path old_run =
    BACKFLOW_SOURCE_ROOT "/tests/data/checkpoints/run_" + std::string(precision_name);

constexpr bool in_double = sizeof(Real) == sizeof(double);
constexpr double nll_tolerance = in_double ? 1e-10 : 1e-5;  // relative
// The old program took exp and tanh from another library. Training amplifies their last digits by
// 27,000, as double shows, where the tensors differ by 6e-12: in float that is 2e-3 of a moment.
constexpr double tensor_tolerance = in_double ? 1e-9 : 5e-3;

// Pixels of a linear congruential generator, and no other: an old run checks that they are its.
void write_old_images(const Snf& snf) {
  const auto pixels = [](std::uint32_t count, std::uint32_t state) {
    std::string bytes = idx_header(count, 4, 4);
    for (std::uint32_t i = 0; i < count * 16; ++i) {
      state = state * 1664525u + 1013904223u;
      bytes += static_cast<char>(state >> 24);
    }
    return bytes;
  };
  snf.write("data/mnist/train-images-idx3-ubyte", pixels(60, 1));
  snf.write("data/mnist/t10k-images-idx3-ubyte", pixels(20, 2));
}

class OldRun : public testing::Test {
 protected:
  OldRun() {
    write_old_images(snf);
    fs::copy(old_run, snf / "run", fs::copy_options::recursive);
    fs::remove(snf / "run/finished.safetensors");
  }
  TensorFile tensors(const std::string& name) const { return load_safetensors(snf / name); }

  Snf snf;
};

double number(const TensorFile& file, const std::string& key) {
  return std::stod(file.metadata.at(key));
}

void expect_end(const TensorFile& found) {
  const TensorFile expected = load_safetensors(old_run / "finished.safetensors");
  ASSERT_EQ(found.tensors.size(), expected.tensors.size());
  for (const auto& [name, tensor] : expected.tensors) {
    ASSERT_TRUE(found.tensors.contains(name)) << name;
    const Tensor& now = found.tensors.at(name);
    ASSERT_EQ(now.shape(), tensor.shape()) << name;
    for (Index i = 0; i < tensor.size(); ++i)
      ASSERT_NEAR(now[i], tensor[i], tensor_tolerance) << name << " " << i;
  }
  for (const std::string key : {"epoch", "batch", "optimizer_steps", "best_epoch", "data_checksum"})
    EXPECT_EQ(found.metadata.at(key), expected.metadata.at(key)) << key;
  for (const std::string key : {"best_nll", "best_test_nll"}) {
    const double nll = number(expected, key);
    EXPECT_NEAR(number(found, key), nll, nll_tolerance * std::abs(nll)) << key;
  }
}

TEST_F(OldRun, GoesOnWithinItsEpochToTheEndThatItHad) {
  EXPECT_NE(tensors("run/checkpoints/last.safetensors").metadata.at("batch"), "0");
  expect_success(snf("train selfnorm_glow_mnist --out run --resume"));
  expect_end(tensors("run/checkpoints/last.safetensors"));
}

TEST_F(OldRun, GoesOnFromItsBestCheckpointToo) {
  fs::remove(snf / "run/checkpoints/last.safetensors");
  const Finished run = snf("train selfnorm_glow_mnist --out run --resume");
  EXPECT_EQ(run.code, 0);
  expect_words(run.err, {"last.safetensors is missing: going on from "});
  expect_end(tensors("run/checkpoints/last.safetensors"));
}

// From nothing: initial spreads, the order of images, their changes, the warm-up and noise are all
// as they were.
TEST_F(OldRun, BegunAnewComesToTheSameEnd) {
  expect_success(
      snf("train selfnorm_glow_mnist --out anew --batch-size 5 --lr 0.01 --epochs 4 "
          "--set num_blocks=2,block_size=1,width=2,warmup_epochs=3"));
  expect_end(tensors("anew/checkpoints/last.safetensors"));
}

TEST_F(OldRun, ItsBestCheckpointHasTheNllThatItSays) {
  const std::string best = "run/checkpoints/best.safetensors";
  const Finished run = snf("evaluate selfnorm_glow_mnist --json --checkpoint " + best);
  expect_success(run);
  const double nll = number(tensors(best), "best_test_nll");
  EXPECT_NEAR(Json::parse(run.out).at("nll_nats").get<double>(), nll, nll_tolerance * nll);
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
