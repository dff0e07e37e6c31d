#include <cmath>

#include "backflow/tests/apps/zoo/zoo_program.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

const std::string tiny = " --steps 8 --batch-size 16 --layers 2 ";

Json json_of(const Finished& run) {
  expect_success(run);
  return Json::parse(run.out);
}

TEST(Zoo, ListsEveryFlowWithItsParameters) {
  const ZooProgram zoo;
  const Finished list = zoo("list");
  expect_success(list);
  expect_words(list.out, {"flow", "paper", "fast direction", "inverse", "parameters", "nice",
                          "neural_spline_autoregressive", "residual_flow", "integer_discrete_flow",
                          "Papamakarios", "glow"});
}

TEST(Zoo, ARunHoldsItsFilesAndIsEvaluatedAsItWasTrained) {
  const ZooProgram zoo;
  const Finished trained = zoo("train maf --width 8 --layers 2 --batch-size 16 --steps 30");
  expect_success(trained);
  expect_words(trained.out, {"maf: 2 layers", "moons: two half circles", "20000 held-out samples",
                             "entropy of moons: 2.3939", "KL: "});
  const std::string run = "runs/zoo/maf-moons";
  for (const char* file : {"config.json", "metrics.csv", "checkpoints/last.safetensors",
                           "checkpoints/best.safetensors", "density.png", "grid.png",
                           "samples/epoch_005.png", "samples/epoch_015.png"})
    EXPECT_TRUE(fs::exists(zoo / (run + "/" + file))) << file;
  const auto rows = rows_of(read_file(zoo / (run + "/metrics.csv")));
  ASSERT_EQ(rows.size(), 16u);  // 30 steps, two at a time
  const Finished evaluated = zoo("evaluate " + run);
  expect_success(evaluated);
  EXPECT_TRUE(trained.out.ends_with(evaluated.out.substr(evaluated.out.find('\n') + 1)));
  const Json json = json_of(zoo("evaluate " + run + " --json"));
  EXPECT_EQ(json["flow"], "maf");
  EXPECT_EQ(json["count"], 20'000);
  EXPECT_NEAR(json["nll"].get<double>() - 2.3938792, json["kl"], 0.05);
  EXPECT_GT(json["kl"], 4 * json["kl_standard_error"].get<double>());
}

TEST(Zoo, AnEnergyIsLearnedFromTheFlowsOwnSamples) {
  const ZooProgram zoo;
  expect_success(zoo("train planar --target u1 --out run --quiet --steps 40 --batch-size 16"));
  const Json json = json_of(zoo("evaluate run --json"));
  EXPECT_EQ(json["bound_is"], "-log Z of u1");
  EXPECT_NEAR(json["nll"].get<double>() + 1.8775016, json["kl"], 1e-6);
  EXPECT_GT(json["kl"], 0);
}

TEST(Zoo, AContextIsDrawnWhenSamplesAre) {
  const ZooProgram zoo;
  expect_success(zoo("train maf --target 8gaussians --context label --out run --quiet" + tiny));
  EXPECT_NEAR(json_of(zoo("evaluate run --json"))["bound"], 0.7587, 1e-4);
  const Finished sample = zoo("sample run --count 5 --csv");
  expect_success(sample);
  EXPECT_EQ(rows_of(sample.out).size(), 6u);
  EXPECT_EQ(rows_of(sample.out)[0], (Words{"x", "y"}));
}

TEST(Zoo, IntegersStayOnTheirGrid) {
  const ZooProgram zoo;
  const std::string out = "--target 8gaussians --out run --quiet --width 8";
  expect_success(zoo("train integer_discrete_flow " + out + tiny));
  const Json json = json_of(zoo("evaluate run --json"));
  EXPECT_NEAR(json["bound"], 2.8318804 - 2 * std::log(0.125), 0.05);
  const Finished sample = zoo("sample run --count 20 --csv");
  expect_success(sample);
  const auto rows = rows_of(sample.out);
  for (std::size_t i = 1; i < rows.size(); ++i)
    for (const std::string& cell : rows[i])
      EXPECT_EQ(8 * std::stod(cell), std::round(8 * std::stod(cell))) << cell;
}

TEST(Zoo, ATableIsReportedInItsOwnUnits) {
  const ZooProgram zoo;
  const Finished trained = zoo("train maf --data table.csv --width 8" + tiny);
  expect_success(trained);
  expect_words(trained.out,
               {"table.csv: 3 columns, 80 rows to train", "held-out rows", "log-likelihood"});
  // Its columns have deviations of about 1, 1.4 and 5.
  const double nll = json_of(zoo("evaluate runs/zoo/maf-table --json"))["nll"];
  EXPECT_NEAR(nll, 3 * 1.4189 + std::log(5), 2.5);
  const Finished sample = zoo("sample runs/zoo/maf-table --count 50 --csv");
  const auto rows = rows_of(sample.out);
  ASSERT_EQ(rows.size(), 51u);
  EXPECT_EQ(rows[0], (Words{"mass", "charge", "spin"}));
  double spin = 0;
  for (std::size_t i = 1; i < rows.size(); ++i) spin += std::stod(rows[i][2]) / 50;
  EXPECT_NEAR(spin, 100, 8);
}

TEST(Zoo, ARunIsEvaluatedFromAnotherDirectory) {
  const ZooProgram zoo;
  expect_success(zoo("train maf --data table.csv --out run --quiet" + tiny));
  const Finished here = zoo("evaluate run");
  const std::string program = ZOO_PROGRAM, run = zoo / "run";
  const Finished there = zoo.run({"/bin/sh", "-c", "cd / && " + program + " evaluate " + run});
  EXPECT_EQ(there.out, here.out);
  EXPECT_EQ(there.err, "");
}

TEST(Zoo, PicturesAreDrawnFromARun) {
  const ZooProgram zoo;
  expect_success(zoo("train maf --out run --quiet" + tiny));
  expect_success(zoo("density run --out map.png"));
  expect_success(zoo("sample run --count 50"));
  EXPECT_GT(read_png(zoo / "map.png").width, 300);
  EXPECT_GT(read_png(zoo / "run/samples.png").width, 300);
}

// The commands of both READMEs but those of tables that one has to fetch, without their comments.
std::vector<std::string> commands_of_the_readmes() {
  const std::string start = "    build/apps/zoo ";
  std::vector<std::string> commands;
  for (const char* file : {"/README.md", "/apps/zoo/README.md"}) {
    std::istringstream lines(read_file(std::string(BACKFLOW_SOURCE_ROOT) + file));
    for (std::string line; std::getline(lines, line);)
      if (line.starts_with(start))
        commands.push_back(line.substr(start.size(), line.find("  #") - start.size()));
  }
  return commands;
}

TEST(Readme, CommandsOfTheZooRun) {
  const ZooProgram zoo;
  std::string people = "age,height,mass\n";
  for (int i = 0; i < 60; ++i)
    people += std::to_string(i % 7) + "," + std::to_string(i % 11) + "," + std::to_string(i) + "\n";
  for (const char* table : {"people.csv", "a.csv", "b.csv", "c.csv"}) zoo.write(table, people);
  expect_success(zoo("train maf --quiet" + tiny));  // which a command presupposes
  int run = 0;
  for (const std::string& command : commands_of_the_readmes()) {
    if (command.starts_with("gallery")) continue;  // it takes minutes
    const bool trains = command.starts_with("train ");
    expect_success(zoo(command + (trains ? " --quiet" + tiny : "")));
    ++run;
  }
  EXPECT_GE(run, 12);
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
