// From a file to nats and samples: tables drawn from densities that are known.
#include <cmath>
#include <numbers>

#include "backflow/apps/data/csv.h"
#include "backflow/apps/files/atomic_file.h"
#include "backflow/apps/zoo/training.h"
#include "backflow/ops/random.h"
#include "backflow/tests/apps/files/scratch.h"
#include "backflow/tests/apps/pictures/program_path.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr double log_2_pi = 1.8378770664093454836;

// Normal columns of other means and deviations, the second and the third correlated to the first:
// with normal a, b, c they are 100 + 30 a, 50 + 15 a + 5 b and (0.7 a + c) / 1000.
struct Correlated {
  static constexpr const char* head = "length,width,\"mass, kg\"\n";

  static std::string rows(Index count, std::uint64_t seed) {
    const Tensor noise = Random(seed).normal({count, 3});
    std::string text = head;
    for (Index i = 0; i < count; ++i) {
      const double a = noise.at({i, 0}), b = noise.at({i, 1}), c = noise.at({i, 2});
      char line[100];
      std::snprintf(line, sizeof line, "%.9g,%.9g,%.9g\n", 100 + 30 * a, 50 + 15 * a + 5 * b,
                    (0.7 * a + c) / 1000);
      text += line;
    }
    return text;
  }

  // The mean of -log p over the rows of that file, of all columns or of those after the first given
  // the first.
  static double nll(const std::filesystem::path& path, bool given_the_first = false) {
    const CsvTable table = load_csv(path);
    double sum = 0;
    for (Index i = 0; i < table.rows(); ++i) {
      const double* row = table.values.data() + 3 * i;
      const double a = (row[0] - 100) / 30, b = (row[1] - 50 - 15 * a) / 5,
                   c = 1000 * row[2] - 0.7 * a;
      sum += log_2_pi + (b * b + c * c) / 2 + std::log(5) - std::log(1000);
      if (!given_the_first) sum += log_2_pi / 2 + a * a / 2 + std::log(30);
    }
    return sum / static_cast<double>(table.rows());
  }
};

