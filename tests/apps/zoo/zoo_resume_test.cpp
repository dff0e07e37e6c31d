// A run of the zoo that was stopped ends as if it had not been.
#include "backflow/apps/files/safetensors.h"
#include "backflow/tests/apps/zoo/zoo_program.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

const std::vector<std::string> kinds = {
    "train residual_flow --target 8gaussians --layers 2 --width 8",
    "train planar --target u2 --layers 4", "train maf --data table.csv --layers 2 --width 8"};

void expect_same_run(const ZooProgram& zoo, const std::string& run, const std::string& as) {
  for (const char* name : {"checkpoints/last.safetensors", "checkpoints/best.safetensors"})
    EXPECT_TRUE(read_file(zoo / (run + "/" + name)) == read_file(zoo / (as + "/" + name)))
        << run << "/" << name << " differs";
  EXPECT_EQ(timeless_metrics(zoo / run), timeless_metrics(zoo / as));
  EXPECT_EQ(zoo.snapshot(run).size(), zoo.snapshot(as).size());
}

TEST(ZooThreads, DoNotChangeOneBit) {
  const ZooProgram zoo;
  for (const std::string& kind : kinds) {
    SCOPED_TRACE(kind);
    const std::string steps = " --steps 20 --batch-size 300 --quiet --threads ";
    expect_success(zoo(kind + steps + "1 --out one"));
    expect_success(zoo(kind + steps + "3 --out three"));
    expect_same_run(zoo, "three", "one");
    for (const char* run : {"one", "three"}) fs::remove_all(zoo / run);
  }
}

TEST(ZooResume, ARunThatIsKilledAtAnyMomentEndsTheSame) {
  const ZooProgram zoo;
  const std::string steps =
      " --steps 70 --batch-size 30 --save-every 1e-6";  // the last piece is shorter
  int killed = 0;
  for (const std::string& kind : kinds) {
    SCOPED_TRACE(kind);
    expect_success(zoo(kind + steps + " --out whole"));
    for (const char* moment :
         {"metrics.csv", "checkpoints/best.safetensors.tmp", "samples/epoch_010.png.tmp"}) {
      const auto appears = [path = zoo / (std::string("run/") + moment)](const std::string&) {
        return fs::exists(path);
      };
      const Finished first = zoo(kind + steps + " --out run", {.signal = SIGKILL, .when = appears});
      killed += first.code == 128 + SIGKILL;
      if (!fs::exists(zoo / "run/checkpoints/last.safetensors")) fs::remove_all(zoo / "run");
      const bool begun = fs::exists(zoo / "run");
      expect_success(zoo(begun ? kind.substr(0, kind.find(" --")) + " --out run --resume"
                               : kind + steps + " --out run"));
      expect_same_run(zoo, "run", "whole");
      fs::remove_all(zoo / "run");
    }
    fs::remove_all(zoo / "whole");
  }
  EXPECT_GE(killed, 3) << "of 9; the others were over too soon";
}

TEST(ZooResume, CtrlCSavesAndSaysHowToGoOn) {
  const ZooProgram zoo;
  const std::string training = kinds[0] + " --steps 2000 --batch-size 16";
  const auto evaluated = [](const std::string& printed) {
    return printed.find("    1/20") != printed.npos;
  };
  const Finished stopped = zoo(training + " --out run", {.signal = SIGINT, .when = evaluated});
  ASSERT_EQ(stopped.code, 130) << stopped.err;
  expect_words(stopped.err, {"interrupted in epoch ", "and saved; go on with:\n",
                             "train residual_flow --out run --resume"});
  EXPECT_EQ(stopped.out.find("NLL of 20000"), std::string::npos);
}

TEST(ZooResume, OfAFinishedRunChangesNothingAndReportsAgain) {
  const ZooProgram zoo;
  const std::string training = "train maf --out run --steps 4 --layers 1 --batch-size 8";
  const Finished first = zoo(training);
  expect_success(first);
  const auto before = zoo.snapshot();
  const Finished again = zoo("train maf --out run --resume");
  expect_success(again);
  expect_words(again.out, {"run has its 4 epochs already: nothing to do"});
  const std::string report = "NLL of 20000";
  EXPECT_EQ(again.out.substr(again.out.find(report)), first.out.substr(first.out.find(report)));
  EXPECT_EQ(zoo.snapshot(), before);
}

TEST(ZooResume, AnotherConfigurationFlowOrTableIsRefused) {
  const ZooProgram zoo;
  expect_success(zoo("train maf --data table.csv --out run --quiet --steps 4 --layers 1"));
  const std::string resume = "train maf --out run --resume ";
  expect_refused(zoo, resume + "--steps 9", {"[steps]", "began with 4, --resume asks for 9"});
  expect_refused(zoo, resume + "--lr 1", {"[lr]", "--resume asks for 1"});
  expect_refused(zoo, resume + "--target moons", {"[target]", "\"moons\"", "another --out"});
  expect_refused(zoo, "train nice --out run --resume", {"'zoo maf'", "expected 'zoo nice'"});
  expect_refused(zoo, "train maf --out none --resume", {"nothing to resume"});
  expect_refused(zoo, "train maf --out run", {"holds a run already", "--resume"});
  zoo.write("table.csv", read_file(zoo / "table.csv") + "1,2,3\n");
  expect_refused(zoo, resume, {"table.csv", "not the table that this run began with"});
  expect_refused(zoo, "evaluate run", {"not the table"});
  fs::remove(zoo / "table.csv");
  expect_refused(zoo, resume, {"table.csv", "cannot read"});
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
