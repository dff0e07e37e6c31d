#include "backflow/apps/model/optimizers.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Parameters = std::vector<NamedParameter>;
using Made = std::unique_ptr<Optimizer>;

AdamOptions betas(const Config& c) { return {.beta1 = c.adam_beta1, .beta2 = c.adam_beta2}; }

}  // namespace

const Table<OptimizerRow>& optimizers() {
  static const Table<OptimizerRow> table(
      "optimizer",
      {{SGD::name, "gradient descent with momentum",
        [](Parameters p, const Config& c) -> Made {
          return std::make_unique<SGD>(std::move(p), c.momentum);
        }},
       {Adam::name, "an average of gradients over the root of one of their squares",
        [](Parameters p, const Config& c) -> Made {
          return std::make_unique<Adam>(std::move(p), betas(c));
        }},
       {AdamW::name, "Adam, and weight_decay of the parameters beside its averages",
        [](Parameters p, const Config& c) -> Made {
          return std::make_unique<AdamW>(std::move(p), betas(c), c.weight_decay);
        }},
       {Adamax::name, "Adam with the largest gradient, which fades, in place of that root",
        [](Parameters p, const Config& c) -> Made {
          return std::make_unique<Adamax>(std::move(p), betas(c));
        }}});
  return table;
}

bool is_optimizer_state(const std::string& tensor) {
  for (const OptimizerRow& row : optimizers().rows())
    if (tensor.starts_with(row.state_prefix())) return true;
  return false;
}

}  // namespace backflow::inline BACKFLOW_PRECISION
