// What the program does for somebody who asks for nothing odd.
#include "backflow/apps/data/datasets.h"
#include "backflow/apps/data/purposes.h"
#include "backflow/apps/files/safetensors.h"
#include "backflow/apps/model/experiments.h"
#include "backflow/apps/train/step.h"
#include "backflow/tests/apps/snf/program.h"
#include "backflow/tests/apps/snf/program_output.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

const std::string quickly = "--batch-size 10 --lr 0.01 --set warmup_epochs=0";
const std::string best = " --checkpoint run/checkpoints/best.safetensors";

// The rows that have a test NLL: each was the best so far.
Words last_best_row(const Snf& snf) {
  Words found;
  for (const Words& row : rows_of(read_file(snf / "run/metrics.csv")))
    if (!row[4].empty()) found = row;
  return found;
}

std::string as_text(double value) {  // as metrics.csv has it
  char text[32];
  std::snprintf(text, sizeof text, "%.4f", value);
  return text;
}

// One trained run for the tests that only read it.
class TrainedSnf : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_ = new Snf;
    trained_ = (*shared_)("train selfnorm_fc_mnist --out run --epochs 3 " + quickly);
  }
  static void TearDownTestSuite() { delete shared_; }

  const Snf& snf = *shared_;
  static inline Finished trained_;

 private:
  static inline Snf* shared_ = nullptr;
};

TEST(SnfList, ShowsEveryExperiment) {
  const Finished list = Snf()("list");
  expect_success(list);
  EXPECT_EQ(std::count(list.out.begin(), list.out.end(), '\n'), std::ssize(experiments()) + 1);
  expect_words(list.out,
               {"exact_fc_mnist", "selfnorm_fc_mnist", "relative_gradient_fc_mnist",
                "geco_selfnorm_glow_mnist", "102613", "10042824", "66851080", "3.36 bits/dim",
                "1230880", "2460192", "947.6 +- 0.2", "947.1 +- 0.2", "1096.5 +- 0.5"});
}

TEST(SnfList, IsAligned) {
  std::istringstream lines(Snf()("list").out);
  std::string header, line;
  std::getline(lines, header);
  const auto data = header.find("data"), parameters = header.find("parameters");
  for (const Experiment& experiment : experiments()) {
    std::getline(lines, line);
    const std::string& dataset = experiment.config.dataset;
    EXPECT_EQ(line.substr(data - 1, dataset.size() + 2), " " + dataset + " ") << line;
    if (experiment.paper.empty()) {
      EXPECT_EQ(line.size(), parameters + 10) << line;
    } else {
      EXPECT_EQ(line.find("  " + experiment.paper), parameters + 10) << line;
    }
  }
}

TEST(SnfHelp, ShowsEveryCommandOptionAndDefault) {
  const Snf snf;
  const std::vector<std::pair<std::string, Words>> helps = {
      {"", {"list", "train", "evaluate", "sample", "export", "bench", "timescaling", "scaling"}},
      {"list ", {"Show the experiments"}},
      {"train ",
       {"EXPERIMENT REQUIRED",
        "--data DIR",
        "[default: data/DATASET",
        "--out DIR",
        "[default: runs/EXPERIMENT]",
        "--epochs N",
        "[default: the experiment's, 6000, 1000, 250 or 10]",
        "--batch-size N",
        "[default: the experiment's, 100 or 64]",
        "--lr X",
        "[default: the experiment's, 0.0001 or 0.001]",
        "--seed N",
        "--limit-batches N",
        "[default: the experiment's, 0]",
        "--threads N",
        "--set KEY=VALUE",
        "--resume",
        "--quiet",
        "[default: off]",
        "recon_symmetric  false",
        "warmup_epochs    10.0",
        "--set layer=NAME:",
        "relative_gradient       fc ",
        "--set activation=NAME:",
        "smooth_leaky_relu     alpha x"}},
      {"evaluate ",
       {"--checkpoint FILE", "[default: none, with --pretrained]", "--pretrained", "--split SPLIT",
        "[default: test]", "--limit N", "[default: all]", "--noise NOISE", "[default: uniform]",
        "--json", "[default: off]"}},
      {"sample ",
       {"--checkpoint FILE", "--pretrained", "--out FILE REQUIRED", "--count N",
        "[default: 64, or 8 of each label]", "--inverse INVERSE",
        "[default: learned, where there is one]", "--temperature T", "[default: 1]", "--seed N",
        "[default: 0]", "--plain"}},
      {"export ", {"--checkpoint FILE REQUIRED", "--out FILE REQUIRED"}},
      {"bench ", {"--steps N", "[default: 50]", "--batch-size N", "--threads N", "--json"}},
      {"timescaling ",
       {"--out DIR", "[default: runs/timescaling]", "--max-dim N", "[default: 4064]",
        "--batch-size N", "[default: 128]", "--threads N", "--json"}},
      {"scaling ",
       {"EXPERIMENT REQUIRED", "--out DIR", "[default: runs/scaling/EXPERIMENT]", "--batch-size N",
        "[default: the experiment's, 100 or 64]", "--set KEY=VALUE", "shards=S", "--bandwidth GBIT",
        "[default: 1, 10 and 100]", "--latency MICROSECONDS",
        "[default: 50, 20 and 2, or 20 with --bandwidth]", "--max-ranks N", "[default: 1024]",
        "--measured RANKS=MILLISECONDS", "--threads N", "--json"}}};
  for (const auto& [command, words] : helps) {
    const Finished help = snf(command + "--help");
    expect_success(help);
    expect_words(help.out, words);
  }
}

