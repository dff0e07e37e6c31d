// What stands at the two ends of a stack of planar, radial or Sylvester layers. Each of them leaves
// what is far out as it is, or only moves it, so they cannot change the scale of the whole.
#pragma once

#include "backflow/flows/flow.h"

namespace backflow::inline BACKFLOW_PRECISION {

// A Diagonal (flows/elementwise/diagonal.h) scales the coordinates: for a flow that learns from its
// own samples. An ActNorm (flows/image/actnorm.h) shifts them as well, and takes the scale of the
// first batch: for one that learns from data by likelihood.
enum class Ends { diagonal, actnorm };

// {end, layers..., end}, one after another.
std::unique_ptr<Flow> between_ends(Index D, Ends ends, std::vector<std::unique_ptr<Flow>> layers);

}  // namespace backflow::inline BACKFLOW_PRECISION
