// What the program says of its speed: bench, train --profile, timescaling, scaling.
#include "backflow/tests/apps/snf/program_output.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

struct JsonAndText {
  Json json;
  std::string text;
};
JsonAndText as_json_and_text(const Snf& snf, const std::string& arguments) {
  const Finished json = snf(arguments + " --json"), text = snf(arguments);
  expect_success(json);
  expect_success(text);
  return {Json::parse(json.out), text.out};
}

TEST(SnfBench, ReportsTheTimeOfAStepAndItsFloor) {
  const Snf snf;
  const std::string arguments = "bench exact_fc_mnist --steps 2 --batch-size 4 --threads 2";
  const auto [result, text] = as_json_and_text(snf, arguments);
  EXPECT_EQ(keys_of(result),
            (Words{"experiment", "threads", "instructions", "batch_size", "steps", "ms_per_step",
                   "floor_ms", "product_ms", "optimizer_ms", "necessary_gflop", "gflops",
                   "product_gflops", "square_product_gflops", "peak_bytes", "sampling"}));
  EXPECT_EQ(keys_of(result["ms_per_step"]), (Words{"min", "median", "max"}));
  EXPECT_EQ(result["experiment"], "exact_fc_mnist");
  EXPECT_EQ(result["threads"], 2);
  EXPECT_EQ(result["batch_size"], 4);
  EXPECT_EQ(result["steps"], 2);
  EXPECT_GT(result["floor_ms"], 0);
  EXPECT_GT(result["peak_bytes"], 1230880 * sizeof(Real));
  const double step_ms = result["ms_per_step"]["median"], gflop = result["necessary_gflop"];
  EXPECT_NEAR(result["gflops"].get<double>(), 1000 * gflop / step_ms, 1e-6 * gflop);
  EXPECT_EQ(result["sampling"].size(), 2u) << "1 and 100 samples by the exact inverse";
  for (const Json& sampling : result["sampling"]) EXPECT_GT(sampling["ms_per_sample"], 0);
  expect_words(text, {"exact_fc_mnist, 2 threads, batches of 4, 2 steps", "ms per step: median",
                      "floor: ", "times that", "peak memory of tensors: ", "GFLOP/s",
                      "sampling, exact inverse: "});
  EXPECT_EQ(snf.snapshot().size(), 4u);  // the data
}

TEST(SnfBench, ProfileNamesOpsAndAddsUpToTheStep) {
  const Snf snf;
  const std::string arguments = "bench selfnorm_fc_mnist --steps 5 --profile";
  const auto [result, text] = as_json_and_text(snf, arguments);
  double sum = 0, previous = result["profile"][0]["ms"];
  bool forward = false, backward = false;
  // Two layers and 100 images have: z, a log-determinant each, and the reconstruction loss.
  const Index of_values = 2 * (100 * 784 + 100 + 1) * static_cast<Index>(sizeof(Real));
  for (const Json& row : result["profile"]) {
    const bool own = row["op"] == "self_normalizing";
    forward |= own && row["phase"] == "forward" && row["calls"] == 2 && row["bytes"] == of_values;
    backward |= own && row["phase"] == "backward" && row["calls"] == 2 && row["bytes"] > 0;
    EXPECT_LE(row["ms"].get<double>(), previous);
    previous = row["ms"];
    sum += previous;
  }
  EXPECT_TRUE(forward && backward);
  const double step_ms = result["mean_ms_per_step"];
  EXPECT_NEAR(sum, step_ms, 0.05 * step_ms);
  EXPECT_NEAR(result["profile_ms"].get<double>(), sum, 1e-6 * sum);
  expect_words(text, {"self_normalizing", "forward", "backward", "optimizer", "of the step's"});
}

TEST(SnfTrain, ProfilesItsStepsWhenAsked) {
  const Snf snf;
  const Finished run = snf("train selfnorm_fc_mnist --epochs 1 --profile --set limit_batches=2");
  expect_success(run);
  expect_words(run.out, {"self_normalizing", "backward", "load the batch", "of the step's"});
}

