// Ranks add up along the tree of the shards, so that the bits do not depend on how many there are.
#include "backflow/apps/train/ranks.h"

#include <cmath>
#include <numeric>

#include "backflow/apps/files/atomic_file.h"
#include "backflow/apps/train/run_copy.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/random.h"
#include "backflow/tests/apps/files/scratch.h"
#include "backflow/tests/apps/model/tiny_experiment.h"
#include "backflow/tests/apps/train/threads_as_ranks.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Words = std::vector<std::string>;

namespace fs = std::filesystem;

// Numbers of which every other order of adding has other bits.
std::vector<Real> list_of(Index rank, Index size) {
  return (Random(static_cast<std::uint64_t>(rank)).normal({size}) *
          std::ldexp(Real(1), static_cast<int>(rank % 5 * 3)))
      .values();
}

TEST(Ranks, AddListsAlongTheTree) {
  for (const Index R : {1, 2, 4, 8})
    for (const Index size : {0, 1, 2, 3, 7, 1000}) {
      std::vector<std::vector<Real>> sums;
      for (Index i = 0; i < R; ++i) sums.push_back(list_of(i, size));
      for (Index n = R; n > 1; n /= 2)
        for (Index i = 0; i < n / 2; ++i)
          for (Index k = 0; k < size; ++k) sums[i][k] = sums[2 * i][k] + sums[2 * i + 1][k];
      const auto found = on_ranks(R, [&](Ranks& ranks) {
        std::vector<Real> list = list_of(ranks.rank(), size);
        add_over_ranks(ranks, list);
        return list;
      });
      for (const auto& list : found) EXPECT_EQ(list, sums[0]) << R << " ranks, " << size;
    }
}

TEST(Ranks, SendLessThanTwiceTheList) {
  constexpr Index size = 1 << 12;
  for (const Index R : {2, 4, 8, 16}) {
    Post post(R);
    on_ranks(post, [&](Ranks& ranks) {
      std::vector<Real> list(size);
      add_over_ranks(ranks, list);
      return 0;
    });
    const Index bytes = size * static_cast<Index>(sizeof(Real));
    for (Index i = 0; i < R; ++i) EXPECT_EQ(post.bytes_sent_by(i), 2 * (bytes - bytes / R));
  }
}

TEST(Ranks, GatherTextsByRank) {
  for (const Index R : {1, 2, 4, 8}) {
    std::vector<std::string> texts;
    for (Index i = 0; i < R; ++i)
      texts.push_back(std::string(static_cast<std::size_t>(i * i), 'a'));
    const auto found =
        on_ranks(R, [&](Ranks& ranks) { return gather_over_ranks(ranks, texts[ranks.rank()]); });
    for (const auto& all : found) EXPECT_EQ(all, texts);
  }
}

TEST(Ranks, AgreeOnTheGreatestValue) {
  const auto found = on_ranks(
      8, [](Ranks& ranks) { return greatest_over_ranks(ranks, ranks.rank() == 5 ? 15 : 0); });
  EXPECT_EQ(found, std::vector<Index>(8, 15));
}

TEST(Ranks, ADifferenceNamesTheRankAndBothValues) {
  const auto found = on_ranks(4, [](Ranks& ranks) {
    const auto check = [&](const char* what, Index odd_one) {
      return message_of(
          [&] { check_same_on_ranks(ranks, what, ranks.rank() == odd_one ? "Zen" : "Haswell"); });
    };
    return Words{check("OpenBLAS kernel", 2), check("kernel", 0), check("kernel", 4)};
  });
  for (const Words& messages : found) {
    EXPECT_EQ(messages[0],
              "[ranks] the OpenBLAS kernel of rank 2 is \"Zen\", that of rank 0 \"Haswell\": "
              "expected the same on all ranks");
    expect_message(messages[1], "the kernel of rank 1 is \"Haswell\", that of rank 0 \"Zen\"");
    EXPECT_EQ(messages[2], "");
  }
}

class SomeRanks final : public Ranks {
 public:
  explicit SomeRanks(Index count) : count_(count) {}
  Index count() const override { return count_; }
  Index rank() const override { return 0; }
  void exchange(Index, std::span<const std::byte>, std::span<std::byte>) override { FAIL(); }

 private:
  Index count_;
};

TEST(Ranks, ThatCannotShareTheShardsAreTold) {
  const auto message = [](Index ranks, Index shards) {
    return message_of([&] {
      check_count(SomeRanks(ranks));
      check_share(SomeRanks(ranks), shards);
    });
  };
  EXPECT_EQ(message(1, 3), "") << "one rank may have any number";
  EXPECT_EQ(message(2, 2), "");
  EXPECT_EQ(message(2, 8), "");
  expect_message(message(3, 6), "3 ranks", "a power of two", "mpirun -n 2");
  expect_message(message(2, 1), "2 ranks cannot share 1 shard:", "--set shards=2");
  expect_message(message(2, 6), "2 ranks cannot share 6 shards:", "a power of two");
  expect_message(message(8, 4), "8 ranks cannot share 4 shards:", "--set shards=8");
  EXPECT_THROW(one_rank().exchange(1, {}, {}), Error);
}

// ---- Training ---------------------------------------------------------------------------------

// The bits of a model and its optimizer after some steps, and what the last one returned.
struct AfterSteps {
  std::vector<std::vector<Real>> state;
  double objective = 0, reconstruction = 0, nll = 0, standard_error = 0;
  std::vector<double> first;

  bool operator==(const AfterSteps&) const = default;
};

AfterSteps after_steps(const Tiny& tiny, Ranks& ranks, int steps = 2) {
  const Model model(tiny.config, tiny.image);
  const auto optimizer = make_optimizer(tiny.config, model);
  const StepResult last = tiny.train(model, *optimizer, steps, ShardSchedule::in_turn, ranks);
  AfterSteps after;
  after.objective = last.objective;
  after.reconstruction = last.reconstruction;
  for (const Tensor& x : state_of(model)) after.state.push_back(x.values());
  for (const auto& [name, x] : optimizer->state()) after.state.push_back(x->values());
  return after;
}

TEST(Ranks, TrainToTheSameBitsAsOneDoes) {
  for_each_experiment([](const Tiny& tiny) {
    Tiny cut = tiny;
    cut.config.shards = 8;
    const AfterSteps alone = after_steps(cut, one_rank());
    for (const Index R : {2, 4, 8})
      for (const AfterSteps& after :
           on_ranks(R, [&](Ranks& ranks) { return after_steps(cut, ranks); }))
        EXPECT_TRUE(after == alone) << R << " ranks";
  });
}

TEST(Ranks, WithoutImagesComeToTheSameBits) {
  for (const char* name : {"geco_selfnorm_glow_mnist", "exact_fc_mnist", "selfnorm_cnn_mnist"}) {
    Tiny tiny(find_experiment(name));
    tiny.config.shards = 16;
    tiny.images.pixels.resize(static_cast<std::size_t>(3 * tiny.image.size()));  // three images
    tiny.images.labels.resize(3);
    const AfterSteps alone = after_steps(tiny, one_rank());
    for (const AfterSteps& after :
         on_ranks(8, [&](Ranks& ranks) { return after_steps(tiny, ranks); }))
      EXPECT_TRUE(after == alone) << name;
  }
}

// Some of its images several times.
Tiny tiny_with_images(Index count) {
  Tiny tiny(find_experiment("selfnorm_cnn_mnist"));
  const std::vector<std::uint8_t> some = tiny.images.pixels;
  while (tiny.images.count() < count)
    tiny.images.pixels.insert(tiny.images.pixels.end(), some.begin(), some.end());
  return tiny;
}

TEST(Ranks, EvaluateToTheSameBitsAsOneDoes) {
  const Tiny tiny = tiny_with_images(730);  // no whole number of batches
  const Model model(tiny.config, tiny.image);
  const auto evaluated = [&](Ranks& ranks, Index limit) {
    const Likelihood found =
        evaluate(model, tiny.images, Split::test, Noise::uniform, limit, ranks);
    return AfterSteps{
        {}, static_cast<double>(found.images), 0, found.nll, found.standard_error, found.first};
  };
  for (const Index limit : {0, 3, 101})
    for (const AfterSteps& found :
         on_ranks(4, [&](Ranks& ranks) { return evaluated(ranks, limit); }))
      EXPECT_TRUE(found == evaluated(one_rank(), limit)) << limit;
}

TEST(Ranks, WatchAnEvaluationEquallyOften) {
  const Tiny tiny = tiny_with_images(430);
  const Model model(tiny.config, tiny.image);
  for (const auto& seen : on_ranks(4, [&](Ranks& ranks) {
         std::vector<std::pair<Index, Index>> seen;
         evaluate(model, tiny.images, Split::test, Noise::uniform, 430, ranks,
                  [&](Index done, Index all) { seen.emplace_back(done, all); });
         return seen;
       }))
    EXPECT_EQ(seen, (std::vector<std::pair<Index, Index>>{{400, 430}, {430, 430}}));
}

// ---- Files ------------------------------------------------------------------------------------

TEST(RunCopy, GivesTheFirstRanksRunToRanksThatDoNotHaveIt) {
  const Scratch scratch;
  const RunDirectory run{scratch / "run"};
  fs::create_directories(run.last().parent_path());
  scratch.write("run/config.json", "the configuration");
  scratch.write("run/checkpoints/last.safetensors", "a checkpoint");
  const auto look = [&](Ranks& ranks) {
    fs::path root;
    Words files;
    {
      const RunCopy copy(ranks.is_first() ? run : RunDirectory{"elsewhere"}, true, ranks);
      root = copy.directory().root;
      files = Words{read_file(copy.directory().config()), read_file(copy.directory().last())};
    }
    EXPECT_EQ(fs::exists(root), ranks.is_first()) << "a copy does not stay";
    return files;
  };
  for (const Words& files : on_ranks(4, look))
    EXPECT_EQ(files, (Words{"the configuration", "a checkpoint"}));
  fs::rename(run.last(), run.best());
  const auto best = [&](Ranks& ranks) {
    const RunCopy copy(run, true, ranks);
    if (!ranks.is_first()) return int{read_file(copy.directory().last()) == "a checkpoint"};
    return int{!fs::exists(copy.directory().last()) &&
               read_file(copy.directory().best()) == "a checkpoint"};
  };
  EXPECT_EQ(on_ranks(2, best), (std::vector<int>{1, 1}));
}

TEST(RunCopy, OfANewRunIsEmpty) {
  const Scratch scratch;
  const auto count = [&](Ranks& ranks) {
    const RunCopy copy({scratch.dir()}, false, ranks);
    return static_cast<int>(std::distance(fs::directory_iterator(copy.directory().root), {}));
  };
  EXPECT_EQ(on_ranks(2, count), (std::vector<int>{0, 0}));
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
