#include "backflow/apps/model/config.h"

#include <map>
#include <nlohmann/json.hpp>

#include "backflow/apps/model/activations.h"
#include "backflow/tests/apps/files/scratch.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Json = nlohmann::ordered_json;

// Valid values that are not the defaults, of names and of numbers that cannot be 1 more.
const std::map<std::string, std::string> other_values = {
    {"dataset", "cifar10"},   {"augment", "shift"},    {"architecture", "glow"},
    {"layer", "exact"},       {"kernel_size", "5"},    {"activation", "smooth_tanh"},
    {"alpha", "0.1"},         {"init", "orthogonal"},  {"recon_only_R", "1"},
    {"geco_decay", "0.5"},    {"logit_alpha", "0.05"}, {"warmup_epochs", "0.5"},
    {"adam_beta1", "0"},      {"adam_beta2", "0.99"},  {"num_blocks", "2"},
    {"epochs", "1000000000"}, {"shuffle", "false"},    {"seed", "9223372036854775807"},
    {"lr", "1e-3"},           {"schedule", "cosine"},  {"lr_decay", "0.5"},
    {"optimizer", "sgd"},     {"momentum", "0"},       {"lr_decay_epochs", "2"},
    {"weight_decay", "0.01"},
};

template <class T>
std::string other_value(const std::string& key, const T& field) {
  if (const auto found = other_values.find(key); found != other_values.end()) return found->second;
  if constexpr (std::is_same_v<T, std::string>) {
    ADD_FAILURE() << "the test knows no other name for " << key;
    return field;
  } else if constexpr (std::is_same_v<T, bool>) {
    return field ? "false" : "true";
  } else {
    return Json(field + 1).dump();
  }
}

std::vector<std::string> keys() {
  std::vector<std::string> all;
  const Config config;
  Config::visit(config, [&](const char* key, const auto&, const char*) { all.push_back(key); });
  return all;
}

// Another value for each key that can be set, but for the context, which only some layers take.
std::map<std::string, std::string> all_other_values() {
  std::map<std::string, std::string> all;
  const Config config;
  Config::visit(config, [&](const std::string& key, const auto& field, const char*) {
    if (key != "experiment" && key != "context") all[key] = other_value(key, field);
  });
  return all;
}

Config with_other_values() {
  Config config{.experiment = "name"};
  for (const auto& [key, value] : all_other_values()) set_field(config, key, value);
  return config;
}

std::string message_of_setting(const std::string& key, const std::string& value) {
  return message_of([&] {
    Config config;
    set_field(config, key, value);
    validate(config);
  });
}

TEST(Config, EveryFieldButTheExperimentCanBeSet) {
  for (const auto& [key, value] : all_other_values()) {
    Config config;
    set_field(config, key, value);
    validate(config);
    for (const std::string& other : keys())
      EXPECT_EQ(field_as_text(config, other) != field_as_text(Config(), other), other == key)
          << "after setting " << key << ", " << other << " is " << field_as_text(config, other);
  }
}

TEST(Config, TheExperimentIsNamedOnTheCommandLineOnly) {
  expect_message(message_of_setting("experiment", "exact_fc_mnist"), "[experiment]",
                 "cannot be set");
}

TEST(Config, FieldsAreReadAsTyped) {
  const Config config = with_other_values();
  EXPECT_EQ(config.layer, "exact");
  EXPECT_EQ(config.lr, 1e-3);
  EXPECT_EQ(config.seed, 9223372036854775807);
  EXPECT_TRUE(config.recon_only_R);
  EXPECT_FALSE(config.shuffle);
  EXPECT_EQ(field_as_text(config, "layer"), "\"exact\"");
  EXPECT_EQ(field_as_text(config, "lr"), "0.001");
  EXPECT_EQ(field_as_text(config, "recon_only_R"), "true");
}

TEST(Config, SurvivesARoundTripThroughJson) {
  for (const Config& config : {Config(), with_other_values()}) {
    const std::string text = to_json(config);
    EXPECT_EQ(Json::parse(text).size(), keys().size());
    EXPECT_EQ(to_json(config_from_json("file", text)), text);
  }
}