TEST(SnfTimescaling, WritesTheTimesAndDrawsThem) {
  const Snf snf;
  const Finished run = snf("timescaling --max-dim 64 --batch-size 3 --threads 2 --out figure",
                           {.path = std::getenv("PATH")});
  expect_success(run);
  expect_words(run.out, {"batches of 3, 2 threads", "32      8x4", "64     16x4",
                         "over D >= 32:", "FC: the ", "conv 3x3: the ", "figure/timescaling.csv"});
  const std::vector<Words> rows = rows_of(read_file(snf / "figure/timescaling.csv"));
  EXPECT_EQ(rows[0], (Words{"layer", "method", "D", "steps", "ms_median", "ms_min"}));
  Words points;
  for (std::size_t i = 1; i < rows.size(); ++i) {
    ASSERT_EQ(rows[i].size(), rows[0].size());
    points.push_back(rows[i][0] + " " + rows[i][1] + " " + rows[i][2]);
    EXPECT_GE(std::stod(rows[i][3]), 3 * 2);
    EXPECT_GT(std::stod(rows[i][5]), 0);
    EXPECT_LE(std::stod(rows[i][5]), std::stod(rows[i][4]));
  }
  EXPECT_EQ(points, (Words{"fc exact 32", "fc self_normalizing 32", "conv exact 32",
                           "conv self_normalizing 32", "fc exact 64", "fc self_normalizing 64",
                           "conv exact 64", "conv self_normalizing 64"}));
  const fs::path png = snf / "figure/timescaling.png";
  EXPECT_EQ(fs::exists(png), is_there("gnuplot"));
  EXPECT_TRUE(!fs::exists(png) || read_png(png).width > 800);
}

TEST(SnfTimescaling, WithoutGnuplotTheTimesStayAndJsonSaysAll) {
  const Snf snf;
  const std::string arguments = "timescaling --max-dim 64 --batch-size 3 --out figure";
  const auto [result, text] = as_json_and_text(snf, arguments);
  expect_words(text, {"no figure: gnuplot is missing"});
  EXPECT_EQ(snf.snapshot("figure").size(), 1u);
  EXPECT_EQ(keys_of(result), (Words{"threads", "batch_size", "points", "exponents_from_D",
                                    "exponents", "crossover", "csv", "png"}));
  EXPECT_EQ(result["batch_size"], 3);
  ASSERT_EQ(result["points"].size(), 8u);
  const auto ms = [&result = result](int point) {
    return result["points"][point]["ms_min"].get<double>();
  };
  EXPECT_NEAR(result["exponents"]["fc"]["exact"], std::log2(ms(4) / ms(0)), 1e-9);
  EXPECT_NEAR(result["exponents"]["conv"]["self_normalizing"], std::log2(ms(7) / ms(3)), 1e-9);
  EXPECT_EQ(result["crossover"]["fc"]["faster"], ms(5) < ms(4) ? "self_normalizing" : "exact");
  EXPECT_NEAR(result["crossover"]["fc"]["expected_D"], 9 / result["threads"].get<double>(), 1e-12);
  EXPECT_TRUE(result["png"].is_null());
}

const std::string scaling = "scaling selfnorm_cnn_mnist --threads 2 --batch-size 4 ";

TEST(SnfScaling, WritesAndDrawsAPredictionForThreeNetworks) {
  const Snf snf;
  const Finished run = snf(scaling + "--max-ranks 9 --out figure --measured 4=5 --measured 2=1e6",
                           {.path = std::getenv("PATH")});
  expect_success(run);
  expect_words(run.out,
               {"selfnorm_cnn_mnist, batches of 4, 2 threads a rank", "once a step",
                "for a shard of 4", "for a shard of 2", "for a shard of 1", "1 Gbit/s, 50",
                "10 Gbit/s, 20", "100 Gbit/s, 2", "From 8 ranks on", "of 4 images",
                "measured over predicted", "2       10  1000000.000", "figure/scaling.csv"});
  const std::vector<Words> rows = rows_of(read_file(snf / "figure/scaling.csv"));
  EXPECT_EQ(rows[0], (Words{"gbits", "latency_us", "ranks", "shards", "empty_shards", "ms",
                            "once_ms", "compute_ms", "sums_ms", "exchange_ms", "latency_ms",
                            "speed_up", "efficiency", "measured_ms"}));
  ASSERT_EQ(rows.size(), 1u + 3 * 4);
  for (std::size_t i = 1; i < rows.size(); ++i) {
    const std::vector<std::string> ranks = {"1", "2", "4", "8"}, times = {"", "1e+06", "5", ""};
    EXPECT_EQ(rows[i][0], (Words{"1", "10", "100"})[(i - 1) / 4]);
    EXPECT_EQ(rows[i][2], ranks[(i - 1) % 4]);
    EXPECT_EQ(rows[i][4], rows[i][2] == "8" ? "4" : "0");
    EXPECT_EQ(rows[i][13], times[(i - 1) % 4]);
    double sum = 0;
    for (std::size_t part = 6; part < 11; ++part) sum += std::stod(rows[i][part]);
    EXPECT_NEAR(std::stod(rows[i][5]), sum, 1e-4 * sum);
  }
  const fs::path png = snf / "figure/scaling.png";
  EXPECT_EQ(fs::exists(png), is_there("gnuplot"));
  EXPECT_TRUE(!fs::exists(png) || read_png(png).width > 800);
}