class TableTraining : public testing::Test {
 protected:
  ZooTrainOptions options(const std::string& flow, const std::string& steps) const {
    ZooTrainOptions options;
    options.flow = flow;
    options.assignments = {{"steps", steps}, {"layers", "3"}};
    options.out = scratch_ / "run";
    options.quiet = true;
    return options;
  }
  // Three files, so that it is known which rows are reported.
  TableFiles correlated() const {
    TableFiles files;
    files.train = scratch_.write("train.csv", Correlated::rows(10'000, 1));
    files.validation = scratch_.write("validation.csv", Correlated::rows(1'000, 2));
    files.test = scratch_.write("test.csv", Correlated::rows(3'000, 3));
    return files;
  }

  const Scratch scratch_;
  const ProgramPath without_gnuplot_{"/nowhere"};
};

TEST_F(TableTraining, NatsComeNearThoseOfTheTrueDensity) {
  for (const std::string flow : {"maf", "neural_spline_coupling"}) {
    ZooTrainOptions training = options(flow, "600");
    training.files = correlated();
    training.out = scratch_ / flow;
    const ZooScore score = *train_zoo(training).score;
    EXPECT_EQ(score.count, 3'000);
    // The same rows, so this is a Kullback-Leibler divergence: its error is small.
    const double divergence = score.nll - Correlated::nll(training.files.test);
    EXPECT_LT(divergence, 0.03) << flow;
    EXPECT_GT(divergence, -0.01) << flow;
  }
}

TEST_F(TableTraining, NatsOfAConditionalDensityAreThoseOfItsColumns) {
  ZooTrainOptions training = options("maf", "600");
  training.files = correlated();
  training.assignments.emplace_back("context", "length");
  const ZooScore score = *train_zoo(training).score;
  const double divergence = score.nll - Correlated::nll(training.files.test, true);
  EXPECT_LT(divergence, 0.03);
  EXPECT_GT(divergence, -0.01);
}

TEST_F(TableTraining, SamplesHaveTheMeansAndCorrelationsOfTheData) {
  ZooTrainOptions training = options("maf", "600");
  training.files = correlated();
  train_zoo(training);
  const ZooRun run(training.out, {});
  const ZooExamples drawn = run.sample(4'000, 0);
  const CsvTable table = load_csv(scratch_.write("samples.csv", to_csv(*run.columns(), drawn.x)));
  EXPECT_EQ(table.names, (std::vector<std::string>{"length", "width", "mass, kg"}));
  ASSERT_EQ(table.rows(), 4'000);
  double length = 0, product = 0;
  for (Index i = 0; i < table.rows(); ++i) {
    const double* row = table.values.data() + 3 * i;
    length += row[0] / 4'000;
    product += (row[0] - 100) / 30 * (1000 * row[2]) / 4'000;
  }
  EXPECT_NEAR(length, 100, 4 * 30 / std::sqrt(4'000));
  EXPECT_NEAR(product, 0.7, 0.1);
}

TEST_F(TableTraining, SamplesGivenAContextTakeItFromTheTestRows) {
  ZooTrainOptions training = options("maf", "20");
  training.files = correlated();
  training.assignments.emplace_back("context", "length");
  train_zoo(training);
  const ZooRun run(training.out, {});
  const ZooExamples drawn = run.sample(50, 0);
  const std::string text = to_csv(*run.columns(), drawn.x, drawn.context);
  const CsvTable samples = load_csv(scratch_.write("samples.csv", text));
  const CsvTable test = load_csv(training.files.test);
  for (Index i = 0; i < samples.rows(); ++i) {
    double nearest = INFINITY;
    for (Index j = 0; j < test.rows(); ++j)
      nearest = std::min(nearest, std::abs(test.values[static_cast<std::size_t>(3 * j)] -
                                           samples.values[static_cast<std::size_t>(3 * i)]));
    ASSERT_LT(nearest, 1e-4);
  }
}

// log-normal, so that a flow has something to do: its entropy is that of the normal and the mean.
TEST_F(TableTraining, OneColumnIsEnoughForAutoregressiveFlows) {
  std::string text;
  for (const Real u : Random(5).normal({10'000}).values())
    text += std::to_string(std::exp(0.5 * static_cast<double>(u) + 2)) + "\n";
  ZooTrainOptions training = options("neural_spline_autoregressive", "800");
  training.files.data = scratch_.write("one.csv", text);
  const ZooScore score = *train_zoo(training).score;
  EXPECT_EQ(score.count, 1'000);
  const double entropy = (log_2_pi + 1) / 2 + std::log(0.5) + 2;
  EXPECT_NEAR(score.nll, entropy, 4 * score.nll_error + 0.02);
}

TEST_F(TableTraining, CouplingsRefuseOneColumn) {
  std::string text;
  for (int i = 0; i < 30; ++i) text += std::to_string(i) + "\n";
  ZooTrainOptions training = options("real_nvp", "10");
  training.files.data = scratch_.write("one.csv", text);
  expect_message(message_of([&] { train_zoo(training); }), "real_nvp", "at least 2 columns, got 1");
}

TEST_F(TableTraining, TwoHundredColumnsTrain) {
  const Tensor noise = Random(6).normal({400, 200});
  std::string text;
  for (Index i = 0; i < 400; ++i)
    for (Index j = 0; j < 200; ++j)
      text += std::to_string(1e4 * noise.at({i, j})) + (j == 199 ? "\n" : ",");
  ZooTrainOptions training = options("neural_spline_coupling", "20");
  training.files.data = scratch_.write("wide.csv", text);
  const ZooScore score = *train_zoo(training).score;
  // Of standard normal columns that are multiplied by 10,000, which it begins with nearly.
  EXPECT_NEAR(score.nll / 200, (log_2_pi + 1) / 2 + std::log(1e4), 0.2);
}

TEST_F(TableTraining, ARunGoesOnWithItsOwnTableOnly) {
  ZooTrainOptions training = options("maf", "20");
  training.files = correlated();
  train_zoo(training);
  training.resume = true;
  training.assignments.clear();
  EXPECT_EQ(message_of([&] { train_zoo(training); }), "");  // it is over
  scratch_.write("test.csv", Correlated::rows(3'000, 4));
  expect_message(message_of([&] { train_zoo(training); }),
                 "not the table that this run began with");
}

TEST_F(TableTraining, ARunOnATableIsTheSameWhereverItsFileIs) {
  std::filesystem::create_directory(scratch_ / "elsewhere");
  ZooTrainOptions training = options("maf", "20");
  training.files.data = scratch_.write("a.csv", Correlated::rows(200, 1));
  training.out = scratch_ / "here";
  train_zoo(training);
  training.files.data = scratch_.write("elsewhere/a.csv", Correlated::rows(200, 1));
  training.out = scratch_ / "there";
  train_zoo(training);
  EXPECT_EQ(read_file(scratch_ / "here/checkpoints/last.safetensors"),
            read_file(scratch_ / "there/checkpoints/last.safetensors"));
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