TEST(SnfTrain, MakesTheFilesOfARunAndNoOthers) {
  const Snf snf;
  const Finished run =
      snf("train selfnorm_fc_mnist --out run --epochs 2 " + quickly, {.path = std::getenv("PATH")});
  expect_success(run);
  Words files, expected = {"checkpoints/best.safetensors",
                           "checkpoints/last.safetensors",
                           "config.json",
                           "metrics.csv",
                           "reconstruction.png",
                           "samples/epoch_001.png",
                           "samples/epoch_002.png"};
  if (is_there("gnuplot")) expected.insert(expected.begin() + 3, "curve.png");
  for (const auto& [name, file] : snf.snapshot("run"))
    if (!fs::is_directory(snf / ("run/" + name))) files.push_back(name);
  EXPECT_EQ(files, expected);
  EXPECT_EQ(snf.snapshot().size() - snf.snapshot("run").size(), 5u);  // the data, and run itself
  for (const std::string& name : expected) {
    if (!name.ends_with(".png")) continue;
    EXPECT_GT(read_png(snf / ("run/" + name)).width, 0) << name;
  }
}

TEST(SnfTrain, LooksForDataAndWritesWhereTheHelpSays) {
  const Snf snf;
  expect_success(snf("train exact_fc_mnist --epochs 1 --limit-batches 1"));
  EXPECT_TRUE(fs::exists(snf / "runs/exact_fc_mnist/checkpoints/last.safetensors"));
}

TEST_F(TrainedSnf, SaysWhatItTrainsOnWhatAndHowItWent) {
  expect_success(trained_);
  expect_words(trained_.out,
               {"selfnorm_fc_mnist: 2 self-normalizing FC", "5256 parameters",
                "50 training, 10 validation, 20 test; 5 steps an epoch", "run directory: run",
                "validation NLL", "1/3 ", "2/3 ", "3/3 ", "best: epoch " + last_best_row(snf)[0],
                "bits/dim", "images: data/mnist, 50", "run/checkpoints/best.safetensors"});
  // These random images are nobody's data set.
  EXPECT_EQ(trained_.out.find("paper"), std::string::npos);
}

TEST(SnfTrain, AnObjectiveThatIsNoLikelihoodIsLabelledSo) {
  const Snf snf;
  const auto out = [&](const std::string& experiment) {
    return snf("train " + experiment + " --epochs 1 --limit-batches 1").out;
  };
  for (const std::string experiment : {"selfnorm_fc_mnist", "relative_gradient_fc_mnist"}) {
    expect_words(out(experiment), {" objective ", "not a likelihood"});
    EXPECT_EQ(out(experiment + " --out x").find("training NLL"), std::string::npos) << experiment;
  }
  const std::string exact = out("exact_fc_mnist");
  expect_words(exact, {"training NLL"});
  EXPECT_EQ(exact.find("objective"), exact.npos);
}

