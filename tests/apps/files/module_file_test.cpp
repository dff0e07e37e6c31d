#include "backflow/apps/files/module_file.h"

#include <limits>

#include "backflow/flows/conditioners/mlp.h"
#include "backflow/flows/image/actnorm.h"
#include "backflow/ops/random.h"
#include "backflow/tests/apps/files/safetensors_files.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// Parameters and a buffer.
struct Network : Module {
  explicit Network(int seed) : mlp(3, 2, {.hidden = {4}}, Random(seed)), norm(2) {
    add_module("mlp", mlp);
    add_module("norm", norm);
  }
  Mlp mlp;
  ActNorm norm;
};

using Values = std::vector<std::vector<Real>>;

Values values_of(const Module& module) {
  Values all;
  for (const auto& [name, parameter] : module.parameters())
    all.push_back(parameter->value().values());
  for (const auto& [name, buffer] : module.buffers()) all.push_back(buffer->values());
  return all;
}

TensorFile tensors_of(const Module& module) {
  TensorFile file;
  add_tensors(file, "file", module);
  return file;
}

using Change = std::function<void(std::map<std::string, Tensor>&)>;

// What loading a changed file complains about. Then nothing may have changed.
std::string message_of_loading(const Change& change) {
  const Scratch scratch;
  TensorFile file = tensors_of(Network(1));
  change(file.tensors);
  save_safetensors(scratch / "file", file);
  Network network(2);
  const Values before = values_of(network);
  const std::string message = message_of([&] { load_module(scratch / "file", network); });
  EXPECT_EQ(values_of(network), before) << message;
  const std::string place = "[" + (scratch / "file").string() + "] ";
  EXPECT_EQ(message.find(place), 0u) << message;
  EXPECT_EQ(message.find('\n'), message.npos) << message;
  return message.substr(place.size());
}

TEST(ModuleFile, ARoundTripKeepsEveryBit) {
  const Scratch scratch;
  Network from(1), to(2);
  *from.buffers()[0].tensor = Tensor(Real(1));
  ASSERT_NE(values_of(to), values_of(from));
  save_module(scratch / "a", from);
  load_module(scratch / "a", to);
  EXPECT_EQ(values_of(to), values_of(from));
  save_module(scratch / "b", to);
  EXPECT_EQ(read_file(scratch / "a"), read_file(scratch / "b"));
  EXPECT_EQ(scratch.files(), 2) << "no temporaries";
}

TEST(ModuleFile, AParameterKeepsItsIdentityAndCountsItsVersion) {
  const Scratch scratch;
  Network network(1);
  save_module(scratch / "file", network);
  Parameter& weight = *network.parameters()[0].parameter;
  const Var before = weight;
  const std::uint64_t version = weight.version();
  load_module(scratch / "file", network);
  EXPECT_EQ(weight.var().node(), before.node());
  EXPECT_GT(weight.version(), version);
}

// As torch writes nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1)), the last layer in
// half the digits, whatever our precision is.
TEST(ModuleFile, AStateDictOfTorchLoads) {
  const std::string header = R"({"__metadata__":{"format":"pt"},)"
                             R"("0.bias":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                             R"("0.weight":{"dtype":"F32","shape":[2,1],"data_offsets":[8,16]},)"
                             R"("2.bias":{"dtype":"BF16","shape":[1],"data_offsets":[16,18]},)"
                             R"("2.weight":{"dtype":"BF16","shape":[1,2],"data_offsets":[18,22]}})";
  const std::string data = bytes_of(std::vector<float>{0.5, -1, 2, 3}) +
                           bytes_of(std::vector<std::uint16_t>{0x3f80, 0x4000, 0xbf80});
  const Scratch scratch;
  Mlp mlp(1, 1, {.hidden = {2}}, Random(1));
  load_module(scratch.write("state_dict", file_of(header, data)), mlp);
  // relu(2 x + 0.5) * 2 - relu(3 x - 1) + 1
  EXPECT_EQ(mlp(Tensor({2, 1}, {1, -1})).value().values(), (std::vector<Real>{4, 1}));
}

