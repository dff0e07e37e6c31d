// The kinds of numbers in a safetensors file, and their conversion to Real.
#pragma once

#include <optional>
#include <string>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct Dtype {
  const char* name;
  std::uint64_t bits;  // of an element
  // Converts `count` elements; the place of the first that does not fit, if there is one. No
  // function: this kind is known, and refused.
  std::optional<Index> (*convert)(const char* from, Index count, Real* to);
  const char* expected;  // of an element
};

const Dtype* find_dtype(const std::string& name);  // nullptr: unknown
std::string known_dtypes();                        // those that convert: "F32, F64, ..."

}  // namespace backflow::inline BACKFLOW_PRECISION
