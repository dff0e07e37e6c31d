// load_safetensors: what loads is the same when it was saved and loaded again.
#include <algorithm>
#include <cstring>

#include "backflow/apps/files/safetensors.h"
#include "backflow/tests/fuzz/fuzz.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// Bit by bit: a NaN is no other one.
bool same(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() &&
         std::memcmp(a.data(), b.data(), sizeof(Real) * static_cast<std::size_t>(a.size())) == 0;
}

bool same(const TensorFile& a, const TensorFile& b) {
  return a.metadata == b.metadata &&
         std::equal(a.tensors.begin(), a.tensors.end(), b.tensors.begin(), b.tensors.end(),
                    [](const auto& one, const auto& other) {
                      return one.first == other.first && same(one.second, other.second);
                    });
}

void load(std::string_view bytes) {
  const auto file = accepted([&] { return load_safetensors(file_of(bytes)); });
  if (!file) return;
  const Output saved;
  save_safetensors(saved.path(), *file);
  promise(same(*file, load_safetensors(saved.path())),
          "tensors and metadata survive to be saved and loaded");
}

// With the length of the header that is there: a changed header rarely keeps its own.
std::string with_right_length(std::string_view bytes) {
  std::string mended(bytes);
  const std::size_t end = bytes.rfind('}');
  if (end == bytes.npos || end < sizeof(std::uint64_t)) return mended;
  const std::uint64_t length = end + 1 - sizeof length;
  std::memcpy(mended.data(), &length, sizeof length);
  return mended;
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes = backflow::text_of(data, size);
  backflow::load(bytes);
  backflow::load(backflow::with_right_length(bytes));
  return 0;
}
