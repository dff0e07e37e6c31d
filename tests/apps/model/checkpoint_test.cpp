#include "backflow/apps/model/checkpoint.h"

#include <functional>
#include <limits>

#include "backflow/apps/files/atomic_file.h"
#include "backflow/engine/backward.h"
#include "backflow/engine/parallel.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/tests/apps/model/small_model.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr Index D = small_size;

// A model, its optimizer, and a place in the data.
struct State {
  explicit State(const std::string& layer = "self_normalizing", std::uint64_t seed = 0) {
    config = small_config(layer);
    config.seed = static_cast<Index>(seed);
    model = std::make_unique<Model>(config, small_image);
    optimizer = make_optimizer(config, *model);
  }
  void save(const std::filesystem::path& path) const {
    save_checkpoint(path, config, *model, *optimizer, position);
  }
  void load(const std::filesystem::path& path) {
    const Checkpoint checkpoint = load_checkpoint(path, config.experiment);
    restore(*model, checkpoint);
    restore(*optimizer, checkpoint);
    position = position_of(checkpoint);
  }
  std::vector<std::vector<Real>> values() const {
    std::vector<std::vector<Real>> all = values_of(*model);
    for (const auto& [name, tensor] : optimizer->state()) all.push_back(tensor->values());
    return all;
  }

  Config config;
  std::unique_ptr<Model> model;
  std::unique_ptr<Optimizer> optimizer;
  Position position;
};

State trained(const std::string& layer = "self_normalizing") {
  State state(layer);
  train_a_little(*state.model, *state.optimizer, state.config);
  state.position = {7, 3, 0.1 + 0.2, 1e-300, 5, -1.0 / 3, 12345.678901234567, 4294967295u};
  return state;
}

// In a file without checksums, as anybody may write one.
Checkpoint as_checkpoint(const TensorFile& file, const std::string& experiment) {
  const Scratch scratch;
  save_safetensors(scratch / "file", file);
  Checkpoint checkpoint = load_checkpoint(scratch / "file", experiment);
  checkpoint.name = "file";
  return checkpoint;
}

using Change = std::function<void(TensorFile&)>;

Checkpoint saved(
    const State& state, const Change& change = [](TensorFile&) {}) {
  const Scratch scratch;
  state.save(scratch / "file");
  TensorFile file = load_safetensors(scratch / "file");
  change(file);
  return as_checkpoint(file, state.config.experiment);
}

// What the authors' PyTorch model would save: other shapes, and buffers that mean nothing to us.
TensorFile foreign(const std::string& layer) {
  TensorFile file;
  auto& tensors = file.tensors;
  for (const std::string i : {"4.", "6."}) {
    tensors[i + "weight_fwd"] = Random(i[0]).normal({D, D, 1, 1});
    tensors[i + "bias_fwd"] = Random(i[0] + 1).normal({D});
    if (layer != "relative_gradient") tensors[i + "weight_inv"] = Random(9).normal({D, D, 1, 1});
  }
  tensors["0.distribution.empty"] = Tensor::zeros({1});
  for (const std::string name : {"1.translation", "1.scale", "2.translation", "2.scale"})
    tensors[name] = Tensor(1);
  return file;
}

TEST(Checkpoint, ARoundTripKeepsEveryBit) {
  for (const std::string& layer : small_layers) {
    const Scratch scratch;
    const State before = trained(layer);
    State after(layer, 1);
    ASSERT_NE(after.values(), before.values());
    before.save(scratch / "a");
    after.load(scratch / "a");
    EXPECT_EQ(after.values(), before.values());
    EXPECT_EQ(after.optimizer->steps(), 3);
    after.config.seed = before.config.seed;
    after.save(scratch / "b");
    EXPECT_EQ(read_file(scratch / "a"), read_file(scratch / "b"));
  }
}

