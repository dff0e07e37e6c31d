// Tensors on disk in the safetensors format:
//
//   8 bytes   the header's length n, little-endian
//   n bytes   JSON: {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...}
//   the rest  the values, row-major and little-endian; the tensors cover it without gap or overlap
//
// Source: https://github.com/huggingface/safetensors (README, "Format").
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "backflow/apps/files/atomic_file.h"
#include "backflow/engine/tensor.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct TensorFile {
  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> metadata;  // the header's "__metadata__"; valid UTF-8
};

// Checksums in the metadata, by which damage is seen:
//
//   backflow_format  "2": this file has them
//   crc32.NAME       of tensor NAME: its name, dtype, shape and bytes
//   crc32            of all other metadata, the above included
//
// eight hexadecimal digits each. Other programs' files have none, and need none.
enum class Checksums { none, crc32 };

// An open file whose header was read and checked: values are read when they are asked for. Whatever
// reads a file throws an Error naming it, what was found and what was expected when the file breaks
// the format in any way.
class SafetensorsFile {
 public:
  struct Entry {
    std::string dtype;  // as the file has it, known to us or not
    std::vector<std::uint64_t> sizes;
    std::uint64_t begin = 0, end = 0;  // within the data
  };

  // Reads the header, and, where there are checksums, everything once to compare them.
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }
  const std::map<std::string, Entry>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }  // no checksums
  // All tensors together have so many: no model with more parameters can come from this file.
  std::uint64_t element_count() const;

  // Converted to Real: F64, F32, F16 and BF16 are rounded, NaN and infinity being values like any
  // other; I8 to I64, U8 to U64 and BOOL (0 or 1) must fit exactly. Throws an Error as well when a
  // finite value would become infinite, for other dtypes, and for more than Shape::max_rank axes.
  Tensor read(const std::string& name) const;

 private:
  void check_coverage() const;
  void check_checksums();
  std::uint32_t checksum(const std::string& name, const Entry& entry) const;

  OpenFile file_;
  std::uint64_t data_begin_ = 0;
  std::map<std::string, Entry> tensors_;
  std::map<std::string, std::string> metadata_;
};

std::string text_of(const std::vector<std::uint64_t>& sizes);  // "(2, 3)"

// All of its tensors.
TensorFile load_safetensors(const std::filesystem::path& path);

// As F32 or F64, whichever Real is. The same tensors and metadata give the same bytes. Atomic.
void save_safetensors(const std::filesystem::path& path, const TensorFile& file,
                      Checksums checksums = Checksums::none);

}  // namespace backflow::inline BACKFLOW_PRECISION
