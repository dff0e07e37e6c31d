// Every optimizer and every schedule of the learning rate, trained, stopped and gone on with.
#include "backflow/apps/files/safetensors.h"
#include "backflow/apps/model/optimizers.h"
#include "backflow/apps/model/schedules.h"
#include "backflow/tests/apps/snf/program.h"
#include "backflow/tests/apps/snf/program_output.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

const std::string experiment = "train selfnorm_fc_mnist ";
const std::string last = "/checkpoints/last.safetensors";

std::string anew(const std::string& run, int epochs, const std::string& settings) {
  return experiment + "--batch-size 10 --lr 0.01 --out " + run + " --epochs " +
         std::to_string(epochs) + " --set " + settings;
}

// The column of metrics.csv.
Words learning_rates(const Snf& snf, const std::string& run) {
  Words rates;
  for (const Words& row : rows_of(read_file(snf / (run + "/metrics.csv")))) rates.push_back(row[5]);
  rates.erase(rates.begin());
  return rates;
}

// The optimizer's names in the file, without those of the parameters.
std::set<std::string> kinds_of_state(const TensorFile& file) {
  std::set<std::string> kinds;
  for (const auto& [name, tensor] : file.tensors)
    if (is_optimizer_state(name)) kinds.insert(name.substr(0, name.find('.', name.find('.') + 1)));
  return kinds;
}

void expect_same_end(const Snf& snf, const std::string& run, const std::string& other) {
  EXPECT_TRUE(read_file(snf / (run + last)) == read_file(snf / (other + last)));
  EXPECT_EQ(learning_rates(snf, run), learning_rates(snf, other));
}

TEST(SnfOptimizers, EachOneGoesOnWithTheSameBits) {
  const Snf snf;
  std::set<std::string> ends;
  for (const std::string& name : optimizers().names()) {
    SCOPED_TRACE(name);
    const std::string settings = "warmup_epochs=0,weight_decay=0.1,optimizer=" + name;
    expect_success(snf(anew(name, 4, settings)));
    expect_success(snf(anew(name + "_stopped", 2, settings)));
    expect_success(snf(experiment + "--resume --epochs 4 --out " + name + "_stopped"));
    expect_same_end(snf, name + "_stopped", name);
    const TensorFile file = load_safetensors(snf / (name + last));
    for (const std::string& kind : kinds_of_state(file))
      EXPECT_TRUE(kind.starts_with(name + ".")) << kind;
    std::string bytes;
    for (const Real value : file.tensors.at("4.weight_fwd").values())
      bytes += std::to_string(value) + " ";
    EXPECT_TRUE(ends.insert(bytes).second) << "another optimizer comes to the same weights";
    expect_success(snf("evaluate selfnorm_fc_mnist --checkpoint " + name + last));
  }
}

TEST(SnfOptimizers, TheirStateIsInTheCheckpoint) {
  const Snf snf;
  const std::vector<std::pair<std::string, std::set<std::string>>> expected = {
      {"sgd", {"sgd.v"}},
      {"sgd,momentum=0", {}},
      {"adam", {"adam.m", "adam.v"}},
      {"adamw", {"adamw.m", "adamw.v"}},
      {"adamax", {"adamax.m", "adamax.u"}}};
  for (const auto& [name, kinds] : expected) {
    fs::remove_all(snf / "run");
    expect_success(snf(anew("run", 1, "optimizer=" + name)));
    EXPECT_EQ(kinds_of_state(load_safetensors(snf / ("run" + last))), kinds);
  }
}

TEST(SnfOptimizers, ARunKeepsItsOptimizer) {
  const Snf snf;
  expect_success(snf(anew("run", 1, "optimizer=sgd")));
  expect_refused(snf, experiment + "--out run --resume --epochs 2 --set optimizer=adam",
                 {"[optimizer] this run began with \"sgd\", --resume asks for \"adam\""});
  expect_refused(snf, experiment + "--out run --resume --epochs 2 --set momentum=0.5",
                 {"[momentum] this run began with 0.9, --resume asks for 0.5"});
  expect_refused(snf, anew("other", 1, "optimizer=adamx"),
                 {"[optimizer] expected one of sgd, adam, ", "did you mean 'adam"});
}

