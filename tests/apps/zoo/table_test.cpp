#include "backflow/apps/zoo/table.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <set>

#include "backflow/flows/bases.h"
#include "backflow/ops/random.h"
#include "backflow/tests/apps/files/scratch.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// Rows i, 2 i + 0.5, i^2: any two differ, and each tells its number.
std::string counting_table(int rows, const std::string& head = "a,b,c\n") {
  std::string text = head;
  for (int i = 0; i < rows; ++i) {
    text += std::to_string(i) + "," + std::to_string(2 * i) + ".5,";
    text += std::to_string(i * i) + "\n";
  }
  return text;
}

TableOptions one_file(const Scratch& scratch, const std::string& contents) {
  TableOptions options;
  options.data = scratch.write("data.csv", contents);
  return options;
}

TableOptions three_files(const Scratch& scratch, const std::string& train,
                         const std::string& validation, const std::string& test) {
  TableOptions options;
  options.train = scratch.write("train.csv", train);
  options.validation = scratch.write("validation.csv", validation);
  options.test = scratch.write("test.csv", test);
  return options;
}

TableSplits load(const std::string& contents, const std::string& context = "", Index seed = 0) {
  const Scratch scratch;
  TableOptions options = one_file(scratch, contents);
  options.context = context;
  options.seed = seed;
  return load_table(options);
}

// Without the directory, which has another name each time.
std::string without_directory(std::string message, const Scratch& scratch) {
  const std::string directory = scratch.dir().string() + "/";
  for (std::size_t at; (at = message.find(directory)) != message.npos;)
    message.erase(at, directory.size());
  return message;
}

std::string message_of_loading(const std::string& contents, const std::string& context = "") {
  const Scratch scratch;
  TableOptions options = one_file(scratch, contents);
  options.context = context;
  return without_directory(message_of([&] { load_table(options); }), scratch);
}

std::string message_of_three(const std::string& train, const std::string& validation,
                             const std::string& test) {
  const Scratch scratch;
  const TableOptions options = three_files(scratch, train, validation, test);
  return without_directory(message_of([&] { load_table(options); }), scratch);
}

// A column of a split in the units of the data.
std::vector<double> values_of(const TableSplit& split, const TableColumns& columns, Index column) {
  std::vector<double> values;
  const TableColumn& c = columns.all[static_cast<std::size_t>(column)];
  for (Index i = 0; i < split.x.size(0); ++i)
    values.push_back(c.mean + c.deviation * split.x.at({i, column}));
  return values;
}

// The rows of the counting table that a split has.
std::vector<Index> rows_of(const TableSplit& split, const TableColumns& columns) {
  std::vector<Index> rows;
  for (const double value : values_of(split, columns, 0)) rows.push_back(std::lround(value));
  return rows;
}

TEST(DataTable, ATenthIsForValidationAndATenthForTesting) {
  const TableSplits splits = load(counting_table(1009));
  EXPECT_EQ(splits.train.x.shape(), (Shape{809, 3}));
  EXPECT_EQ(splits.validation.x.shape(), (Shape{100, 3}));
  EXPECT_EQ(splits.test.x.shape(), (Shape{100, 3}));
  EXPECT_FALSE(splits.train.context.defined());
  std::set<Index> all;
  for (const TableSplit* split : {&splits.train, &splits.validation, &splits.test}) {
    const std::vector<Index> rows = rows_of(*split, splits.columns);
    EXPECT_TRUE(std::is_sorted(rows.begin(), rows.end()));
    all.insert(rows.begin(), rows.end());
  }
  EXPECT_EQ(all.size(), 1009u);  // each row once
}

TEST(DataTable, RowsAreDrawnByTheSeed) {
  const auto test_rows = [](Index seed) {
    const TableSplits splits = load(counting_table(100), "", seed);
    return rows_of(splits.test, splits.columns);
  };
  EXPECT_EQ(test_rows(3), test_rows(3));
  EXPECT_NE(test_rows(3), test_rows(4));
  EXPECT_NE(test_rows(0), (std::vector<Index>{90, 91, 92, 93, 94, 95, 96, 97, 98, 99}));
}

