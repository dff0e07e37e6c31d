// What the programs use random numbers for. Each number here is part of the counter of every random
// number (engine/random.h): with another one a seed would give other weights, other noise.
//
// In this room, since a data set draws its validation images; the rooms that train and sample see
// it from there.
#pragma once

#include "backflow/ops/random.h"

namespace backflow::inline BACKFLOW_PRECISION::purposes {

inline constexpr Purpose initialization{0}, shuffling{1}, dequantization{2}, sampling{3},
    augmentation{5}, targets{6}, probing{7};  // 4 is Purpose::testing

}  // namespace backflow::inline BACKFLOW_PRECISION::purposes
