// What most flows of the literature are: one kind of layer, several times.
#pragma once

#include "backflow/flows/flow.h"

namespace backflow::inline BACKFLOW_PRECISION {

// On (B, D): layer(0), layer(1), ... with an ActNorm before each, so that it meets numbers of mean
// 0 and variance 1 when training begins, and one behind the last. Fails in the name of `flow` for
// fewer than one layer.
std::unique_ptr<Flow> stack(const char* flow, Index D, Index layers,
                            const std::function<std::unique_ptr<Flow>(std::uint32_t i)>& layer);

// Couplings, whose two parts change roles from layer to layer: layer(i, kept) keeps the first
// `kept` of D >= 2 coordinates, half of them, and behind each the order is reversed. Of an odd
// number, the coordinates that a layer moves are those that the next one keeps. The ActNorms are
// those of stack().
std::unique_ptr<Flow> stack_couplings(
    const char* flow, Index D, Index layers,
    const std::function<std::unique_ptr<Flow>(std::uint32_t i, Index kept)>& layer);

}  // namespace backflow::inline BACKFLOW_PRECISION
