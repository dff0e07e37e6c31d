// What the program zoo is given and does not take: one line each.
#include "backflow/tests/apps/zoo/zoo_program.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

TEST(ZooBadInput, OfEachOptionGetsOneLine) {
  const ZooProgram zoo;
  const std::vector<std::pair<std::string, Words>> wrong = {
      {"", {"subcommand", "--help"}},
      {"trian maf", {"no 'trian'", "did you mean 'train'"}},
      {"train", {"flow", "required"}},
      {"train mfa", {"[flow]", "expected one of", "'mfa'"}},
      {"train real_nv", {"did you mean 'real_nvp'"}},
      {"train maf --targt moons", {"no '--targt'", "did you mean '--target'"}},
      {"train maf --target moon", {"[--target]", "did you mean 'moons'"}},
      {"train maf --steps 0", {"[steps]", "expected 1 to", "got 0"}},
      {"train maf --steps many", {"[steps]", "whole number", "'many'"}},
      {"train maf --batch-size -1", {"[batch_size]", "got -1"}},
      {"train maf --lr nan", {"[lr]", "a number", "'nan'"}},
      {"train maf --lr 0", {"[lr]", "positive", "got 0"}},
      {"train maf --seed x", {"[seed]", "'x'"}},
      {"train maf --threads 0", {"[--threads]", "from 1", "'0'"}},
      {"train maf --layers 0", {"[layers]", "got 0"}},
      {"train maf --width 0", {"[width]", "got 0"}},
      {"train planar --width 5", {"[width]", "no networks", "got 5"}},
      {"train maf --context label --target swissroll", {"[context]", "swissroll has no labels"}},
      {"train maf --context x", {"[context]", "expected 'label'"}},
      {"train planar --context label", {"[context]", "planar takes none"}},
      {"train real_nvp --target u1", {"[target]", "does not learn u1", "iaf, planar"}},
      {"train maf --target u1", {"[target]", "slow direction"}},
      {"train iaf --target u1 --context label", {"[context]", "u1 has no labels"}},
      {"sample none --csv --out x.png", {"[--out]", "--csv"}},
      {"train maf --data none.csv", {"none.csv", "cannot read"}},
      {"train maf --data table.csv --target moons", {"[target]", "got both"}},
      {"train maf --data table.csv --context spun", {"spun", "spin"}},
      {"train maf --train table.csv", {"[--train]", "--validation and --test"}},
      {"train maf --data table.csv --test table.csv", {"[--data]", "one file for all"}},
      {"train integer_discrete_flow --data table.csv", {"[data]", "whole numbers"}},
      {"train maf --resume", {"nothing to resume"}},
      {"evaluate none", {"none", "no such run directory", "zoo train"}},
      {"evaluate data", {"data", "holds no run"}},
      {"evaluate none --jsn", {"--jsn", "--json"}},
      {"sample none --count 0", {"[--count]", "'0'"}},
      {"sample none --out x.jpg", {"[--out]", "x.png"}},
      {"density none", {"--out", "required"}}};
  for (const auto& [arguments, words] : wrong) expect_refused(zoo, arguments, words);
}

// Otherwise it would be a path that is left out, and another density learned than was asked for.
TEST(ZooBadInput, AnEmptyPathIsRefused) {
  const ZooProgram zoo;
  for (const std::string flag : {"--data", "--train", "--validation", "--test", "--out"}) {
    const Finished refused = zoo.run({ZOO_PROGRAM, "train", "maf", flag, ""});
    EXPECT_EQ(refused.code, 2) << flag;
    expect_words(refused.err, {"[" + flag + "]", "expected a path, got ''"});
  }
}

TEST(ZooBadInput, ACouplingRefusesOneColumn) {
  const ZooProgram zoo;
  std::string column;
  for (int i = 0; i < 40; ++i) column += std::to_string(i * i % 17) + "\n";
  zoo.write("one.csv", column);
  expect_refused(zoo, "train real_nvp --data one.csv",
                 {"[flow]", "real_nvp", "at least 2", "got 1"});
  expect_success(zoo("train maf --data one.csv --out run --quiet --steps 2 --layers 1"));
  expect_refused(zoo, "sample run", {"one column", "--csv"});
  expect_refused(zoo, "density run --out x.png", {"two columns", "has 1"});
}

TEST(ZooBadInput, ARunOfAnotherProgramIsRefused) {
  const ZooProgram zoo;
  const Snf snf;
  expect_success(snf("train selfnorm_fc_mnist --batch-size 10 --epochs 1 --quiet --out " +
                     (zoo / "run").string()));
  expect_refused(zoo, "evaluate run", {"no checkpoint of the program zoo", "'selfnorm_fc_mnist'"});
  expect_refused(zoo, "train maf --out run --resume", {"'selfnorm_fc_mnist'", "'zoo maf'"});
}

TEST(ZooBadInput, ADamagedConfigurationIsNamed) {
  const ZooProgram zoo;
  expect_success(zoo("train maf --data table.csv --out run --quiet --steps 2 --layers 1"));
  zoo.write("run/config.json", "{\"flow\": \"mfa\"}");
  expect_refused(zoo, "evaluate run", {"config.json", "configuration is damaged", "'mfa'"});
  zoo.write("run/checkpoints/best.safetensors", "garbage");
  expect_refused(zoo, "evaluate run", {"best.safetensors"});
}

TEST(ZooBadInput, DivergenceIsSaidWithTheStepAndTheOp) {
  const ZooProgram zoo;
  const Finished run = zoo("train maf --lr 1e300 --max-grad-norm 0 --out run --quiet --steps 40");
  EXPECT_EQ(run.code, 3) << run.err;
  expect_words(run.err, {"zoo: maf diverged in epoch ", "the last good checkpoint is kept"});
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
