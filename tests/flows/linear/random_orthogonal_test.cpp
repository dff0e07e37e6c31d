#include "backflow/flows/linear/random_orthogonal.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

TEST(RandomOrthogonal, FollowsTheSeedAlone) {
  for (Index n : {2, 33, 130}) {
    const auto of_seed = [n](int seed) { return random_orthogonal(n, Random(seed)).values(); };
    EXPECT_EQ(of_seed(1), of_seed(1));
    EXPECT_NE(of_seed(1), of_seed(2));
  }
}

// Over the group, elements average 0, their squares 1 / 3, and half the determinants are -1: QR
// without a convention for its signs favours some of them.
TEST(RandomOrthogonal, IsUniform) {
  constexpr int count = 3000;
  const double four_sigma = 4 / std::sqrt(count);
  std::array<double, 9> sum{}, squares{};
  int reflections = 0;
  for (int seed = 0; seed < count; ++seed) {
    const Tensor q = random_orthogonal(3, Random(seed));
    for (int i = 0; i < 9; ++i) sum[i] += q[i], squares[i] += q[i] * q[i];
    reflections += q[0] * (q[4] * q[8] - q[5] * q[7]) - q[1] * (q[3] * q[8] - q[5] * q[6]) +
                       q[2] * (q[3] * q[7] - q[4] * q[6]) <
                   0;
  }
  for (int i = 0; i < 9; ++i) {
    EXPECT_NEAR(sum[i] / count, 0, four_sigma * std::sqrt(1 / 3.0)) << "element " << i;
    EXPECT_NEAR(squares[i] / count, 1 / 3.0, four_sigma * std::sqrt(4 / 45.0)) << "element " << i;
  }
  EXPECT_NEAR(reflections / double(count), 0.5, four_sigma / 2);
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