TEST_F(TrainedSnf, EveryFlagOfTrainingMatters) {
  const std::vector<std::array<std::string, 2>> cases = {
      {"--batch-size 10 --lr 0.01 --seed 1", "5 steps an epoch"},
      {"--batch-size 20 --lr 0.01", "3 steps an epoch"},
      {"--batch-size 10 --lr 0.02", "5 steps an epoch"},
      {"--batch-size 10 --lr 0.01 --limit-batches 2", "2 steps an epoch"},
      {"--batch-size 10 --lr 0.01 --set shuffle=false", "5 steps an epoch"}};
  const auto validation_nll = [&](const std::string& run) {
    return rows_of(read_file(snf / (run + "/metrics.csv")))[1][3];
  };
  const std::string train = "train selfnorm_fc_mnist --epochs 1 --out other --set warmup_epochs=0 ";
  for (const auto& [flags, words] : cases) {
    const Finished run = snf(train + flags);
    expect_success(run);
    expect_words(run.out, {words});
    EXPECT_NE(validation_nll("other"), validation_nll("run")) << flags;
    fs::remove_all(snf / "other");
  }
}

TEST(SnfTrain, WarmsUp) {
  const Snf snf;
  expect_success(
      snf("train selfnorm_fc_mnist --out run --epochs 3 --batch-size 10 --lr 0.01 "
          "--set warmup_epochs=2"));
  const auto rows = rows_of(read_file(snf / "run/metrics.csv"));
  EXPECT_EQ(rows[1][5], "0.005");
  EXPECT_EQ(rows[2][5], "0.01");
  EXPECT_EQ(rows[3][5], "0.01");
}

// The n-th of 4 steps of a warm-up has n / 4 of the rate: none is wasted on a rate of 0.
TEST(SnfTrain, WarmsUpFromItsFirstStepOn) {
  const Snf snf;
  expect_success(
      snf("train selfnorm_fc_mnist --out run --epochs 4 --limit-batches 1 --lr 0.01 "
          "--set warmup_epochs=4"));
  const auto rows = rows_of(read_file(snf / "run/metrics.csv"));
  for (int step = 1; step <= 4; ++step) EXPECT_EQ(std::stod(rows[step][5]), 0.0025 * step);
}

TEST_F(TrainedSnf, KeepsItsConfiguration) {
  const Json config = Json::parse(read_file(snf / "run/config.json"));
  EXPECT_EQ(config["experiment"], "selfnorm_fc_mnist");
  EXPECT_EQ(config["batch_size"], 10);
  EXPECT_EQ(config["lr"], 0.01);
  EXPECT_EQ(config["epochs"], 3);
  EXPECT_EQ(config["data"], "data/mnist");
}

TEST_F(TrainedSnf, KeepsARowOfMetricsPerEpoch) {
  const auto rows = rows_of(read_file(snf / "run/metrics.csv"));
  ASSERT_EQ(rows.size(), 4u);
  EXPECT_EQ(rows[0], (Words{"epoch", "train_objective", "reconstruction_loss", "validation_nll",
                            "test_nll", "learning_rate", "ms_per_step", "seconds"}));
  double lowest = std::numeric_limits<double>::infinity();
  for (std::size_t i = 1; i < rows.size(); ++i) {
    ASSERT_EQ(rows[i].size(), 8u);
    EXPECT_EQ(rows[i][0], std::to_string(i));
    EXPECT_EQ(rows[i][5], "0.01");
    const double validation = std::stod(rows[i][3]);
    EXPECT_EQ(rows[i][4].empty(), validation > lowest) << "epoch " << i;
    lowest = std::min(lowest, validation);
  }
}

