// log|det W| of a 2 x 2 matrix, and its gradient W^-T, in double.
#include <cstdio>

#include "backflow/engine/backward.h"
#include "backflow/engine/parallel.h"
#include "backflow/ops/gradcheck.h"
#include "backflow/ops/linalg.h"
#include "backflow/ops/matmul.h"

int main() {
  using namespace backflow;
  static_assert(sizeof(Real) == 8);
  set_threads(2);
  const Var W = Var::leaf(Tensor({2, 2}, {2, 1, 1, 4}));
  const Var log_det = logabsdet(W);
  const Tensor g = backward(log_det)[W];
  const bool agrees =
      gradcheck([](const Var& w) { return logabsdet(matmul(w, w)); }, W.value()).failure.empty();
  std::printf("%.6f, gradient %.6f %.6f %.6f %.6f, %s\n", log_det.item(), g[0], g[1], g[2], g[3],
              agrees ? "which agrees with differences" : "which differs from differences");
}