TEST(Checkpoint, ThePositionKeepsItsDigits) {
  const Position p = position_of(saved(trained()));
  EXPECT_EQ(p.epoch, 7);
  EXPECT_EQ(p.batch, 3);
  EXPECT_EQ(p.objective_sum, 0.1 + 0.2);
  EXPECT_EQ(p.reconstruction_sum, 1e-300);
  EXPECT_EQ(p.best_epoch, 5);
  EXPECT_EQ(p.best_nll, -1.0 / 3);
  EXPECT_EQ(p.best_test_nll, 12345.678901234567);
  EXPECT_EQ(p.data_checksum, 4294967295u);
}

// A state whose optimizer has left all parameters but one alone at some steps.
State trained_unevenly() {
  State state = trained();
  for (int i = 0; i < 2; ++i)
    state.optimizer->step(backward(sum(square(parameter_of(*state.model, "4.bias_fwd")))), 0.01);
  return state;
}

TEST(Checkpoint, HoldsOnlyTheStepsThatDiffer) {
  const auto steps_in = [](const State& state) {
    std::map<std::string, std::string> steps;
    const Checkpoint checkpoint = saved(state);
    for (const auto& [key, value] : checkpoint.file.metadata())
      if (key.starts_with("optimizer_steps")) steps[key] = value;
    return steps;
  };
  const State even = trained(), uneven = trained_unevenly();
  EXPECT_EQ(steps_in(even), (std::map<std::string, std::string>{{"optimizer_steps", "3"}}));
  const auto steps = steps_in(uneven);
  EXPECT_EQ(steps.size(),
            uneven.model->flow().parameters().size());  // all but one, and that of all
  EXPECT_EQ(steps.at("optimizer_steps"), "5");
  EXPECT_EQ(steps.at("optimizer_steps.6.weight_inv"), "3");
  EXPECT_FALSE(steps.contains("optimizer_steps.4.bias_fwd"));
}

TEST(Checkpoint, TrainingGoesOnWithTheSameBitsAfterUnevenSteps) {
  const Scratch scratch;
  State undisturbed = trained_unevenly(), resumed("self_normalizing", 1);
  undisturbed.save(scratch / "file");
  resumed.load(scratch / "file");
  for (State* state : {&undisturbed, &resumed})
    train_a_little(*state->model, *state->optimizer, state->config);
  EXPECT_EQ(resumed.values(), undisturbed.values());
}

TEST(Checkpoint, TwoTensorsOfOneNameAreNotWritten) {
  struct Clashing : Optimizer {
    using Optimizer::Optimizer;
    void move(const Move&) const override {}
    std::vector<NamedTensor> state() override { return {{"4.bias_fwd", &tensor}}; }
    Tensor tensor = Tensor::zeros({D});
  };
  State state;
  state.optimizer = std::make_unique<Clashing>(state.model->flow().parameters());
  const Scratch scratch;
  expect_message(message_of([&] { state.save(scratch / "file"); }), (scratch / "file").string(),
                 "two tensors would have the name '4.bias_fwd'");
  EXPECT_FALSE(std::filesystem::exists(scratch / "file"));
}

TEST(Checkpoint, TrainingGoesOnWithTheSameBits) {
  for (const std::string& layer : small_layers) {
    const Scratch scratch;
    State undisturbed = trained(layer), resumed(layer, 1);
    undisturbed.save(scratch / "file");
    resumed.load(scratch / "file");
    for (State* state : {&undisturbed, &resumed})
      train_a_little(*state->model, *state->optimizer, state->config);
    EXPECT_EQ(resumed.values(), undisturbed.values());
  }
}

TEST(Checkpoint, EqualRunsMakeEqualFilesWhereverAndOnHoweverManyThreads) {
  const Scratch here, there;
  const int before = threads();
  set_threads(1);
  trained().save(here / "a");
  set_threads(3);
  trained().save(there / "another_name");
  set_threads(before);
  const std::string bytes = read_file(here / "a");
  EXPECT_EQ(bytes, read_file(there / "another_name"));
  EXPECT_EQ(bytes.find(here.dir().filename()), bytes.npos);
}

TEST(Checkpoint, HowFarOneMeansToGoIsNotInIt) {
  State near = trained(), far = trained();
  near.config.epochs = 1, far.config.epochs = 6000;
  EXPECT_EQ(saved(near).file.metadata(), saved(far).file.metadata());
}

