#include "backflow/apps/model/site.h"

namespace backflow::inline BACKFLOW_PRECISION {

void Claims::add(Index parameters) {
  claimed_ += parameters;
  if (budget_ && claimed_ > budget_->values)
    fail(budget_->file, "its tensors hold ", budget_->values,
         " values, but the model of its configuration has at least ", claimed_,
         "; no memory was asked for; is the file damaged?");
}

Tensor normal(const Random& random, std::uint32_t which, const Shape& shape) {
  return random.normal({1, shape.size()}, which << 20).reshape(shape);
}

}  // namespace backflow::inline BACKFLOW_PRECISION