TEST(DataTable, ThreeFilesKeepTheirRows) {
  const Scratch scratch;
  const TableSplits splits = load_table(
      three_files(scratch, "a,b\n1,10\n3,30\n", "a,b\n5,6\n7,8\n", "a,b\n1,2\n3,4\n5,6\n"));
  EXPECT_EQ(splits.train.x.values(), (std::vector<Real>{-1, -1, 1, 1}));
  EXPECT_EQ(splits.columns.all[0].mean, 2);
  EXPECT_EQ(splits.columns.all[1].deviation, 10);
  EXPECT_EQ(values_of(splits.validation, splits.columns, 0), (std::vector<double>{5, 7}));
  EXPECT_EQ(values_of(splits.test, splits.columns, 0), (std::vector<double>{1, 3, 5}));
}

TEST(DataTable, TheTrainingRowsAreStandardised) {
  const TableSplits splits = load(counting_table(500));
  for (Index column = 0; column < 3; ++column) {
    double sum = 0, squares = 0;
    for (Index i = 0; i < 400; ++i) {
      const double z = splits.train.x.at({i, column});
      sum += z, squares += z * z;
    }
    EXPECT_NEAR(sum / 400, 0, 1e-6);
    EXPECT_NEAR(squares / 400, 1, 1e-6);
  }
}

TEST(DataTable, ASmallSpreadOnALargeMeanIsNotLost) {
  std::string text = "a\n";
  for (int i = 0; i < 100; ++i) text += "1000000000" + std::to_string(i % 2 ? 12 : 10) + "\n";
  const TableColumns columns = load(text).columns;
  EXPECT_NEAR(columns.all[0].mean, 100000000011, 0.5);
  EXPECT_NEAR(columns.all[0].deviation, 1, 0.05);
}

TEST(DataTable, LogScaleCountsDimensionsOnly) {
  TableColumns columns{{{"a", 5, 2, false}, {"b", 0, 1e-3, true}, {"c", 1, 10, false}}, true};
  EXPECT_DOUBLE_EQ(columns.log_scale(), std::log(20.));
  EXPECT_EQ(columns.dimensions(), 2);
  EXPECT_EQ(columns.contexts(), 1);
}

