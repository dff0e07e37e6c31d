// How the square matrices of fully connected layers begin.
#pragma once

#include "backflow/apps/model/table.h"
#include "backflow/ops/random.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct InitialValues {
  Tensor W, b;  // (D, D), orthogonal, and (D)
};

struct InitRow {
  std::string name, help;
  InitialValues (*make)(Index D, const Random& random);
};

const Table<InitRow>& initial_values();

}  // namespace backflow::inline BACKFLOW_PRECISION
