#include "backflow/apps/model/training_state.h"

#include <charconv>
#include <string_view>

#include "backflow/apps/files/numbers.h"
#include "backflow/apps/files/quote.h"
#include "backflow/apps/model/optimizers.h"
#include "backflow/ops/blas.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// The text of `key`, which a file that can be resumed from has.
const std::string& find_text(const Checkpoint& checkpoint, const std::string& key) {
  const auto found = checkpoint.file.metadata().find(key);
  if (found == checkpoint.file.metadata().end())
    fail(checkpoint.name, "'", key, "' is missing: this file cannot be resumed from");
  return found->second;
}

template <class T>
T read_number(const Checkpoint& checkpoint, const std::string& key) {
  const std::string& text = find_text(checkpoint, key);
  const std::optional<T> value = to_number<T>(text);
  if (!value)
    fail(checkpoint.name, quote(key, '\''), " should be a number, found ", quote(text, '\''));
  return *value;
}

// A number of epochs or steps.
Index read_count(const Checkpoint& checkpoint, const std::string& key) {
  constexpr Index most = 1'000'000'000'000;
  const Index count = read_number<Index>(checkpoint, key);
  if (count < 0 || count > most)
    fail(checkpoint.name, "'", key, "' is ", count, ", no place in a run: expected 0 to ", most);
  return count;
}

std::optional<std::uint32_t> read_checksum(const Checkpoint& checkpoint, const std::string& key) {
  if (!checkpoint.file.metadata().contains(key)) return {};
  return read_number<std::uint32_t>(checkpoint, key);
}

// Counts of the optimizer's steps, for parameters that had no gradient at some of them.
constexpr std::string_view steps_prefix = "optimizer_steps.";

std::vector<NamedSteps> other_steps(const Checkpoint& checkpoint) {
  std::vector<NamedSteps> counts;
  for (const auto& [key, text] : checkpoint.file.metadata())
    if (key.starts_with(steps_prefix))
      counts.push_back({key.substr(steps_prefix.size()), read_number<Index>(checkpoint, key)});
  return counts;
}

void restore_steps(Optimizer& optimizer, const Checkpoint& checkpoint) {
  const Index steps = read_number<Index>(checkpoint, "optimizer_steps");
  const std::vector<NamedSteps> others = other_steps(checkpoint);
  try {
    optimizer.set_steps(steps, others);
  } catch (const Error& error) {
    fail(checkpoint.name, "the optimizer's steps are damaged: ", error.what());
  }
}

std::string exactly(double value) {  // the shortest text that reads back as the same bits
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

}  // namespace

Checkpoint load_checkpoint(const std::filesystem::path& path, const std::string& experiment) {
  Checkpoint checkpoint{path.string(), SafetensorsFile(path)};
  const auto maker = checkpoint.file.metadata().find("experiment");
  if (maker != checkpoint.file.metadata().end() && maker->second != experiment)
    fail(checkpoint.name, "this is a checkpoint of ", quote(maker->second, '\''), ", expected '",
         experiment, "'");
  return checkpoint;
}

Index metadata_number(const Checkpoint& checkpoint, const std::string& key) {
  return read_number<Index>(checkpoint, key);
}

std::optional<std::string> blas_kernel_of(const Checkpoint& checkpoint) {
  const auto found = checkpoint.file.metadata().find("blas_kernel");
  if (found == checkpoint.file.metadata().end()) return {};
  return found->second;
}

void restore(const Module& module, const Checkpoint& checkpoint, Leniency leniency) {
  const auto is_known = std::move(leniency.is_known);
  leniency.is_known = [&](const std::string& name) {
    return is_optimizer_state(name) || (is_known && is_known(name));
  };
  load_tensors(checkpoint.file, checkpoint.name, module, leniency);
}

void restore(Optimizer& optimizer, const Checkpoint& checkpoint) {
  const auto state = optimizer.state();
  std::vector<Tensor> values;
  for (const auto& [name, tensor] : state)
    values.push_back(read_tensor(checkpoint.file, checkpoint.name, name, tensor->shape()));
  restore_steps(optimizer, checkpoint);
  for (std::size_t i = 0; i < values.size(); ++i) *state[i].tensor = std::move(values[i]);
}

Position position_of(const Checkpoint& checkpoint) {
  Position position{read_count(checkpoint, "epoch"),
                    read_count(checkpoint, "batch"),
                    read_number<double>(checkpoint, "objective_sum"),
                    read_number<double>(checkpoint, "reconstruction_sum"),
                    read_count(checkpoint, "best_epoch"),
                    read_number<double>(checkpoint, "best_nll"),
                    read_number<double>(checkpoint, "best_test_nll"),
                    read_number<std::uint32_t>(checkpoint, "data_checksum"),
                    read_checksum(checkpoint, "validation_checksum"),
                    read_checksum(checkpoint, "test_checksum")};
  if (position.best_epoch > position.epoch + 1)
    fail(checkpoint.name, "'best_epoch' is ", position.best_epoch, ", but only ", position.epoch,
         " epochs are over");
  return position;
}

void save_training(const std::filesystem::path& path, std::map<std::string, std::string> metadata,
                   const Module& module, Optimizer& optimizer, const Position& position) {
  TensorFile file;
  add_tensors(file, path.string(), module);
  for (const auto& [name, tensor] : optimizer.state())
    add_tensor(file, path.string(), name, *tensor);
  file.metadata = std::move(metadata);
  const std::pair<const char*, std::string> state[] = {
      {"optimizer_steps", std::to_string(optimizer.steps())},
      {"epoch", std::to_string(position.epoch)},
      {"batch", std::to_string(position.batch)},
      {"objective_sum", exactly(position.objective_sum)},
      {"reconstruction_sum", exactly(position.reconstruction_sum)},
      {"best_epoch", std::to_string(position.best_epoch)},
      {"best_nll", exactly(position.best_nll)},
      {"best_test_nll", exactly(position.best_test_nll)},
      {"data_checksum", std::to_string(position.data_checksum)},
      {"blas_kernel", blas_kernel()}};
  for (const auto& [key, value] : state) file.metadata[key] = value;
  if (position.validation_checksum)
    file.metadata["validation_checksum"] = std::to_string(*position.validation_checksum);
  if (position.test_checksum)
    file.metadata["test_checksum"] = std::to_string(*position.test_checksum);
  for (const auto& [name, steps] : optimizer.other_steps())
    file.metadata[std::string(steps_prefix) + name] = std::to_string(steps);
  save_safetensors(path, file, Checksums::crc32);
}

}  // namespace backflow::inline BACKFLOW_PRECISION
