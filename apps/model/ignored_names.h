// What the authors' state_dicts hold beside parameters: buffers of their layers that say again what
// our configuration says, such as the mask of an autoregressive convolution.
#pragma once

#include <string>
#include <vector>

#include "backflow/flows/sequential.h"

namespace backflow::inline BACKFLOW_PRECISION {

// The names of tensors that a state_dict of this flow may hold and that mean nothing to us, such as
// "1.translation": a reader of checkpoints passes over them.
std::vector<std::string> ignored_names(const Sequential& flow);

}  // namespace backflow::inline BACKFLOW_PRECISION
