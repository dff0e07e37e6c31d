// The pairing of maf.cpp with another transform:
//
//   z_i = c_i + int_0^x_i sum_k P_ik(t)^2 dt,   (c_i, P_ik) = MADE(x_1, ..., x_i-1)
#include "backflow/flows/autoregressive/sos.h"

#include "backflow/flows/autoregressive/autoregressive.h"
#include "backflow/flows/stack.h"

namespace backflow::inline BACKFLOW_PRECISION {

std::unique_ptr<Flow> sos(Index D, const SosOptions& options, const Random& random) {
  return stack("sos", D, options.layers, [&](std::uint32_t i) {
    return std::make_unique<Autoregressive>(i % 2 == 0 ? ascending(D) : descending(D),
                                            std::make_unique<SumOfSquares>(options.polynomial),
                                            options.net, random.stream(i));
  });
}

}  // namespace backflow::inline BACKFLOW_PRECISION
