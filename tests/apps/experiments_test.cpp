#include "apps/experiments.h"

#include "apps/nearest.h"
#include "tests/apps/io/scratch.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

TEST(Experiments, HaveValidDefaultsAndAreFoundByTheirNames) {
  EXPECT_EQ(experiments().size(), 14u);
  for (const Experiment& experiment : experiments()) {
    EXPECT_EQ(message_of([&] { validate(experiment.config); }), "");
    EXPECT_EQ(&find_experiment(experiment.config.experiment), &experiment);
  }
}

TEST(Experiments, AnUnknownNameIsAnsweredWithTheNearest) {
  expect_message(message_of([] { find_experiment("selfnrm_fc_mnist"); }), "[experiment]",
                 "'selfnrm_fc_mnist'", "did you mean 'selfnorm_fc_mnist'?", "snf list");
}

TEST(Nearest, IsTheWordThatNeedsTheFewestEdits) {
  const std::vector<std::string> words = {"train", "evaluate", "sample", "bench", "list"};
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"train", "train"}, {"trian", "train"},  {"evalaute", "evaluate"}, {"smple", "sample"},
      {"bnech", "bench"}, {"lists", "list"},   {"tain", "train"},        {"xsample", "sample"},
      {"", "list"},       {"samplr", "sample"}};
  for (const auto& [typed, meant] : cases) EXPECT_EQ(nearest(typed, words), meant) << typed;
  EXPECT_EQ(nearest("ac", {"zz", "abc"}), "abc");     // one insertion, not two replacements
  EXPECT_EQ(nearest("abc", {"abzz", "ac"}), "ac");    // one deletion
  EXPECT_EQ(nearest("abc", {"abzz", "axc"}), "axc");  // one replacement
  EXPECT_EQ(nearest("ab", {"ax", "xb"}), "ax");       // the first of several
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
