#include "backflow/apps/files/columns.h"

#include <gtest/gtest.h>

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

TEST(Columns, AreAsWideAsTheirWidestCells) {
  EXPECT_EQ(in_columns({{{"a", "bcd"}}, {{"1", "234"}, true}, {{"x", ""}}}, " "),
            " a      1  x\n"
            " bcd  234\n");
  EXPECT_EQ(in_columns({{{"a", "b"}}, {{"", ""}}, {{"c", "d"}}}), "a  c\nb  d\n");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