// The same training step by step.
TEST_F(TrainedSnf, ItsMetricsAreTheMeansOverTheStepsOfAnEpochAndTheNllAfterIt) {
  const auto rows = rows_of(read_file(snf / "run/metrics.csv"));
  const Config config = config_from_json("run", read_file(snf / "run/config.json"));
  const ImageSplits images = load_mnist(snf / "data/mnist");
  const Model model(config, {1, 6, 6});
  const auto optimizer = make_optimizer(config, model);
  for (std::uint32_t epoch = 1; epoch <= 3; ++epoch) {
    const auto order = Random(0, purposes::shuffling, epoch).permutation(50);
    double objective = 0, reconstruction = 0;
    for (auto first = order.begin(); first != order.end(); first += 10) {
      Pass pass;
      pass.noise = Random(0, purposes::dequantization, epoch);
      pass.examples.assign(first, first + 10);
      const Tensor batch = to_tensor(images.train, pass.examples);
      const StepResult step = training_step(model, *optimizer, config, batch, pass, config.lr);
      objective += step.objective / 5;
      reconstruction += step.reconstruction / 5;
    }
    const double nll = evaluate(model, images.validation, Split::validation, Noise::uniform).nll;
    EXPECT_NEAR(std::stod(rows[epoch][1]), objective, 1e-4);
    EXPECT_NEAR(std::stod(rows[epoch][2]), reconstruction, 1e-5 * reconstruction);
    EXPECT_NEAR(std::stod(rows[epoch][3]), nll, 1e-4);
  }
}

TEST_F(TrainedSnf, EvaluatesItsBestCheckpointToTheNllOfItsMetrics) {
  const Words row = last_best_row(snf);
  for (const auto& [split, column, images] : {std::tuple{"validation", 3, 10}, {"test", 4, 20}}) {
    const std::string arguments =
        "evaluate selfnorm_fc_mnist" + best + " --split " + std::string(split);
    const Finished json = snf(arguments + " --json"), text = snf(arguments);
    expect_success(json);
    expect_success(text);
    const Json result = Json::parse(json.out);
    EXPECT_EQ(keys_of(result),
              (Words{"experiment", "split", "images", "noise", "context", "likelihood", "nll_nats",
                     "standard_error", "bits_per_dim", "log_prob_first"}));
    EXPECT_EQ(as_text(result["nll_nats"]), row[column]);
    EXPECT_EQ(result["split"], split);
    EXPECT_EQ(result["images"], images);
    EXPECT_EQ(result["noise"], "uniform");
    EXPECT_EQ(result["log_prob_first"].size(), 5u);
    EXPECT_NEAR(result["bits_per_dim"].get<double>() * 36 * std::log(2),
                result["nll_nats"].get<double>(), 1e-9);
    char nll[32];
    std::snprintf(nll, sizeof nll, "exact NLL: %.2f +- ", result["nll_nats"].get<double>());
    expect_words(text.out,
                 {nll, "bits/dim", std::to_string(images) + " " + split + " images of data/mnist"});
    EXPECT_EQ(text.out.find("paper"), std::string::npos);
  }
}

TEST_F(TrainedSnf, EvaluatesTheFirstImagesWithTheNoiseAskedForOnAnyNumberOfThreads) {
  const auto nll = [&](const std::string& more) {
    const Finished run = snf("evaluate selfnorm_fc_mnist" + best + " --json " + more);
    expect_success(run);
    return Json::parse(run.out);
  };
  EXPECT_EQ(nll("--threads 1"), nll("--threads 3"));
  EXPECT_EQ(nll("--limit 3")["images"], 3);
  EXPECT_EQ(nll("--limit 3")["log_prob_first"].size(), 3u);
  EXPECT_EQ(nll("--noise midpoint")["noise"], "midpoint");
  EXPECT_NE(nll("--noise midpoint")["nll_nats"], nll("")["nll_nats"]);
  EXPECT_EQ(nll("--split train")["images"], 50);
}

