// Convolutions one behind another with a ReLU between each two, as one op.
//
// Each image goes through all of them before the next one does, so that what is between two
// convolutions stays in the caches. As separate ops they would write and read every activation in
// memory several times, of the whole batch each time.
#pragma once

#include <vector>

#include "backflow/ops/conv.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct ConvLayer {
  Var w, b;  // (O, C, K, L), (O)
  Conv2d options = {};
};

// x (B, C, H, W) -> conv2d(relu(... relu(conv2d(x, w, b)) ...), w, b), with the bits, gradients
// and errors of that. Fails without a layer.
//
// Where all layers have many channels inside, the first activation is not kept for backward() but
// computed again there: images have few channels, so the first convolution is the cheapest. Where
// all layers have so few that conv2d takes its direct way, all are kept. Otherwise these are
// separate ops.
Var conv_net(const Var& x, const std::vector<ConvLayer>& layers);

}  // namespace backflow::inline BACKFLOW_PRECISION
