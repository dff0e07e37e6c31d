// Direct convolutions one behind another with a ReLU between each two. Internal to conv_net: no
// header includes this.
#pragma once

#include "backflow/ops/conv_direct.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct DirectStage {
  ConvGeometry g;
  Tensor w, bias;
};

class DirectNet {
 public:
  DirectNet(const Tensor& x, std::vector<DirectStage> stages);

  // With `keep`, the activations stay for gradients().
  Tensor forward(bool keep);
  // The gradients of x, w, b, w, b, ...
  std::vector<Tensor> gradients(const Tensor& g) const;

 private:
  Index images() const { return x_.size(0); }

  Tensor x_;
  std::vector<DirectStage> stages_;
  std::vector<Tensor> activations_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION
