// A batch cut into shards: the same bits whoever computes them, and the gradient of the batch.
#include "backflow/apps/train/shards.h"

#include <cmath>
#include <numeric>

#include "backflow/apps/data/purposes.h"
#include "backflow/apps/model/checkpoint.h"
#include "backflow/ops/global_norm.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/tests/apps/files/scratch.h"
#include "backflow/tests/apps/model/tiny_experiment.h"
#include "backflow/tests/check.h"
#include "backflow/tests/factorizations.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// ---- The batch and the tree -------------------------------------------------------------------

TEST(Shards, CutABatchByPositionIntoPartsThatDifferByOneAtMost) {
  for (const Index rows : {0, 1, 5, 8, 100})
    for (const Index shards : {1, 2, 3, 8, 13}) {
      Index next = 0;
      for (Index i = 0; i < shards; ++i) {
        const Shard shard = shard_of(rows, shards, i);
        EXPECT_EQ(shard.first, next);
        EXPECT_GE(shard.count(), rows / shards);
        EXPECT_LE(shard.count(), (rows + shards - 1) / shards);
        next = shard.end;
      }
      EXPECT_EQ(next, rows);
    }
  EXPECT_THROW(shard_of(5, 0, 0), Error);
  EXPECT_THROW(shard_of(5, 2, 2), Error);
  EXPECT_THROW(ShardTree(0), Error);
}

ShardSum leaf(Real value) { return {double{value}, {double{value}}, {Tensor(value), Tensor()}}; }

// Numbers of which every other order of adding has other bits.
Real awkward(Index i) { return std::ldexp(Real(1) / static_cast<Real>(3 + 2 * i), i % 5 * 3); }

// The tree, written as a recursion: the left half is the largest power of two that leaves a right.
Real sum_of(Index first, Index end) {
  if (end - first == 1) return awkward(first);
  Index half = 1;
  while (2 * half < end - first) half *= 2;
  return sum_of(first, first + half) + sum_of(first + half, end);
}

TEST(ShardTree, AddsNeighboursInWhicheverOrderTheyCome) {
  for (Index shards = 1; shards <= 17; ++shards)
    for (std::uint64_t seed = 0; seed < 10; ++seed) {
      ShardTree tree(shards);
      for (const std::uint32_t i : Random(seed).permutation(static_cast<std::uint32_t>(shards)))
        tree.add(i, leaf(awkward(i)));
      const ShardSum total = tree.take_total();
      ASSERT_EQ(total.gradients[0].item(), sum_of(0, shards)) << shards;
      EXPECT_FALSE(total.gradients[1].defined());
    }
}

TEST(ShardTree, AnEmptyShardAddsNothing) {
  ShardTree tree(4);
  tree.add(3, leaf(2));
  tree.add(0, {});
  tree.add(2, {});
  tree.add(1, leaf(1));
  const ShardSum total = tree.take_total();
  EXPECT_EQ(total.objective, 3);
  EXPECT_EQ(total.losses, std::vector<double>{3});
  EXPECT_EQ(total.gradients[0].item(), 3);
}

TEST(ShardTree, OneAfterAnotherKeepsFewSums) {
  constexpr Index size = 1000, shards = 64;
  const Index before = memory_use().live_bytes;
  reset_peak_bytes();
  const ShardSum total = sum_over_shards({0, shards}, ShardSchedule::in_turn, [&](Index) {
    return ShardSum{0, {}, {Tensor::full({size}, 1)}};
  });
  EXPECT_EQ(total.gradients[0][7], 64);
  const double sums = static_cast<double>(memory_use().peak_bytes - before) / (size * sizeof(Real));
  EXPECT_LT(sums, 7 * 1.2) << "log2(64) + 1 of them";
  EXPECT_GT(sums, 5);
}

TEST(GradientList, GivesBackWhatItTook) {
  Parameter a(Tensor({2}, {1, 2})), b(Tensor(3)), unused(Tensor(4));
  const std::vector<NamedParameter> named = {
      {"a", &a}, {"b", &b}, {"a again", &a}, {"unused", &unused}};
  const GradientList parameters(named);
  const Gradients found = backward(a * b, Tensor::full({2}, 1));
  const Gradients again = parameters.as_gradients(parameters.taken_from(found));
  EXPECT_EQ(again[a].values(), found[a].values());
  EXPECT_EQ(again[b].values(), found[b].values());
  EXPECT_TRUE(again.contains(b));
  EXPECT_FALSE(again.contains(unused));
  EXPECT_FALSE(parameters.as_gradients({Tensor(), Tensor(), Tensor()}).contains(a));
}

// ---- Which order -------------------------------------------------------------------------------

// How the shards of the last of some steps are computed, and what was said after them.
struct Scheduled {
  ShardSchedule last;
  std::string said;
};

Scheduled schedule(ShardScheduler scheduler, double in_turn, double side_by_side) {
  Scheduled result;
  for (int step = 0; step < 20; ++step) {
    result.last = scheduler.next();
    const bool warming_up = step < 2;
    const double seconds = result.last == ShardSchedule::in_turn ? in_turn : side_by_side;
    result.said += scheduler.took(warming_up ? 1 - seconds : seconds + 0.01 * (step % 3));
  }
  return result;
}

TEST(ShardScheduler, TriesBothWaysAndKeepsTheFaster) {
  const Scheduled in_turn = schedule({4, 2}, 0.1, 0.2), side_by_side = schedule({4, 2}, 0.2, 0.1);
  EXPECT_EQ(in_turn.last, ShardSchedule::in_turn);
  EXPECT_EQ(in_turn.said,
            "4 shards one after another: 100.0 ms a step one after another, 200.0 side by side\n");
  EXPECT_EQ(side_by_side.last, ShardSchedule::side_by_side);
  EXPECT_EQ(side_by_side.said,
            "4 shards side by side: 200.0 ms a step one after another, 100.0 side by side\n");
}

TEST(ShardScheduler, DoesAsItIsAskedAndTriesNothing) {
  for (const auto asked : {ShardSchedule::in_turn, ShardSchedule::side_by_side}) {
    ShardScheduler scheduler(4, 2, asked);
    EXPECT_EQ(scheduler.next(), asked);
    EXPECT_EQ(schedule(scheduler, 0.1, 0.2).last, asked);
    EXPECT_EQ(schedule(scheduler, 0.1, 0.2).said, "");
  }
}

TEST(ShardScheduler, HasNoChoiceOfOneShardOrThread) {
  struct Few {
    Index shards;
    int threads;
    Index ranks;
  };
  for (const auto& [shards, threads, ranks] : {Few{1, 4, 1}, Few{4, 1, 1}, Few{4, 2, 4}}) {
    const Scheduled found = schedule({shards, threads, {}, ranks}, 0.2, 0.1);
    EXPECT_EQ(found.last, ShardSchedule::in_turn);
    EXPECT_EQ(found.said, "");
  }
}

// ---- Training steps ---------------------------------------------------------------------------

constexpr double tolerance = sizeof(Real) == sizeof(double) ? 1e-9 : 2e-3;

Tiny with_shards(Tiny tiny, Index shards) {
  tiny.config.shards = shards;
  return tiny;
}
Tiny tiny_of(const std::string& experiment, Index shards = 1) {
  return with_shards(Tiny(find_experiment(experiment)), shards);
}

// A model and its optimizer after some steps.
struct Stepped {
  explicit Stepped(const Tiny& tiny, int steps = 1, ShardSchedule schedule = ShardSchedule::in_turn)
      : model(tiny.config, tiny.image), optimizer(make_optimizer(tiny.config, model)) {
    last = tiny.train(model, *optimizer, steps, schedule);
  }
  std::vector<std::vector<Real>> state() const {
    std::vector<std::vector<Real>> values;
    for (const Tensor& x : state_of(model)) values.push_back(x.values());
    for (const auto& [name, x] : optimizer->state()) values.push_back(x->values());
    return values;
  }
  // Of the first step, from Adam's first moments, 0.1 times the gradient: by parameter.
  std::vector<Tensor> gradient() const {
    std::vector<Tensor> all;
    for (const auto& [name, x] : optimizer->state())
      if (name.starts_with("adam.m.")) all.push_back(*x * 10);
    return all;
  }
  double gradient_norm() const {
    double squares = 0;
    for (const Tensor& g : gradient()) squares += sum(g * g).item();
    return std::sqrt(squares);
  }
  Tensor buffer(const std::string& name) const {
    for (const auto& [known, x] : model.flow().buffers())
      if (known.ends_with(name)) return *x;
    fail("buffer", "the model has no ", name);
  }

  Model model;
  std::unique_ptr<Optimizer> optimizer;
  StepResult last;
};

TEST(ShardedSteps, HaveTheSameBitsOnAnyThreadsAndSchedule) {
  for_each_experiment([](const Tiny& tiny) {
    for (const Index shards : {1, 2, 3, 4, 8}) {
      const Tiny cut = with_shards(tiny, shards);
      const auto state_on = [&](int threads, ShardSchedule schedule) {
        const WithThreads with(threads);
        const Stepped stepped(cut, 2, schedule);
        return std::pair(stepped.state(), stepped.last.objective);
      };
      const auto alone = state_on(1, ShardSchedule::in_turn);
      for (const int threads : {1, 2, 3, 8})
        for (const auto schedule : {ShardSchedule::in_turn, ShardSchedule::side_by_side})
          EXPECT_EQ(state_on(threads, schedule), alone)
              << shards << " shards on " << threads << " threads";
    }
  });
}

TEST(ShardedSteps, HaveTheGradientOfTheBatch) {
  for_each_experiment([](const Tiny& tiny) {
    for (const Index shards : {3, 4}) {
      const Stepped whole(tiny), cut(with_shards(tiny, shards));
      EXPECT_NEAR(cut.last.objective, whole.last.objective,
                  tolerance * std::abs(whole.last.objective));
      EXPECT_NEAR(cut.last.reconstruction, whole.last.reconstruction,
                  tolerance * std::max(1.0, whole.last.reconstruction));
      const auto expected = whole.gradient(), found = cut.gradient();
      ASSERT_EQ(found.size(), expected.size());
      for (std::size_t i = 0; i < found.size(); ++i) {
        const double size = norm(expected[i]).item() + 1e-3 * whole.gradient_norm();
        EXPECT_LT(norm(found[i] - expected[i]).item(), tolerance * size) << "parameter " << i;
      }
    }
  });
}

// The step as it is without shards, written out.
TEST(ShardedSteps, OneShardIsTheWholeBatchToTheBit) {
  for (const char* name : {"exact_fc_mnist", "geco_selfnorm_glow_mnist", "exponential_cnn_mnist"}) {
    Tiny tiny = tiny_of(name);
    tiny.config.max_grad_norm = 1;
    const Model model(tiny.config, tiny.image);
    const auto optimizer = make_optimizer(tiny.config, model);
    for (int step = 0; step < 2; ++step) {
      Pass pass;
      pass.mode = Mode::train;
      pass.noise = Random(7, purposes::dequantization, static_cast<std::uint32_t>(step));
      Var loss = -mean(model.density().objective(tiny.batch(), pass));
      for (const auto& [value, weight, adapt] : pass.losses) loss = loss + weight * value;
      const Gradients gradients = backward(loss);
      for (const auto& [value, weight, adapt] : pass.losses)
        if (adapt) adapt(value.item());
      const double norm = global_norm(gradients, model.density().parameters());
      optimizer->step(gradients, 3e-3, norm > 1 ? 1 / norm : 1);
    }
    const Stepped stepped(tiny, 2);
    const std::vector<Tensor> expected = state_of(model), found = state_of(stepped.model);
    for (std::size_t i = 0; i < found.size(); ++i)
      EXPECT_EQ(found[i].values(), expected[i].values()) << name << ", tensor " << i;
  }
}