TEST(Checkpoint, TellsItsConfigurationAndImages) {
  State state;
  state.config.lr = 0.125;
  const Checkpoint checkpoint = saved(state);
  EXPECT_TRUE(checkpoint.ours());
  EXPECT_EQ(config_of(checkpoint, find_experiment("exact_fc_mnist")).lr, 0.125);
  EXPECT_EQ(image_of(checkpoint, Config()).channels, 1);
  EXPECT_EQ(image_of(checkpoint, Config()).height, 4);
  EXPECT_EQ(image_of(checkpoint, Config()).width, 4);
}

TEST(Checkpoint, AStateDictFromElsewhereLoads) {
  for (const std::string& layer : small_layers) {
    const TensorFile file = foreign(layer);
    const State state(layer);
    const Checkpoint checkpoint = as_checkpoint(file, state.config.experiment);
    restore(*state.model, checkpoint);
    for (const auto& [name, parameter] : state.model->flow().parameters()) {
      EXPECT_EQ(parameter->value().values(), file.tensors.at(name).values()) << name;
      EXPECT_EQ(parameter->shape(), name.find("bias") == name.npos ? Shape({D, D}) : Shape({D}));
    }
    const Experiment& experiment = find_experiment(state.config.experiment);
    EXPECT_FALSE(checkpoint.ours());
    EXPECT_EQ(config_of(checkpoint, experiment).layer, layer);
    EXPECT_EQ(image_of(checkpoint, Config()).size(), 28 * 28);
  }
}

TEST(Checkpoint, AStateDictFromElsewhereCannotBeResumed) {
  const State state;
  expect_message(message_of([&] { position_of(as_checkpoint(foreign("self_normalizing"), "x")); }),
                 "[file]", "'epoch' is missing", "cannot be resumed");
  expect_message(message_of([&] {
                   restore(*state.optimizer, as_checkpoint(foreign("self_normalizing"), "x"));
                 }),
                 "[file]", "'adam.m.4.weight_fwd' is missing");
}

TEST(Checkpoint, WrongTensorsAreNamedAndTheModelStaysAsItWas) {
  using Tensors = std::map<std::string, Tensor>;
  Tensor with_nan = Tensor::zeros({D, D});
  with_nan.mutable_data()[D] = std::numeric_limits<Real>::quiet_NaN();
  const std::vector<std::pair<std::function<void(Tensors&)>, std::vector<std::string>>> damages = {
      {[](Tensors& t) { t.erase("6.weight_inv"); },
       {"'6.weight_inv' is missing", "expected the shape (16, 16)"}},
      {[](Tensors& t) {
         t["6.weight_fwd"] = Tensor::zeros({D, D + 1});
       },
       {"'6.weight_fwd' has the shape (16, 17)", "expected (16, 16)"}},
      {[](Tensors& t) { t["6.bias_fwd"] = Tensor::zeros({D * D}); },
       {"'6.bias_fwd' has the shape (256)", "expected (16)"}},
      {[&](Tensors& t) { t["6.weight_inv"] = with_nan; },
       {"'6.weight_inv' holds values that are not finite"}},
      {[](Tensors& t) { t["7.kernel"] = Tensor::zeros({2}); },
       {"'7.kernel'", "this experiment's model does not have", "another experiment's?"}},
  };
  for (const auto& [damage, words] : damages) {
    const Checkpoint checkpoint =
        saved(trained(), [&damage = damage](TensorFile& f) { damage(f.tensors); });
    const State state;
    const auto before = state.values();
    const std::string message = message_of([&] { restore(*state.model, checkpoint); });
    for (const std::string& word : words) expect_message(message, "[file]", word);
    EXPECT_EQ(state.values(), before) << message;
  }
}