TEST(ModuleFile, AxesOfSizeOneDoNotCount) {
  const Scratch scratch;
  TensorFile file = tensors_of(Network(1));
  Tensor& weight = file.tensors.at("mlp.0.weight");
  weight = weight.reshape({4, 3, 1, 1});
  save_safetensors(scratch / "file", file);
  Network network(2);
  load_module(scratch / "file", network);
  EXPECT_EQ(values_of(network), values_of(Network(1)));
}

TEST(ModuleFile, EverythingThatIsWrongIsInOneLineAndNothingChanges) {
  EXPECT_EQ(message_of_loading([](auto& t) { t.erase("mlp.2.bias"); }),
            "the tensor 'mlp.2.bias' is missing, expected the shape (2)");
  EXPECT_EQ(message_of_loading([](auto& t) {
              t.erase("norm.initialized");
              t["mlp.0.weight"] = Tensor::zeros({3, 4});
              t["mlp.2.weight"].mutable_data()[1] = std::numeric_limits<Real>::quiet_NaN();
              t["adam.m"] = Tensor(1);
              t["x\n"] = Tensor(1);
            }),
            "the tensor 'mlp.0.weight' has the shape (3, 4), expected (4, 3); "
            "the tensor 'mlp.2.weight' holds values that are not finite; "
            "the tensor 'norm.initialized' is missing, expected the shape (); "
            "holds the tensor 'adam.m', which the module does not have; "
            "holds the tensor 'x\\n', which the module does not have");
}

TEST(ModuleFile, ALongListIsCut) {
  const std::string message = message_of_loading([](auto& t) {
    for (int i = 0; i < 15; ++i) t["x" + std::to_string(i)] = Tensor(1);
  });
  EXPECT_NE(message.find("; and 5 more"), message.npos) << message;
  EXPECT_EQ(message.find("'x9'"), message.npos) << message;
}

TEST(ModuleFile, AValueThatDoesNotFitIsNamedWithoutTheFileOnceMore) {
  const std::string header = R"({"weight":{"dtype":"I64","shape":[1,1],"data_offsets":[0,8]}})";
  const Scratch scratch;
  const auto path = scratch.write(
      "file", file_of(header, bytes_of(std::vector<std::int64_t>{(std::int64_t{1} << 60) + 1})));
  FullyConnected layer(1, 1, he_normal, Random(1));
  const std::string message = message_of([&] { load_module(path, layer); });
  const std::string place = "[" + path.string() + "] ";
  EXPECT_EQ(message.find(place + "tensor \"weight\" of I64: element 0 does not fit"), 0u)
      << message;
  EXPECT_EQ(message.rfind(place), 0u) << message;
  EXPECT_NE(message.find("the tensor 'bias' is missing"), message.npos) << message;
}

TEST(ModuleFile, WhatCouldNotBeLoadedIsNotSaved) {
  const Scratch scratch;
  Network network(1);
  network.parameters()[1].parameter->update(
      [](std::span<Real> values) { values[2] = std::numeric_limits<Real>::infinity(); });
  const std::string path = (scratch / "file").string();
  EXPECT_EQ(message_of([&] { save_module(path, network); }),
            "[" + path +
                "] the tensor 'mlp.0.bias' holds values that are not finite: it could not be "
                "loaded again");
  EXPECT_EQ(scratch.files(), 0);
}

TEST(ModuleFile, DamageIsSeen) {
  const Scratch scratch;
  Network network(1);
  save_module(scratch / "file", network);
  std::string bytes = read_file(scratch / "file");
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  const Values before = values_of(network);
  const std::string message =
      message_of([&] { load_module(scratch.write("damaged", bytes), network); });
  EXPECT_NE(message.find("has the checksum"), message.npos) << message;
  EXPECT_EQ(values_of(network), before);
  EXPECT_NE(message_of([&] { load_module(scratch / "nothing", network); }), "");
  EXPECT_NE(message_of([&] { save_module(scratch / "no/such/folder", network); }), "");
}

TEST(ModuleFile, AModuleWithoutTensorsIsAFileWithout) {
  const Scratch scratch;
  Module nothing;
  save_module(scratch / "file", nothing);
  load_module(scratch / "file", nothing);
  EXPECT_TRUE(load_safetensors(scratch / "file").tensors.empty());
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
