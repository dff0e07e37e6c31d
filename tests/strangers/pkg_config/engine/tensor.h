// The stranger's own, of the same name as one of backflow's.
#pragma once

struct Tensor {
  double values[3] = {0.4, 1.6, 2.5};
};
