// A drawing of a graph.
#pragma once

#include <span>
#include <string>

#include "backflow/engine/module.h"

namespace backflow::inline BACKFLOW_PRECISION {

// The history of a Var for Graphviz: `dot -Tpng`. Ops and leaves are labelled with the shapes of
// their values, leaves are boxes, arrows follow the data. Constants have no history and are left
// out. Leaves that are parameters of the list have their names there: to_dot(loss,
// mlp.parameters()).
std::string to_dot(const Var& root, std::span<const NamedParameter> parameters = {});

}  // namespace backflow::inline BACKFLOW_PRECISION
