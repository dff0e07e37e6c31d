#include "backflow/apps/data/purposes.h"

#include <gtest/gtest.h>

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// They are part of the counter of every random number: a seed means the same run for ever.
TEST(Purposes, KeepTheirNumbers) {
  const auto number = [](Purpose purpose) { return static_cast<int>(purpose); };
  EXPECT_EQ(number(purposes::initialization), 0);
  EXPECT_EQ(number(purposes::shuffling), 1);
  EXPECT_EQ(number(purposes::dequantization), 2);
  EXPECT_EQ(number(purposes::sampling), 3);
  EXPECT_EQ(number(Purpose::testing), 4);
  EXPECT_EQ(number(purposes::augmentation), 5);
  EXPECT_EQ(number(purposes::targets), 6);
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