TEST(Config, JsonHasTheExtraMembersAfterTheFields) {
  const std::string text = to_json(Config(), {{"data", "some \"where\""}});
  EXPECT_EQ(Json::parse(text).back(), "some \"where\"");
  EXPECT_EQ(to_json(config_from_json("file", text)), to_json(Config()));
}

TEST(Config, FieldsThatJsonLeavesOutKeepTheirDefaults) {
  Config expected;
  expected.lr = 0.5;
  EXPECT_EQ(to_json(config_from_json("file", R"({"lr": 0.5, "unknown": 3})")), to_json(expected));
}

TEST(Config, AnUnknownKeyIsAnsweredWithTheKnownOnesAndTheNearest) {
  const std::string message = message_of_setting("batchsize", "3");
  expect_message(message, "--set", "'batchsize'", "did you mean 'batch_size'");
  for (const std::string& key : keys()) {
    if (key != "experiment") expect_message(message, key);
  }
}

TEST(Config, EveryBadValueNamesItsKeyAndWhatIsExpected) {
  const std::vector<std::array<std::string, 3>> bad = {
      {"layer", "linear", "one of exact, self_normalizing, relative_gradient"},
      {"activation", "relu", "one of identity, leaky_relu"},
      {"init", "", "one of identity, orthogonal"},
      {"dataset", "svhn", "one of mnist, fashion_mnist, cifar10, imagenet32"},
      {"augment", "rotate", "one of none, flip_shift, shift"},
      {"architecture", "rnn", "one of fc, cnn, glow"},
      {"layer", "emerging", "one of exact, self_normalizing, relative_gradient"},
      {"kernel_size", "4", "an odd number"},
      {"num_blocks", "17", "1 to 16"},
      {"width", "0", "1 to 65536"},
      {"depth", "-1", "0 to 100"},
      {"geco_rate", "-1", "at least 0"},
      {"geco_decay", "1", "not including, 1"},
      {"num_layers", "0", "1 to 1000"},
      {"num_layers", "1001", "1 to 1000"},
      {"num_layers", "2.5", "a whole number"},
      {"num_layers", "two", "a whole number"},
      {"num_layers", "2x", "a whole number"},
      {"num_layers", "", "a whole number"},
      {"batch_size", "0", "1 to 1000000000"},
      {"batch_size", "9223372036854775807", "1 to 1000000000"},
      {"batch_size", "9223372036854775808", "a whole number"},
      {"epochs", "-1", "1 to 1000000000"},
      {"limit_batches", "-1", "0 to 1000000000"},
      {"seed", "-1", "at least 0"},
      {"warmup_epochs", "-0.5", "0 to 1000000000"},
      {"warmup_epochs", "nan", "a number"},
      {"warmup_epochs", "1e300", "0 to 1000000000"},
      {"lr", "0", "a positive number"},
      {"lr", "inf", "a number"},
      {"lr", "nan", "a number"},
      {"lr", "1e-3x", "a number"},
      {"lr", "1e999", "a number"},
      {"lr", "0x1", "a number"},
      {"lr", "+1", "a number"},
      {"lr", " 1", "a number"},
      {"epochs", "+1", "a whole number"},
      {"epochs", " 1", "a whole number"},
      {"seed", "9223372036854775808", "a whole number below 2^63"},
      {"alpha", "0", "a positive number"},
      {"alpha", "1.5", "at most 1 for smooth_leaky_relu"},
      {"recon_weight", "-1", "at least 0"},
      {"max_grad_norm", "inf", "a number"},
      {"logit_alpha", "0", "between 0 and 0.5"},
      {"logit_alpha", "0.5", "between 0 and 0.5"},
      {"adam_beta1", "1", "from 0 up to, not including, 1"},
      {"adam_beta2", "-0.1", "from 0 up to, not including, 1"},
      {"optimizer", "adagrad", "one of sgd, adam, adamw, adamax"},
      {"momentum", "1", "from 0 up to, not including, 1"},
      {"weight_decay", "-0.1", "at least 0"},
      {"schedule", "cosin", "did you mean 'cosine'?"},
      {"lr_decay", "0", "above 0, at most 1"},
      {"lr_decay", "1.5", "above 0, at most 1"},
      {"lr_decay_epochs", "0", "1 to 1000000000"},
      {"shuffle", "yes", "true or false"},
      {"recon_symmetric", "", "true or false"},
      {"recon_only_R", "2", "true or false"},
  };
  for (const auto& [key, value, expected] : bad)
    expect_message(message_of_setting(key, value), "[" + key + "]", "expected", expected);
}