TEST(Checkpoint, AWrongOptimizerStateIsNamedAndTheOptimizerStaysAsItWas) {
  const auto expect_refused = [](const Checkpoint& checkpoint, const std::string& words) {
    const State state;
    const auto before = state.values();
    expect_message(message_of([&] { restore(*state.optimizer, checkpoint); }), "[file]", words);
    EXPECT_EQ(state.values(), before) << words;
    EXPECT_EQ(state.optimizer->steps(), 0) << words;
  };
  const auto with = [](const std::string& key, const std::string& text) {
    return saved(trained(), [&](TensorFile& file) { file.metadata[key] = text; });
  };
  expect_refused(with("optimizer_steps", "three"),
                 "'optimizer_steps' should be a number, found 'three'");
  expect_refused(with("optimizer_steps", "-3"),
                 "the optimizer's steps are damaged: [optimizer] -3 steps");
  expect_refused(with("optimizer_steps", "9223372036854775807"),
                 "9223372036854775807 steps, expected at most");
  const std::string lower = "optimizer_steps.4.bias_fwd";
  expect_refused(with(lower, "two"), "'" + lower + "' should be a number, found 'two'");
  expect_refused(with(lower, "4"), "4 steps of '4.bias_fwd', expected 0 to 3");
  expect_refused(with("optimizer_steps.x", "1"), "steps of 'x', which is none of the parameters");
  const std::string moment = "adam.v.6.weight_inv";
  expect_refused(saved(trained(), [&](TensorFile& f) { f.tensors[moment] = Tensor::zeros({D}); }),
                 "'adam.v.6.weight_inv' has the shape (16), expected (16, 16)");
  expect_refused(saved(trained(), [&](TensorFile& f) { f.tensors.erase(moment); }),
                 "'adam.v.6.weight_inv' is missing");
}

TEST(Checkpoint, EveryFieldOfThePositionMustBeANumber) {
  const std::vector<std::string> keys = {
      "epoch",      "batch",    "objective_sum", "reconstruction_sum",
      "best_epoch", "best_nll", "best_test_nll", "data_checksum"};
  for (const std::string& key : keys) {
    for (const std::string bad : {"", "x", "1x", " 1", "nan", "inf"}) {
      const Checkpoint checkpoint =
          saved(trained(), [&](TensorFile& file) { file.metadata[key] = bad; });
      expect_message(message_of([&] { position_of(checkpoint); }), "[file]", "'" + key + "'",
                     "should be a number, found '" + bad + "'");
    }
    const Checkpoint checkpoint =
        saved(trained(), [&](TensorFile& file) { file.metadata.erase(key); });
    expect_message(message_of([&] { position_of(checkpoint); }), "[file]",
                   "'" + key + "' is missing");
  }
}

TEST(Checkpoint, OfAnotherExperimentIsRefused) {
  const Scratch scratch;
  State().save(scratch / "file");
  expect_message(message_of([&] { load_checkpoint(scratch / "file", "exact_fc_mnist"); }),
                 (scratch / "file").string(), "a checkpoint of 'selfnorm_fc_mnist'",
                 "expected 'exact_fc_mnist'");
}

TEST(Checkpoint, ADamagedConfigurationIsRefused) {
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"", "not a JSON object"},
      {"[1]", "not a JSON object"},
      {"{\"lr\": 1", "not a JSON object"},
      {"{\"lr\": \"fast\"}", "[lr] expected a number, got 'fast'"},
      {"{\"num_layers\": 1000000000}", "[num_layers] expected 1 to 1000"}};
  for (const auto& [text, words] : bad) {
    const Checkpoint checkpoint =
        saved(State(), [&text = text](TensorFile& file) { file.metadata["config"] = text; });
    expect_message(message_of([&] { config_of(checkpoint, experiments()[0]); }), "[file]",
                   "the configuration is damaged", words);
  }
}

TEST(Checkpoint, AnImageShapeThatMakesNoSenseIsRefused) {
  for (const std::array<const char*, 3> shape :
       {std::array{"0", "4", "4"}, {"1", "-4", "4"}, {"1", "4", "4097"}, {"4096", "4096", "2"}}) {
    const Checkpoint checkpoint = saved(State(), [&](TensorFile& file) {
      file.metadata["channels"] = shape[0];
      file.metadata["height"] = shape[1];
      file.metadata["width"] = shape[2];
    });
    expect_message(message_of([&] { image_of(checkpoint, Config()); }), "[file]", "make no sense",
                   shape[0]);
  }
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
