#include "backflow/apps/files/module_file.h"

#include <set>
#include <string_view>

#include "backflow/apps/files/quote.h"
#include "backflow/ops/finite.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// Axes of size 1 say nothing: (784, 784, 1, 1) of a 1x1 convolution is our (784, 784).
std::vector<std::uint64_t> without_ones(const auto& sizes) {
  std::vector<std::uint64_t> out;
  for (const auto size : sizes)
    if (size != 1) out.push_back(static_cast<std::uint64_t>(size));
  return out;
}

// All that is wrong with a file, for one line.
class Problems {
 public:
  explicit Problems(const std::string& where) : where_(where) {}

  void add(const std::string& problem) {
    if (++count_ <= most) text_ += (text_.empty() ? "" : "; ") + problem;
  }

  // Calls f, and takes down what it fails for.
  template <class F>
  void collect(const std::string& path, const F& f) {
    try {
      f();
    } catch (const Error& error) {
      add(without_place(path, without_place(where_, error.what())));
    }
  }

  void fail_if_any() const {
    if (count_ == 0) return;
    const std::string more =
        count_ > most ? "; and " + std::to_string(count_ - most) + " more" : "";
    fail(where_, text_, more);
  }

 private:
  static constexpr int most = 10;

  static std::string without_place(const std::string& place, const std::string& message) {
    const std::string prefix = "[" + place + "] ";
    return message.starts_with(prefix) ? message.substr(prefix.size()) : message;
  }

  std::string where_, text_;
  int count_ = 0;
};

void find_unknown_tensors(const SafetensorsFile& file, const Module& module,
                          const Leniency& leniency, Problems& problems) {
  std::set<std::string> known;
  for (const auto& [name, parameter] : module.parameters()) known.insert(name);
  for (const auto& [name, buffer] : module.buffers()) known.insert(name);
  for (const auto& [name, tensor] : file.tensors())
    if (!known.contains(name) && !(leniency.is_known && leniency.is_known(name)))
      problems.add("holds the tensor " + quote(name, '\'') + ", " + leniency.unknown);
}

}  // namespace

Tensor read_tensor(const SafetensorsFile& file, const std::string& where, const std::string& name,
                   const Shape& shape) {
  const auto found = file.tensors().find(name);
  if (found == file.tensors().end())
    fail(where, "the tensor ", quote(name, '\''), " is missing, expected the shape ", shape);
  const std::vector<std::uint64_t>& sizes = found->second.sizes;
  if (without_ones(sizes) != without_ones(shape))
    fail(where, "the tensor ", quote(name, '\''), " has the shape ", text_of(sizes), ", expected ",
         shape);
  const Tensor tensor = file.read(name);
  if (!all_finite(tensor))
    fail(where, "the tensor ", quote(name, '\''), " holds values that are not finite");
  return tensor.reshape(shape);
}

// First everything is read, then everything is set: setting cannot fail.
void load_tensors(const SafetensorsFile& file, const std::string& where, const Module& module,
                  const Leniency& leniency) {
  Problems problems(where);
  const std::string path = file.path().string();
  std::vector<std::pair<Parameter*, Tensor>> parameters;
  std::vector<std::pair<Tensor*, Tensor>> buffers;
  for (const auto& [name, to] : module.parameters())
    problems.collect(path, [&, &name = name, to = to] {
      parameters.emplace_back(to, read_tensor(file, where, name, to->shape()));
    });
  for (const auto& [name, to] : module.buffers())
    if (!leniency.may_lack_buffers || file.tensors().contains(name))
      problems.collect(path, [&, &name = name, to = to] {
        buffers.emplace_back(to, read_tensor(file, where, name, to->shape()));
      });
  find_unknown_tensors(file, module, leniency, problems);
  problems.fail_if_any();
  for (auto& [to, value] : parameters) to->set(std::move(value));
  for (auto& [to, value] : buffers) *to = std::move(value);
}

void load_module(const std::filesystem::path& path, Module& module) {
  load_tensors(SafetensorsFile(path), path.string(), module);
}

void add_tensor(TensorFile& file, const std::string& where, const std::string& name,
                const Tensor& tensor) {
  if (!file.tensors.emplace(name, tensor).second)
    fail(where, "two tensors would have the name '", name, "', expected one for each");
}

void add_tensors(TensorFile& file, const std::string& where, const Module& module) {
  for (const auto& [name, parameter] : module.parameters())
    add_tensor(file, where, name, parameter->value());
  for (const auto& [name, buffer] : module.buffers()) add_tensor(file, where, name, *buffer);
}

void save_module(const std::filesystem::path& path, const Module& module) {
  TensorFile file;
  add_tensors(file, path.string(), module);
  for (const auto& [name, tensor] : file.tensors)
    if (tensor.defined() && !all_finite(tensor))
      fail(path.string(), "the tensor ", quote(name, '\''),
           " holds values that are not finite: it could not be loaded again");
  save_safetensors(path, file, Checksums::crc32);
}

}  // namespace backflow::inline BACKFLOW_PRECISION
