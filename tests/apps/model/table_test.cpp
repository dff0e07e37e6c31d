#include "backflow/apps/model/table.h"

#include "backflow/tests/apps/files/scratch.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

struct Row {
  std::string name, help;
};
const Table<Row> fruit("fruit", {{"apple", "red"}, {"pear", "green"}});

TEST(Table, FindsRowsByTheirNames) {
  EXPECT_EQ(fruit["pear"].help, "green");
  EXPECT_TRUE(fruit.contains("apple"));
  EXPECT_FALSE(fruit.contains("apples"));
  EXPECT_EQ(fruit.names(), (std::vector<std::string>{"apple", "pear"}));
  EXPECT_EQ(fruit.in_words(), "apple, pear");
}

TEST(Table, AnUnknownNameIsAnsweredWithTheKnownOnes) {
  EXPECT_EQ(message_of([] { fruit["aple"]; }),
            "[fruit] expected one of apple, pear, got 'aple'; did you mean 'apple'?");
}

TEST(Table, OfSomeRowsKnowsNoOthers) {
  const auto green = [](const Row& row) { return row.help == "green"; };
  EXPECT_EQ(fruit.where(green).names(), (std::vector<std::string>{"pear"}));
  EXPECT_EQ(message_of([&] { fruit.where(green)["apple"]; }),
            "[fruit] expected one of pear, got 'apple'; did you mean 'pear'?");
}

TEST(Table, HasRowsAndEachNameOnce) {
  using Rows = std::vector<Row>;
  EXPECT_EQ(message_of([] { Table<Row>("fruit", Rows{}); }), "[fruit] the table has no rows");
  EXPECT_EQ(message_of([] {
              Table<Row>("fruit", Rows{{"a", ""}, {"b", ""}, {"a", ""}});
            }),
            "[fruit] two rows have the name 'a'");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
