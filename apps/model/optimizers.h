// The optimizers that a configuration can name.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backflow/apps/model/config.h"
#include "backflow/apps/model/table.h"
#include "backflow/engine/optimizer.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct OptimizerRow {
  std::string name;  // the optimizer's own, with which the names of its tensors begin
  std::string help;
  std::unique_ptr<Optimizer> (*make)(std::vector<NamedParameter>, const Config&);

  std::string state_prefix() const { return name + "."; }
};

const Table<OptimizerRow>& optimizers();

// Whether a tensor of a file is the state of one of the optimizers, by its name.
bool is_optimizer_state(const std::string& tensor);

}  // namespace backflow::inline BACKFLOW_PRECISION
