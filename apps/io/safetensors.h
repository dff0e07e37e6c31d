// Tensors on disk in the safetensors format:
//
//   8 bytes   the header's length n, little-endian
//   n bytes   JSON: {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...}
//   the rest  the values, row-major and little-endian; the tensors cover it without gap or overlap
//
// Source: https://github.com/huggingface/safetensors (README, "Format").
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "engine/tensor.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct TensorFile {
  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> metadata;  // the header's "__metadata__"; valid UTF-8
};

// F32, F64 and scalars of I64, converted to Real; NaN and infinity load like any value. Throws an
// Error naming the file, what was found and what was expected when the file breaks the format in
// any way, or holds another dtype or more than Shape::max_rank axes.
TensorFile load_safetensors(const std::filesystem::path& path);

// As F32 or F64, whichever Real is. The same tensors and metadata give the same bytes. Atomic.
void save_safetensors(const std::filesystem::path& path, const TensorFile& file);

}  // namespace backflow::inline BACKFLOW_PRECISION
