#include "backflow/engine/few.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Words = std::vector<std::string>;

TEST(Few, HoldsAnyNumberInOrder) {
  Words expected;
  Few<std::string> few;
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(few.empty(), i == 0);
    EXPECT_EQ(few.size(), expected.size());
    EXPECT_EQ(Words(few.begin(), few.end()), expected);
    expected.push_back(std::string(100, static_cast<char>('a' + i)));
    few.push_back(expected.back());
    EXPECT_EQ(few[i], expected[i]);
    few[0] += '!';
    expected[0] += '!';
  }
}

TEST(Few, CopiesAndMovesItsElements) {
  for (int count : {1, 3}) {
    Few<std::shared_ptr<int>> few;
    const auto shared = std::make_shared<int>(7);
    for (int i = 0; i < count; ++i) few.push_back(shared);
    Few<std::shared_ptr<int>> copy = few, moved = std::move(few);
    EXPECT_EQ(shared.use_count(), 1 + 2 * count);
    EXPECT_EQ(*copy[count - 1], 7);
    EXPECT_EQ(*moved[count - 1], 7);
  }
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
