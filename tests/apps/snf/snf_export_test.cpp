// Weights that are written alone: the whole model, and nothing of its training.
#include "backflow/apps/files/safetensors.h"
#include "backflow/tests/apps/snf/program.h"
#include "backflow/tests/apps/snf/program_output.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

class Export : public testing::Test {
 protected:
  static constexpr const char* best = "run/checkpoints/best.safetensors";

  void train(const std::string& experiment, const std::string& more) const {
    expect_success(snf("train " + experiment + " --out run --epochs 2 --batch-size 10 " + more));
  }
  Finished export_of(const std::string& experiment, const std::string& file,
                     const std::string& out) const {
    return snf("export " + experiment + " --checkpoint " + file + " --out " + out);
  }
  std::string nll_of(const std::string& experiment, const std::string& file) const {
    const Finished run = snf("evaluate " + experiment + " --checkpoint " + file + " --json");
    expect_success(run);
    return run.out;
  }
  void change_metadata(const std::function<void(std::map<std::string, std::string>&)>& f) const {
    TensorFile file = load_safetensors(snf / best);
    f(file.metadata);
    save_safetensors(snf / best, file);
  }

  const Snf snf;
};

TEST_F(Export, KeepsTheModelToTheBitAndNothingOfTheTraining) {
  snf.write_images("data/mnist", 8);
  const std::pair<std::string, std::string> experiments[] = {
      {"selfnorm_cnn_mnist", "--set num_blocks=2,block_size=1"},
      {"exponential_cnn_mnist", "--set num_blocks=2,block_size=1"},
      {"geco_selfnorm_glow_mnist", "--set num_blocks=2,block_size=1,width=4"}};
  for (const auto& [experiment, smaller] : experiments) {
    SCOPED_TRACE(experiment);
    fs::remove_all(snf / "run");
    train(experiment, smaller + " --lr 0.01 --seed 7");
    expect_success(export_of(experiment, best, "weights"));
    EXPECT_EQ(nll_of(experiment, "weights"), nll_of(experiment, best));
    EXPECT_LT(fs::file_size(snf / "weights"), fs::file_size(snf / best) / 2);

    const TensorFile checkpoint = load_safetensors(snf / best),
                     file = load_safetensors(snf / "weights");
    for (const auto& [name, tensor] : file.tensors)
      EXPECT_EQ(tensor.values(), checkpoint.tensors.at(name).values()) << name;
    Words keys;
    for (const auto& [key, text] : file.metadata) {
      keys.push_back(key);
      if (key != "seed" && key != "test_nll" && key != "epoch") {
        EXPECT_EQ(text, checkpoint.metadata.at(key)) << key;
      }
    }
    EXPECT_EQ(keys, (Words{"blas_kernel", "channels", "config", "epoch", "experiment", "height",
                           "seed", "test_nll", "width"}));
    EXPECT_EQ(file.metadata.at("seed"), "7");
    EXPECT_EQ(file.metadata.at("epoch"), checkpoint.metadata.at("best_epoch"));
    EXPECT_NEAR(std::stod(file.metadata.at("test_nll")),
                std::stod(checkpoint.metadata.at("best_test_nll")), 0.0051);
  }
}

TEST_F(Export, OfWhatWasExportedIsTheSameFile) {
  train("selfnorm_fc_mnist", "");
  expect_success(export_of("selfnorm_fc_mnist", best, "weights"));
  expect_success(export_of("selfnorm_fc_mnist", "weights", "again"));
  EXPECT_EQ(read_file(snf / "weights"), read_file(snf / "again"));
}

TEST_F(Export, HasATestNllOnlyOfTheWeightsThatItWasMeasuredOn) {
  train("selfnorm_fc_mnist", "");
  // The finished epochs, the steps of the next one, and the best epoch.
  const auto exported_at = [&](const char* epoch, const char* batch, const char* best_epoch) {
    change_metadata([&](auto& metadata) {
      metadata["epoch"] = epoch, metadata["batch"] = batch, metadata["best_epoch"] = best_epoch;
    });
    expect_success(export_of("selfnorm_fc_mnist", best, "weights"));
    const auto metadata = SafetensorsFile(snf / "weights").metadata();
    return metadata.at("epoch") + (metadata.contains("test_nll") ? " and its NLL" : "");
  };
  EXPECT_EQ(exported_at("1", "5", "2"), "2 and its NLL");
  EXPECT_EQ(exported_at("2", "0", "2"), "2 and its NLL");
  EXPECT_EQ(exported_at("2", "1", "2"), "2");
  EXPECT_EQ(exported_at("2", "0", "1"), "2");
  EXPECT_EQ(exported_at("0", "1", "0"), "0");
  EXPECT_EQ(exported_at("0", "0", "0"), "0");
}

TEST_F(Export, IsRefusedForWhatIsNoCheckpointOfOurs) {
  train("selfnorm_fc_mnist", "");
  expect_refused(snf, "export exact_fc_mnist --checkpoint " + std::string(best) + " --out x",
                 {"a checkpoint of 'selfnorm_fc_mnist', expected 'exact_fc_mnist'"});
  expect_refused(snf, "export selfnorm_fc_mnist --checkpoint none --out x",
                 {"[none] cannot read", "check the path"});
  expect_refused(snf, "export selfnorm_fc_mnist --out x", {"--checkpoint is required"});
  expect_refused(snf, "export selfnorm_fc_mnist --checkpoint x", {"--out is required"});
  change_metadata([](auto& metadata) { metadata.clear(); });
  expect_refused(snf, "export selfnorm_fc_mnist --checkpoint " + std::string(best) + " --out x",
                 {"[" + std::string(best) + "] found a state_dict from elsewhere",
                  "expected a checkpoint that 'snf train' wrote"});
}

TEST_F(Export, GivesNothingToGoOnWith) {
  train("selfnorm_fc_mnist", "");
  expect_success(export_of("selfnorm_fc_mnist", best, "run/checkpoints/last.safetensors"));
  expect_refused(snf, "train selfnorm_fc_mnist --out run --epochs 3 --resume",
                 {"[run/checkpoints/last.safetensors]", "is missing", "cannot be resumed from"});
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
