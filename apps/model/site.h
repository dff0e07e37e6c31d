// Where a flow of a model goes: what the rows of the tables are given to make one.
#pragma once

#include <memory>
#include <optional>

#include "backflow/apps/model/config.h"
#include "backflow/flows/flow.h"
#include "backflow/ops/random.h"

namespace backflow::inline BACKFLOW_PRECISION {

// How many values a file can give to a model, at most.
struct ParameterBudget {
  std::string file;
  Index values;
};

// Fails when a model would have more parameters than its budget, before they ask for memory.
class Claims {
 public:
  explicit Claims(const std::optional<ParameterBudget>& budget) : budget_(budget) {}
  void add(Index parameters);

 private:
  std::optional<ParameterBudget> budget_;
  Index claimed_ = 0;
};

struct Site {
  const Config& config;
  Index C, H, W;  // an example there
  bool flat;      // the model flattens it: weights are matrices, not kernels
  Random random;  // of the flow that goes there: a new one takes numbers from its streams
  Claims* claims = nullptr;

  Index size() const { return C * H * W; }
  // Before a flow of at least so many parameters is made.
  void claim(Index parameters) const {
    if (claims) claims->add(parameters);
  }
};

// A product of weights and examples that a training step cannot do without: of matrices, or a
// convolution.
struct Product {
  int times;
  Shape x, w;                // one example, (D) or (C, H, W), and weights for matmul or conv2d
  double flop_per_step = 0;  // beside them, whatever the batch
  double share = 1;          // of the weights that count: a mask may leave no more
};

// Normal numbers for a tensor of a layer: number `which`, and row 0 of it alone. The paper's layers
// have their initial values from here; new ones have site.random.stream(which).
Tensor normal(const Random& random, std::uint32_t which, const Shape& shape);

}  // namespace backflow::inline BACKFLOW_PRECISION