TEST(ShardedSteps, LetActNormSeeTheWholeFirstBatch) {
  const auto scales = [](const Stepped& stepped) {
    std::vector<std::vector<Real>> all;
    for (const auto& [name, parameter] : stepped.model.flow().parameters())
      if (name.ends_with("log_scale")) all.push_back(parameter->value().values());
    return all;
  };
  const auto begun = [&](Index shards, ShardSchedule schedule) {
    Tiny tiny = tiny_of("geco_selfnorm_glow_mnist", shards);
    tiny.config.optimizer = "sgd";
    tiny.config.max_grad_norm = 1e-30;  // the step itself moves nothing
    return scales(Stepped(tiny, 1, schedule));
  };
  const auto whole = begun(1, ShardSchedule::in_turn);
  ASSERT_FALSE(whole.empty());
  EXPECT_NE(whole[0], std::vector<Real>(whole[0].size(), 0));
  EXPECT_EQ(begun(4, ShardSchedule::in_turn), whole);
  EXPECT_EQ(begun(4, ShardSchedule::side_by_side), whole);
}

TEST(ShardedSteps, AdaptGecosWeightOnceByTheMeanOverTheBatch) {
  const auto after = [](Index shards) {
    return Stepped(tiny_of("geco_selfnorm_glow_mnist", shards), 2);
  };
  const Stepped whole = after(1), cut = after(4), third = after(3);
  for (const char* name : {"recon_loss_ema", "recon_loss_weight"}) {
    const double expected = whole.buffer(name).item();
    EXPECT_NEAR(cut.buffer(name).item(), expected, tolerance * std::abs(expected)) << name;
    EXPECT_NEAR(third.buffer(name).item(), expected, tolerance * std::abs(expected)) << name;
  }
  EXPECT_GT(whole.buffer("recon_loss_ema").item(), 0);
  EXPECT_NE(whole.buffer("recon_loss_weight").item(), 1);
}

TEST(ShardedSteps, TakeOnePowerIteration) {
  const auto vector_after_a_step = [](Index shards) {
    return Stepped(tiny_of("exponential_cnn_mnist", shards)).buffer("kernel_u").values();
  };
  EXPECT_EQ(vector_after_a_step(4), vector_after_a_step(1));
}

TEST(ShardedSteps, FactorizeEachMatrixOnce) {
  for (const auto schedule : {ShardSchedule::in_turn, ShardSchedule::side_by_side}) {
    const WithThreads with(3);
    const Tiny tiny = tiny_of("exact_fc_mnist", 5);
    const Model model(tiny.config, tiny.image);
    const auto optimizer = make_optimizer(tiny.config, model);
    const Index before = factorizations();
    tiny.train(model, *optimizer, 3, schedule);
    EXPECT_EQ(factorizations() - before, 3 * 2) << "two layers, three steps";
  }
}

TEST(ShardedSteps, ClipTheNormOfTheSum) {
  Tiny tiny = tiny_of("exact_fc_mnist", 4);
  const double norm = Stepped(tiny).gradient_norm();
  tiny.config.max_grad_norm = norm / 2;
  EXPECT_NEAR(Stepped(tiny).gradient_norm(), norm / 2, tolerance * norm);
  tiny.config.max_grad_norm = 1.01 * norm;
  EXPECT_NEAR(Stepped(tiny).gradient_norm(), norm, tolerance * norm);
}

TEST(ShardedSteps, RefuseNamesAndContextsOfAnotherBatch) {
  for (const Index shards : {1, 4}) {
    const Tiny tiny = tiny_of("exact_fc_mnist", shards);
    Stepped stepped(tiny);
    Pass names, context;
    names.examples = {1, 2, 3};
    context.context = Tensor::zeros({30, 2});
    const auto step = [&](const Pass& pass) {
      training_step(stepped.model, *stepped.optimizer, tiny.config, tiny.batch(), pass, 0);
    };
    expect_message(message_of([&] { step(names); }), "[training_step]", "3 examples");
    expect_message(message_of([&] { step(context); }), "[training_step]", "without a context");
  }
}

// A shard's images have the noise that they have in the batch.
TEST(ShardedSteps, TakeTheNoiseOfTheBatch) {
  Tiny tiny = tiny_of("exact_fc_mnist");
  const auto objective = [&](Index shards, std::vector<std::uint32_t> examples) {
    Pass pass;
    pass.noise = Random(5);
    pass.examples = std::move(examples);
    const Tiny cut = with_shards(tiny, shards);
    Stepped stepped(cut, 0);
    return training_step(stepped.model, *stepped.optimizer, cut.config, cut.batch(), pass, 0)
        .objective;
  };
  std::vector<std::uint32_t> counted(20), backwards(20);
  std::iota(counted.begin(), counted.end(), 0u);
  std::iota(backwards.rbegin(), backwards.rend(), 0u);
  const double whole = objective(1, {});
  EXPECT_NEAR(objective(4, {}), whole, tolerance * whole);
  EXPECT_EQ(objective(4, {}), objective(4, counted));
  EXPECT_NE(objective(4, backwards), objective(4, counted));
  EXPECT_NEAR(objective(4, backwards), objective(1, backwards), tolerance * whole);
}

TEST(ShardedSteps, AShardWithoutImagesIsLeftOut) {
  const Tiny tiny = tiny_of("selfnorm_cnn_mnist");
  const Stepped each(with_shards(tiny, 20)), more(with_shards(tiny, 64)), whole(tiny);
  EXPECT_NEAR(more.last.objective, whole.last.objective, tolerance * whole.last.objective);
  EXPECT_NEAR(more.gradient_norm(), each.gradient_norm(), tolerance * each.gradient_norm());
}

TEST(ShardedSteps, DivergenceNamesTheOpAndLeavesEverythingAsItWas) {
  for (const auto schedule : {ShardSchedule::in_turn, ShardSchedule::side_by_side}) {
    const WithThreads with(2);
    const Tiny tiny = tiny_of("exact_fc_mnist", 3);
    Stepped stepped(tiny);
    for (const auto& [name, parameter] : stepped.model.flow().parameters())
      if (name == "6.weight_fwd")
        parameter->set(Tensor::identity(16) * std::numeric_limits<Real>::max());
    const auto before = stepped.state();
    const auto step = [&] { tiny.train(stepped.model, *stepped.optimizer, 1, schedule); };
    EXPECT_THROW(step(), Diverged);
    expect_message(message_of(step), "'matmul'", "not finite");
    EXPECT_EQ(stepped.state(), before);
  }
}

TEST(ShardedSteps, GoOnFromACheckpointWithTheSameBits) {
  const Scratch scratch;
  const Tiny tiny = tiny_of("geco_selfnorm_glow_mnist", 3);
  Stepped stepped(tiny, 2);
  save_checkpoint(scratch / "half", tiny.config, stepped.model, *stepped.optimizer, {});
  tiny.train(stepped.model, *stepped.optimizer, 2);

  const Checkpoint checkpoint = load_checkpoint(scratch / "half", tiny.config.experiment);
  Tiny found = tiny;
  found.config = config_of(checkpoint, find_experiment(tiny.config.experiment));
  EXPECT_EQ(found.config.shards, 3);
  Stepped resumed(found, 0);
  restore(resumed.model, checkpoint);
  restore(*resumed.optimizer, checkpoint);
  found.train(resumed.model, *resumed.optimizer, 2, ShardSchedule::side_by_side);
  EXPECT_EQ(resumed.state(), stepped.state());
}

TEST(ShardedSteps, OneAfterAnotherNeedLessMemory) {
  Tiny tiny = tiny_of("selfnorm_cnn_mnist");
  tiny.config.activation = "smooth_leaky_relu";
  tiny.images = {1, 16, 16, std::vector<std::uint8_t>(64 * 256)};
  tiny.image = {1, 16, 16};
  const auto peak = [&](Index shards) {
    const Tiny cut = with_shards(tiny, shards);
    Stepped stepped(cut);
    const Tensor batch = cut.batch();
    const Index before = memory_use().live_bytes;
    reset_peak_bytes();
    training_step(stepped.model, *stepped.optimizer, cut.config, batch, {}, 1e-3);
    return static_cast<double>(memory_use().peak_bytes - before);
  };
  EXPECT_LT(peak(8), 0.3 * peak(1));
}

TEST(ShardedSteps, AreAtMostAsManyAsImages) {
  Config config = find_experiment("exact_fc_mnist").config;
  set_field(config, "batch_size", "4");
  set_field(config, "shards", "4");
  validate(config);
  for (const char* count : {"0", "-1", "5", "1000000000"}) {
    set_field(config, "shards", count);
    expect_message(message_of([&] { validate(config); }), "shards", "1 to 4");
  }
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