TEST(SnfOptimizers, HelpNamesThemAndTheSchedules) {
  const Finished help = Snf()(experiment + "--help");
  expect_success(help);
  for (const OptimizerRow& row : optimizers().rows())
    expect_words(help.out, {"  " + row.name, row.help});
  for (const ScheduleRow& row : schedules().rows())
    expect_words(help.out, {"  " + row.name, row.help});
  expect_words(help.out, {"\"adam\"", "sgd, adam, adamw or adamax", "\"linear_warmup\"",
                          "constant, linear_warmup, cosine or steps"});
}

// Settings, and the learning rate of the last step of 5 epochs, of which each has 5 steps.
const std::vector<std::pair<std::string, Words>> schedule_rates = {
    {"schedule=constant,warmup_epochs=2", {"0.01", "0.01", "0.01", "0.01", "0.01"}},
    {"schedule=linear_warmup,warmup_epochs=2", {"0.005", "0.01", "0.01", "0.01", "0.01"}},
    {"schedule=cosine,warmup_epochs=1", {"0.01", "0.00853553", "0.005", "0.00146447", "0"}},
    {"schedule=steps,warmup_epochs=2,lr_decay=0.5,lr_decay_epochs=2",
     {"0.005", "0.01", "0.005", "0.005", "0.0025"}}};

TEST(SnfSchedules, LearningRatesAreInTheTableOfMetrics) {
  const Snf snf;
  ASSERT_EQ(schedule_rates.size(), schedules().rows().size());
  for (const auto& [settings, rates] : schedule_rates) {
    fs::remove_all(snf / "run");
    expect_success(snf(anew("run", 5, settings)));
    EXPECT_EQ(learning_rates(snf, "run"), rates) << settings;
  }
}

TEST(SnfSchedules, MoreEpochsContinueThoseThatDoNotKnowTheEnd) {
  const Snf snf;
  for (const auto& [settings, rates] : schedule_rates) {
    if (settings.starts_with("schedule=cosine")) continue;
    SCOPED_TRACE(settings);
    for (const char* run : {"whole", "stopped"}) fs::remove_all(snf / run);
    expect_success(snf(anew("whole", 5, settings)));
    expect_success(snf(anew("stopped", 1, settings)));
    for (const std::string epochs : {"3", "5"})
      expect_success(snf(experiment + "--out stopped --resume --epochs " + epochs));
    expect_same_end(snf, "stopped", "whole");
  }
}

TEST(SnfSchedules, ACosineEndsWhereItWasToEnd) {
  const Snf snf;
  const std::string cosine = "schedule=cosine,warmup_epochs=1";
  const std::string resume = experiment + "--out run --resume ";
  expect_success(snf(anew("run", 3, cosine)));
  for (const std::string epochs : {"2", "5"})
    expect_refused(snf, resume + "--epochs " + epochs,
                   {"[epochs] this run began with 3, --resume asks for " + epochs,
                    "the schedule 'cosine' follow from the number of epochs",
                    "begin a new run with another --out"});
  const Finished finished = snf(resume + "--epochs 3");
  expect_success(finished);
  expect_words(finished.out, {"has its 3 epochs already: nothing to do\n"});
}

TEST(SnfSchedules, AnInterruptedCosineGoesOnToItsEnd) {
  const Snf snf;
  const std::string cosine = "schedule=cosine,warmup_epochs=1";
  const std::string many = experiment + "--batch-size 1 --epochs 4 --set num_layers=6," + cosine;
  expect_success(snf(many + " --out whole"));
  const Finished stopped =
      snf(many + " --out run", {.signal = SIGINT, .when = [](const std::string& out) {
                                  return out.find("1/4") != out.npos;
                                }});
  ASSERT_EQ(stopped.code, 128 + SIGINT);
  // The end is the checkpoint's to know: config.json is the user's to read.
  Json config = Json::parse(read_file(snf / "run/config.json"));
  config["epochs"] = 9;
  snf.write("run/config.json", config.dump());
  expect_success(snf(experiment + "--out run --resume"));
  expect_same_end(snf, "run", "whole");
  EXPECT_EQ(Json::parse(read_file(snf / "run/config.json"))["epochs"], 4);
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