TEST(SnfEvaluate, TakesAStateDictFromElsewhere) {
  const Snf snf;
  snf.write_images("data/mnist", 28);
  TensorFile file;
  for (const std::string i : {"4.", "6."}) {
    file.tensors[i + "weight_fwd"] = Tensor::identity(784).reshape({784, 784, 1, 1});
    file.tensors[i + "weight_inv"] = Tensor::zeros({784, 784, 1, 1});
    file.tensors[i + "bias_fwd"] = Tensor::zeros({784});
  }
  file.tensors["0.distribution.empty"] = Tensor::zeros({1});
  save_safetensors(snf / "theirs.safetensors", file);
  const Finished run =
      snf("evaluate exact_fc_mnist --checkpoint theirs.safetensors --limit 3 --json");
  expect_success(run);

  const Model model(find_experiment("exact_fc_mnist").config, {});
  for (const auto& [name, parameter] : model.flow().parameters())
    if (name.ends_with("bias_fwd")) parameter->set(Tensor::zeros({784}));
  const ImageSet images = load_mnist(snf / "data/mnist").test;
  EXPECT_EQ(Json::parse(run.out)["nll_nats"],
            evaluate(model, images, Split::test, Noise::uniform, 3).nll);
}

TEST_F(TrainedSnf, SamplesWithEitherInverse) {
  const auto sample = [&](const std::string& more, const std::string& says) {
    const Finished run = snf("sample selfnorm_fc_mnist" + best + " --out x.png --plain " + more);
    expect_success(run);
    expect_words(run.out, {"x.png: ", says});
    const Picture picture = read_png(snf / "x.png");
    fs::remove(snf / "x.png");
    return picture;
  };
  const Picture picture = sample("", "64 samples by the learned inverse, temperature 1");
  EXPECT_EQ(picture.width, 8 * (2 * 6 + 2) + 2);
  EXPECT_EQ(picture.height, picture.width);
  EXPECT_EQ(sample("--inverse learned --seed 0 --threads 1", "").pixels, picture.pixels);
  EXPECT_NE(sample("--inverse exact", "by the exact inverse").pixels, picture.pixels);
  EXPECT_NE(sample("--seed 1", "").pixels, picture.pixels);
  EXPECT_EQ(sample("--count 2", "2 samples").height, (2 * 6 + 2) + 2);

  const Picture cold = sample("--count 2 --temperature 0", "temperature 0");
  for (int y = 2; y < 14; ++y) {
    const auto first = cold.pixels.begin() + y * cold.width + 2;
    EXPECT_TRUE(std::equal(first, first + 12, first + 14)) << "the two samples differ in row " << y;
  }
}

TEST_F(TrainedSnf, SamplesComeWithTheDifferenceOfTheInverses) {
  const auto sample = [&](const std::string& more) {
    const Finished run = snf("sample selfnorm_fc_mnist" + best + " --count 9 --out x.png " + more);
    expect_success(run);
    return run.out;
  };
  const std::string learned = sample(""), exact = sample("--inverse exact");
  const std::string words = "learned against exact inverse: mean |difference| ";
  const auto number_in = [&](const std::string& out) {
    expect_words(out, {words, " of a pixel's range\n"});
    return out.substr(out.find(words) + words.size(), 6);
  };
  EXPECT_EQ(number_in(learned), number_in(exact));
  EXPECT_GT(std::stod(number_in(learned)), 0);
  expect_words(learned,
               {"x.png: 9 samples by the learned", "without captions: gnuplot is missing"});
  const Picture page = read_png(snf / "x.png");
  EXPECT_EQ(sample("--inverse exact --plain").find("captions"), std::string::npos);
  EXPECT_LT(read_png(snf / "x.png").height, page.height);
  fs::remove(snf / "x.png");
}

TEST(SnfTrain, QuietPrintsNothingEvenOnATerminal) {
  for (const bool terminal : {false, true}) {
    const Finished run =
        Snf()("train selfnorm_fc_mnist --quiet --epochs 2 " + quickly, {.terminal = terminal});
    expect_success(run);
    EXPECT_EQ(run.out, "");
  }
}

TEST(SnfTrain, ATerminalShowsABarThatIsGoneInTheEnd) {
  const Finished run = Snf()("train selfnorm_fc_mnist --epochs 2 " + quickly, {.terminal = true});
  EXPECT_EQ(run.code, 0);
  expect_words(run.err, {"\r[", "....]", "%  epoch 1  objective ", " left"});
  EXPECT_TRUE(run.err.ends_with("\r\033[K"));
  EXPECT_EQ(run.out.find('\r'), std::string::npos);
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