TEST(Config, ALayerOfAnotherArchitectureIsNamedAsSuch) {
  EXPECT_EQ(message_of_setting("layer", "emerging"),
            "[layer] expected one of exact, self_normalizing, relative_gradient, got 'emerging', "
            "which does not suit fc");
  EXPECT_EQ(message_of_setting("layer", "relative"),
            "[layer] expected one of exact, self_normalizing, relative_gradient, got 'relative'; "
            "did you mean 'relative_gradient'?");
}

TEST(Config, ContextsAreForLayersThatTakeThem) {
  Config config;
  config.context = "label";
  expect_message(message_of([&] { validate(config); }), "[context]", "expected none",
                 "self_normalizing takes no context", "got 'label'", "nice, real_nvp, maf");
  config.context = "labels";
  expect_message(message_of([&] { validate(config); }), "[context]", "one of none, label",
                 "did you mean 'label'?");
  config.architecture = "vector", config.layer = "maf";
  set_field(config, "context", "label");
  EXPECT_EQ(message_of([&] { validate(config); }), "");
  EXPECT_EQ(config_from_json("file", to_json(config)).context, "label");
}

TEST(Config, TheMeaningOfANameListsTheRows) {
  std::map<std::string, std::string> found;
  const Config config;
  Config::visit(config, [&](const char* key, const auto&, const char* help) { found[key] = help; });
  EXPECT_EQ(found["dataset"], "mnist, fashion_mnist, cifar10 or imagenet32");
  EXPECT_EQ(
      found["layer"],
      "fc: exact, self_normalizing, relative_gradient; cnn: exact, self_normalizing, emerging, "
      "exponential; glow: exact, self_normalizing, conv1x1; vector: nice, real_nvp, maf, "
      "neural_spline_coupling, integer_discrete_flow, residual_flow");
  EXPECT_EQ(found["context"], "what the flow is told of each image: none or label");
  for (const std::string& name : activations().names())
    EXPECT_NE(found["activation"].find(name), std::string::npos) << name;
}

TEST(Config, AGainOfSmoothTanhMayExceedOne) {
  Config config;
  set_field(config, "activation", "smooth_tanh");
  set_field(config, "alpha", "3");
  EXPECT_EQ(message_of([&] { validate(config); }), "");
}

TEST(Config, DamagedJsonIsReportedWithItsPlaceAndKey) {
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"", "not a JSON object"},
      {"[1]", "not a JSON object"},
      {R"({"lr": 1)", "not a JSON object"},
      {R"({"lr": "fast"})", "[lr] expected a number, got 'fast'"},
      {R"({"lr": null})", "[lr] expected a number, got 'null'"},
      {R"({"num_layers": 2.5})", "[num_layers] expected a whole number, got '2.5'"},
      {R"({"shuffle": "maybe"})", "[shuffle] expected true or false, got 'maybe'"},
      {R"({"layer": 3})", "[layer] expected one of exact"},
      {R"({"epochs": 0})", "[epochs] expected 1 to"},
  };
  for (const auto& [text, words] : bad)
    expect_message(message_of([text = text] { config_from_json("run/config.json", text); }),
                   "[run/config.json] the configuration is damaged", words);
}

TEST(ConfigFromJson, IsFlat) {
  const auto message = [](const std::string& text) {
    return message_of([&] { config_from_json("file", text); });
  };
  EXPECT_EQ(message(R"({"lr": 0.5, "other": "x", "another": null})"), "");
  expect_message(message(R"({"lr": 1, "lr": 2})"), "[file]", "[lr] occurs twice");
  expect_message(message(R"({"lr": [1]})"), "[lr] expected text, a number", "got a JSON array");
  expect_message(message(R"({"x\u001b": {}})"), R"([x\x1b])", "got a JSON object");
  for (const char* deep : {"[", "{\"a\":"}) {
    std::string text;
    for (int i = 0; i < 100'000; ++i) text += deep;
    expect_message(message(text), "[file]");
    expect_message(message("{\"seed\":" + text), "[seed] expected");
  }
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
