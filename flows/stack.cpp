#include "backflow/flows/stack.h"

#include "backflow/flows/image/actnorm.h"
#include "backflow/flows/permute.h"
#include "backflow/flows/sequential.h"

namespace backflow::inline BACKFLOW_PRECISION {

std::unique_ptr<Flow> stack(const char* flow, Index D, Index layers,
                            const std::function<std::unique_ptr<Flow>(std::uint32_t i)>& layer) {
  if (layers < 1) fail(flow, "at least one layer expected, got ", layers);
  std::vector<std::unique_ptr<Flow>> all;
  for (Index i = 0; i < layers; ++i) {
    all.push_back(std::make_unique<ActNorm>(D));
    all.push_back(layer(static_cast<std::uint32_t>(i)));
  }
  all.push_back(std::make_unique<ActNorm>(D));
  return std::make_unique<Sequential>(std::move(all));
}

std::unique_ptr<Flow> stack_couplings(
    const char* flow, Index D, Index layers,
    const std::function<std::unique_ptr<Flow>(std::uint32_t i, Index kept)>& layer) {
  return stack(flow, D, layers, [&](std::uint32_t i) {
    std::vector<std::unique_ptr<Flow>> both;
    both.push_back(layer(i, i % 2 == 0 ? D - D / 2 : D / 2));
    both.push_back(reverse(D));
    return std::make_unique<Sequential>(std::move(both));
  });
}

}  // namespace backflow::inline BACKFLOW_PRECISION