TEST(SnfScaling, OneNetworkAndGivenShardsAreHeldAgainstAMeasuredStep) {
  const Snf snf;
  const std::string arguments =
      scaling + "--set shards=2 --bandwidth 2.5 --latency 7 --measured 2=3.5";
  const auto [result, text] = as_json_and_text(snf, arguments);
  expect_words(text, {"2.5 Gbit/s, 7", "no figure: gnuplot is missing", "2      2.5        3.500",
                      "runs/scaling/selfnorm_cnn_mnist/scaling.csv"});
  EXPECT_EQ(text.find("nothing to do"), text.npos);
  EXPECT_EQ(snf.snapshot("runs/scaling/selfnorm_cnn_mnist").size(), 1u);
  EXPECT_EQ(keys_of(result), (Words{"experiment", "threads", "batch_size", "gradient_bytes",
                                    "once_ms", "sum_ms", "shards", "predictions", "csv", "png"}));
  ASSERT_EQ(result["shards"].size(), 1u);
  EXPECT_EQ(result["shards"][0]["images"], 2);
  ASSERT_EQ(result["predictions"].size(), 1u);
  EXPECT_EQ(result["predictions"][0]["gbits"], 2.5);
  EXPECT_EQ(result["predictions"][0]["latency_us"], 7);
  const Json rows = result["predictions"][0]["ranks"];
  ASSERT_EQ(rows.size(), 2u) << "of as many ranks as there are shards";
  EXPECT_EQ(rows[1]["shards"], 2);
  EXPECT_NEAR(rows[1]["latency_ms"].get<double>(), 0.014, 1e-12);
  const double gradient_bytes = result["gradient_bytes"];
  EXPECT_NEAR(rows[1]["exchange_ms"].get<double>(), 8 * gradient_bytes / 2.5e6, 1e-9);
  EXPECT_NEAR(rows[0]["compute_ms"].get<double>(), 2 * rows[1]["compute_ms"].get<double>(), 1e-9);
  EXPECT_EQ(rows[1]["measured_ms"], 3.5);
  EXPECT_NEAR(rows[1]["measured_over_predicted"].get<double>(), 3.5 / rows[1]["ms"].get<double>(),
              1e-9);
  EXPECT_TRUE(rows[0]["measured_ms"].is_null());
  EXPECT_TRUE(result["png"].is_null());
}

TEST(SnfScaling, ANetworkLacksNothingWhenOnlyOneOfItsNumbersIsGiven) {
  const Snf snf;
  const auto networks_of = [&](const std::string& numbers) {
    const Finished run = snf(scaling + "--set shards=4 --max-ranks 1 --json " + numbers);
    expect_success(run);
    std::vector<std::pair<double, double>> networks;
    const Json result = Json::parse(run.out);
    for (const Json& one : result["predictions"])
      networks.emplace_back(one["gbits"], one["latency_us"]);
    return networks;
  };
  using Networks = std::vector<std::pair<double, double>>;
  EXPECT_EQ(networks_of("--bandwidth 40"), (Networks{{40, 20}}));
  EXPECT_EQ(networks_of("--latency 0"), (Networks{{1, 0}, {10, 0}, {100, 0}}));
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