// Normal columns of standard deviations 1/8, 1 and 30 around 100: the standard normal density of
// what was standardised is theirs, in nats of the data.
TEST(DataTable, NatsAreThoseOfTheData) {
  const double deviations[] = {0.125, 1, 30};
  const Tensor noise = Random(1).normal({20'000, 3});
  std::string text;
  double expected = 0;
  for (Index i = 0; i < noise.size(0); ++i)
    for (Index j = 0; j < 3; ++j)
      text += std::to_string(100 + deviations[j] * noise.at({i, j})) + (j == 2 ? "\n" : ",");
  for (const double deviation : deviations)
    expected += 0.5 * std::log(2 * std::numbers::pi * std::numbers::e) + std::log(deviation);
  const TableSplits splits = load(text);
  double sum = 0;
  const Tensor log_q = standard_normal().log_prob(splits.test.x).value();
  for (const Real value : log_q.values()) sum -= value;
  const double nats = sum / static_cast<double>(log_q.size()) + splits.columns.log_scale();
  // The standard error is sqrt(3 / 2 / 2000) = 0.027.
  EXPECT_NEAR(nats, expected, 4 * 0.027);
}

TEST(DataTable, ContextsAreColumnsOfTheirOwn) {
  const TableSplits all = load(counting_table(100));
  const TableSplits splits = load(counting_table(100), "b");
  EXPECT_EQ(splits.train.x.shape(), (Shape{80, 2}));
  EXPECT_EQ(splits.train.context.shape(), (Shape{80, 1}));
  EXPECT_EQ(splits.test.context.shape(), (Shape{10, 1}));
  for (Index i = 0; i < 80; ++i) {
    EXPECT_EQ(splits.train.x.at({i, 0}), all.train.x.at({i, 0}));
    EXPECT_EQ(splits.train.context.at({i, 0}), all.train.x.at({i, 1}));
    EXPECT_EQ(splits.train.x.at({i, 1}), all.train.x.at({i, 2}));
  }
  EXPECT_FALSE(splits.columns.all[0].context);
  EXPECT_TRUE(splits.columns.all[1].context);
  EXPECT_EQ(splits.columns.dimensions(), 2);
}

TEST(DataTable, SeveralContextsAreNamedAsInTheFile) {
  const auto contexts = [](const std::string& head, const std::string& context) {
    return load(counting_table(100, head), context).train.context.size(1);
  };
  EXPECT_EQ(contexts("a,b,c\n", "c, a"), 2);
  EXPECT_EQ(contexts("a,\"b, 1\",c\n", "\"b, 1\""), 1);
  EXPECT_EQ(contexts("", "3"), 1);
}

TEST(DataTable, UnknownContextsAreRefused) {
  EXPECT_EQ(message_of_loading(counting_table(100, "mass,spin,charge\n"), "sping"),
            "[--context] data.csv has no column 'sping'; did you mean 'spin'?");
  EXPECT_EQ(message_of_loading(counting_table(100, ""), "4"),
            "[--context] data.csv has no column '4' (it has no names, so its columns are counted "
            "from 1); did you mean '1'?");
  expect_message(message_of_loading(counting_table(100), "a,"), "no column ''");
  expect_message(message_of_loading(counting_table(100), "\x1b[1m"), "no column '\\x1b[1m'");
  expect_message(message_of_loading(counting_table(100), "\"a"), "[--context]", "quotes");
  EXPECT_EQ(message_of_loading(counting_table(100), "a,a"),
            "[--context] found the column 'a' twice");
  EXPECT_EQ(message_of_loading(counting_table(100), "a,b,c"),
            "[--context] all columns of data.csv are the context, expected at least one that the "
            "flow is a density of");
}

TEST(DataTable, ConstantColumnsAreRefused) {
  std::string text = "a,b\n";
  for (int i = 0; i < 100; ++i) text += std::to_string(i) + ",2.5\n";
  const std::string message =
      "[data.csv] column \"b\" is 2.5 in all 80 rows to train with, expected numbers that differ; "
      "leave out the column";
  EXPECT_EQ(message_of_loading(text), message);
  EXPECT_EQ(message_of_loading(text, "b"), message);
  EXPECT_EQ(message_of_three("1\n1\n", "1\n2\n", "1\n2\n"),
            "[train.csv] column 1 is 1 in all 2 rows to train with, expected numbers that differ; "
            "leave out the column");
}

TEST(DataTable, ColumnsWithoutAMeasurableSpreadAreRefused) {
  EXPECT_EQ(message_of_three("a\n1e-200\n2e-200\n", "a\n1\n2\n", "a\n1\n2\n"),
            "[train.csv] column \"a\" varies by less than 1e-100, expected more; scale the column");
}

TEST(DataTable, TooFewRowsAreRefused) {
  EXPECT_EQ(
      message_of_loading(counting_table(19)),
      "[data.csv] found 19 rows of numbers, expected at least 20: a tenth of them is to choose "
      "the best by, a tenth to report, the rest to train with");
  EXPECT_EQ(message_of_loading(counting_table(20)), "");
  expect_message(message_of_loading("a,b\n1,2\n"), "found 1 row of numbers");
  expect_message(message_of_loading("a,b\n"), "found 0 rows of numbers");
  EXPECT_EQ(message_of_three("1\n2\n", "1\n2\n", "3\n"),
            "[test.csv] found 1 row of numbers, expected at least 2: a spread has no meaning with "
            "fewer");
  EXPECT_EQ(message_of_three("1\n2\n", "1\n2\n", "3\n4\n"), "");
}

TEST(DataTable, FilesOfOtherColumnsAreRefused) {
  const std::string table = "a,b\n1,2\n3,4\n";
  EXPECT_EQ(message_of_three(table, "a\n1\n2\n", table),
            "[validation.csv] found 1 column, expected 2 as in train.csv");
  EXPECT_EQ(message_of_three(table, table, "a,c\n1,2\n3,4\n"),
            "[test.csv] column 2 is \"c\", expected \"b\" as in train.csv");
  EXPECT_EQ(message_of_three(table, table, "1,2\n3,4\n"),
            "[test.csv] found no line of names, expected one as in train.csv");
  EXPECT_EQ(message_of_three("1,2\n3,4\n", table, table),
            "[validation.csv] found a line of names, expected none as in train.csv");
}

TEST(DataTable, OneFileOrThreeAreExpected) {
  const std::string expected =
      ", expected either --data, or --train, --validation and --test together";
  TableOptions options;
  const auto message = [&] { return message_of([&] { load_table(options); }); };
  options.data = options.test = "x.csv";
  EXPECT_EQ(message(), "[--test] found beside --data" + expected);
  options.data.clear();
  EXPECT_EQ(message(), "[--train] is missing" + expected);
  options.train = "x.csv";
  EXPECT_EQ(message(), "[--validation] is missing" + expected);
}

TEST(DataTable, NumbersFarFromAllOthersAreRefused) {
  EXPECT_EQ(message_of_three("a\n1\n3\n", "a\n2\n1e12\n", "a\n1\n2\n"),
            "[validation.csv:3] column \"a\": found 1e+12, which is 1e+12 standard deviations from "
            "the mean of the rows to train with, expected at most 1e+09; does it stand for a "
            "missing value?");
}

TEST(DataTable, TheLargestNumbersStandardise) {
  const Scratch scratch;
  const TableSplits splits =
      load_table(three_files(scratch, "-1e38\n1e38\n", "0\n1e38\n", "-1e38\n0\n"));
  EXPECT_EQ(splits.train.x.values(), (std::vector<Real>{-1, 1}));
  EXPECT_EQ(splits.validation.x.values(), (std::vector<Real>{0, 1}));
}

TEST(DataTable, ChecksumsTellOtherNumbers) {
  const TableSplits a = load(counting_table(100)), b = load(counting_table(100, ""));
  EXPECT_EQ(a.train.checksum, b.train.checksum);  // names do not count
  EXPECT_EQ(a.test.checksum, load(counting_table(100), "a").test.checksum);
  std::string other = counting_table(100);
  other.replace(other.find("\n0,0.5"), 6, "\n0,0.6");
  const TableSplits c = load(other);
  const int changed = (a.train.checksum != c.train.checksum) +
                      (a.validation.checksum != c.validation.checksum) +
                      (a.test.checksum != c.test.checksum);
  EXPECT_EQ(changed, 1);
  const TableSplits d = load(counting_table(100), "", 1);
  EXPECT_NE(a.test.checksum, d.test.checksum);
}

TableColumns some_columns() {
  return {{{"a, \"b\"", 1.0 / 3, 0.1, false},
           {"Größe", -1e38, 1e-100, true},
           {"", 5e-324, std::nextafter(1.0, 2.0), false}},
          true};
}

TEST(DataTable, ColumnsSurviveAsTextToTheLastBit) {
  for (const bool named : {true, false}) {
    TableColumns columns = some_columns();
    columns.named = named;
    const TableColumns read = table_columns_from_text("test", to_text(columns));
    EXPECT_EQ(read.named, named);
    ASSERT_EQ(read.all.size(), columns.all.size());
    for (std::size_t i = 0; i < columns.all.size(); ++i) {
      EXPECT_EQ(read.all[i].name, columns.all[i].name);
      EXPECT_EQ(read.all[i].mean, columns.all[i].mean);
      EXPECT_EQ(read.all[i].deviation, columns.all[i].deviation);
      EXPECT_EQ(read.all[i].context, columns.all[i].context);
    }
  }
}

TEST(DataTable, DamagedDescriptionsAreRefused) {
  const std::string head = "column,mean,deviation,role\n";
  const auto message = [](const std::string& text) {
    return message_of([&] { table_columns_from_text("run", text); });
  };
  EXPECT_EQ(message(""),
            "[run] found \"\" where the table is described, expected "
            "column,mean,deviation,role");
  EXPECT_EQ(message(head + "a,1,0,x"),
            "[run] found \"a,1,0,x\" in the description of the table, expected "
            "column,mean,deviation,role");
  for (const std::string line : {"a,1,2", "a,1,2,y", "a,nan,2,x", "a,1,inf,x", "a,1,-2,x",
                                 "a,1,2,x,", "a,,2,x", "\x1b,1,2,x"})
    expect_message(message(head + line), "[run] found", "description of the table");
  expect_message(message(head + "\"a,1,2,x"), "[run]", "quotes");
  expect_message(message(head + "a,1,2,context"), "no columns that are no context");
  expect_message(message(head), "no columns that are no context");
  std::string many = head;
  for (int i = 0; i < 201; ++i) many += "a,1,2,x\n";
  expect_message(message(many), "more columns than the most, 200");
}

TEST(DataTable, SamplesAreWrittenInTheUnitsOfTheData) {
  const TableColumns columns{{{"a", 5, 2, false}, {"b,", 0, 0.5, true}, {"c", -1, 10, false}},
                             true};
  const Tensor x({2, 2}, {0, 1, -1.5, 0.25}), context({2, 1}, {2, -1});
  EXPECT_EQ(to_csv(columns, x, context), "a,\"b,\",c\n5,1,9\n2,-0.5,1.5\n");
  EXPECT_EQ(to_csv({{{"1", 5, 2, false}}, false}, Tensor({1, 1}, {3})), "11\n");
  EXPECT_EQ(to_csv({{{"a", 5, 2, false}}, true}, Tensor::zeros({0, 1})), "a\n");
}

TEST(DataTable, WrittenTablesLoadAsTheSameNumbers) {
  const Scratch scratch;
  const TableSplits splits = load(counting_table(400), "b");
  const std::string text = to_csv(splits.columns, splits.train.x, splits.train.context);
  TableOptions options = three_files(scratch, text, text, text);
  options.context = "b";
  const TableSplits again = load_table(options);
  for (std::size_t i = 0; i < splits.train.x.values().size(); ++i)
    ASSERT_NEAR(again.train.x[static_cast<Index>(i)], splits.train.x[static_cast<Index>(i)], 2e-6);
}

TEST(DataTable, ALargeMeanGetsTheDigitsItNeeds) {
  const TableColumns columns{{{"a", 123456789012, 1, false}}, false};
  EXPECT_EQ(to_csv(columns, Tensor({1, 1}, {0.5})), "123456789012.5\n");
}

TEST(DataTable, SamplesOfOtherShapesAreRefused) {
  const TableColumns plain{{{"a", 5, 2, false}}, true};
  TableColumns conditional = plain;
  conditional.all.push_back({"b", 0, 1, true});
  const Tensor x({2, 1}, {0, 1});
  expect_message(message_of([&] { to_csv(plain, {}); }), "[to_csv] x", "expected (n, 1)");
  expect_message(message_of([&] { to_csv(plain, Tensor({2}, {0, 1})); }), "expected (n, 1)");
  expect_message(message_of([&] { to_csv(plain, Tensor({1, 2}, {0, 1})); }), "expected (n, 1)");
  expect_message(message_of([&] { to_csv(plain, x, x); }), "found a context");
  expect_message(message_of([&] { to_csv(conditional, x); }), "the context", "expected (n, 1)");
  expect_message(message_of([&] {
                   to_csv(conditional, x, Tensor({1, 1}, {0}));
                 }),
                 "1 contexts for 2 examples");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
