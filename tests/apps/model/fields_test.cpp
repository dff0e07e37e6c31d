#include "backflow/apps/model/fields.h"

#include <gtest/gtest.h>

#include "backflow/tests/apps/files/scratch.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

struct Recipe {
  std::string name = "soup \"of the day\"";
  double salt = 0.1;
  Index spoons = -3;
  bool hot = true;

  template <class Self, class F>
  static void visit(Self& self, F f) {
    f("name", self.name, "what it is");
    f("salt", self.salt, "grams");
    f("spoons", self.spoons, "how many");
    f("hot", self.hot, "whether it is");
  }
};

void validate(const Recipe& recipe) {
  if (recipe.salt < 0) fail("salt", "expected at least 0, got ", recipe.salt);
}

TEST(Fields, AreWrittenAsJsonAndReadBack) {
  Recipe recipe;
  recipe.salt = 1.0 / 3;
  recipe.hot = false;
  const std::string text = to_json(recipe, {{"note", "a\nb"}});
  EXPECT_EQ(text, R"({
  "name": "soup \"of the day\"",
  "salt": 0.3333333333333333,
  "spoons": -3,
  "hot": false,
  "note": "a\nb"
}
)");
  const auto again = from_json<Recipe>("file", text);
  EXPECT_EQ(to_json(again), to_json(recipe));
  EXPECT_EQ(members_of_json(text)["note"], "a\nb");
}

TEST(Fields, AreSetByKeyAndSaySo) {
  Recipe recipe;
  EXPECT_TRUE(assign_field(recipe, "spoons", "7"));
  EXPECT_TRUE(assign_field(recipe, "hot", "0"));
  EXPECT_FALSE(assign_field(recipe, "spoon", "7"));
  EXPECT_EQ(field_as_text(recipe, "spoons"), "7");
  EXPECT_EQ(field_as_text(recipe, "hot"), "false");
  EXPECT_EQ(field_as_text(recipe, "name"), R"("soup \"of the day\"")");
  EXPECT_EQ(field_as_text(recipe, "spoon"), "");
  expect_message(message_of([&] { assign_field(recipe, "spoons", "1.5"); }), "[spoons]",
                 "a whole number", "'1.5'");
}

TEST(Fields, ThatMakeNoSenseAreNotRead) {
  const auto message = [](const std::string& text) {
    return message_of([&] { from_json<Recipe>("recipe.json", text); });
  };
  expect_message(message(R"({"salt": -1})"), "[recipe.json]", "damaged", "[salt]");
  expect_message(message(R"({"hot": 2})"), "[hot]", "true or false");
  expect_message(message("[]"), "not a JSON object");
}

TEST(Fields, OfNoMembersAreAnEmptyObject) { EXPECT_EQ(json_object({}), "{}\n"); }

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
