#include "backflow/apps/files/safetensors.h"

#include <cmath>
#include <cstring>
#include <ctime>
#include <limits>

#include "backflow/apps/files/atomic_file.h"
#include "backflow/tests/apps/files/safetensors_files.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

std::string message_of_loading(const std::string& contents) {
  const Scratch scratch;
  const std::string message =
      message_of([&] { load_safetensors(scratch.write("bad.safetensors", contents)); });
  EXPECT_NE(message.find("bad.safetensors] "), message.npos) << message;
  return message;
}

std::string message_of_header(const std::string& header, int data_bytes = 0) {
  return message_of_loading(file_of(header, std::string(data_bytes, '\0')));
}

TensorFile round_trip(const TensorFile& file) {
  const Scratch scratch;
  save_safetensors(scratch / "file", file);
  return load_safetensors(scratch / "file");
}

TEST(Safetensors, TensorsSurviveARoundTrip) {
  const TensorFile file{{{"b", Tensor({2, 3}, {1, 2, 3, 4, 5, 6})},
                         {"scalar", Tensor(Real(0.1))},
                         {"empty", Tensor::empty({2, 0})},
                         {"six axes", Tensor({1, 1, 2, 1, 1, 1}, {-1, 7})}},
                        {}};
  const TensorFile loaded = round_trip(file);
  ASSERT_EQ(loaded.tensors.size(), file.tensors.size());
  for (const auto& [name, tensor] : file.tensors) {
    EXPECT_EQ(loaded.tensors.at(name).shape(), tensor.shape()) << name;
    EXPECT_EQ(loaded.tensors.at(name).values(), tensor.values()) << name;
  }
}

TEST(Safetensors, NonFiniteValuesSurviveARoundTrip) {
  const Real infinity = std::numeric_limits<Real>::infinity();
  const Tensor x({3}, {std::numeric_limits<Real>::quiet_NaN(), infinity, -infinity});
  const Tensor y = round_trip({{{"x", x}}, {}}).tensors.at("x");
  EXPECT_TRUE(std::isnan(y[0]));
  EXPECT_EQ(y[1], infinity);
  EXPECT_EQ(y[2], -infinity);
}

TEST(Safetensors, MetadataOfAnyCharactersSurvivesARoundTrip) {
  const std::map<std::string, std::string> metadata{
      {"config", R"({"path": "C:\\x", "n": 1})"},
      {"odd \"key\"\n", std::string("\0\x01\t\r\n\x7f", 6)},
      {"letters", "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x8e\xb2"},
      {"", ""}};
  EXPECT_EQ(round_trip({{}, metadata}).metadata, metadata);
}

TEST(Safetensors, AFileOfNothingSurvivesARoundTrip) {
  const TensorFile loaded = round_trip({});
  EXPECT_TRUE(loaded.tensors.empty());
  EXPECT_TRUE(loaded.metadata.empty());
}

TEST(Safetensors, SavedBytesAreTheFormats) {
  const Scratch scratch;
  save_safetensors(scratch / "file",
                   {{{"b", Tensor({1}, {2})}, {"a", Tensor({1}, {1})}}, {{"k", "v"}}});
  const std::string contents = read_file(scratch / "file");
  const bool single = sizeof(Real) == 4;
  std::string header =
      single ? R"({"__metadata__":{"k":"v"},"a":{"data_offsets":[0,4],"dtype":"F32","shape":[1]},)"
               R"("b":{"data_offsets":[4,8],"dtype":"F32","shape":[1]}})"
             : R"({"__metadata__":{"k":"v"},"a":{"data_offsets":[0,8],"dtype":"F64","shape":[1]},)"
               R"("b":{"data_offsets":[8,16],"dtype":"F64","shape":[1]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  EXPECT_EQ(contents, file_of(header, bytes_of(std::vector<Real>{1, 2})));
}

TEST(Safetensors, BothFloatDtypesAreConvertedToReal) {
  const TensorFile file =
      load_header(R"({"d":{"dtype":"F64","shape":[2],"data_offsets":[8,24]},)"
                  R"("f":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}})",
                  bytes_of(std::vector<float>{0.5f, 0.1f}) + bytes_of(std::vector<double>{2, 0.1}));
  EXPECT_EQ(file.tensors.at("f").values(), (std::vector<Real>{0.5f, Real(0.1f)}));
  EXPECT_EQ(file.tensors.at("d").values(), (std::vector<Real>{2, Real(0.1)}));
  EXPECT_EQ(file.tensors.at("f").shape(), (Shape{2, 1}));
}

TEST(Safetensors, UnalignedValuesLoad) {
  const TensorFile file = load_header(R"({"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}  )",
                                      bytes_of(std::vector<double>{3}));
  EXPECT_EQ(file.tensors.at("a").item(), 3);
}

TEST(Safetensors, AFailedSaveKeepsTheOldFile) {
  const Scratch scratch;
  save_safetensors(scratch / "file", {{{"a", Tensor(Real(1))}}, {}});
  EXPECT_NE(message_of([&] { save_safetensors(scratch / "file", {{{"a", Tensor()}}, {}}); }), "");
  EXPECT_EQ(load_safetensors(scratch / "file").tensors.at("a").item(), 1);
}

TEST(Safetensors, AMissingFileIsNamed) {
  expect_message(message_of([] { load_safetensors("none.safetensors"); }), "none.safetensors",
                 "No such file");
}

TEST(Safetensors, AFileShorterThanALengthIsRefused) {
  expect_message(message_of_loading("1234567"), "7 bytes", "at least 8");
}

TEST(Safetensors, AHeaderLongerThanTheFileIsRefused) {
  std::string contents = file_of("{}", "");
  contents[0] = 3;
  expect_message(message_of_loading(contents), "header claims 3 bytes", "at most 2");
}

TEST(Safetensors, AnAbsurdHeaderLengthIsRefused) {
  expect_message(message_of_loading(std::string(16, '\xff')), "18446744073709551615 bytes");
}

TEST(Safetensors, AHeaderThatIsNotJsonIsRefused) {
  expect_message(message_of_header(R"({"a": )"), "not valid JSON at its byte 7");
  expect_message(message_of_header("{\"a\n\": 1}"), "not valid JSON");
  expect_message(message_of_header("{\"\xff\": 1}"), "not valid JSON");
  expect_message(message_of_header(""), "not valid JSON");
}

TEST(Safetensors, AnAbsurdNumberIsRefused) {
  expect_message(message_of_header(R"({"a": 1e999})"), "number beyond any size");
}

TEST(Safetensors, AHeaderThatIsNoObjectIsRefused) {
  expect_message(message_of_header("[1]"), "array", "expected an object");
}

TEST(Safetensors, MissingFieldsAreRefused) {
  expect_message(message_of_header(R"({"a":{"shape":[1],"data_offsets":[0,4]}})", 4), "\"a\"",
                 "no dtype");
  expect_message(message_of_header(R"({"a":{"dtype":"F32","data_offsets":[0,4]}})", 4), "no shape");
  expect_message(message_of_header(R"({"a":{"dtype":"F32","shape":[1]}})", 4), "no data_offsets");
}

TEST(Safetensors, FieldsOfTheWrongTypeAreRefused) {
  expect_message(message_of_header(R"({"a":[1]})"), "\"a\"", "array", "expected an object");
  expect_message(message_of_header(R"({"a":{"dtype":4,"shape":[1],"data_offsets":[0,4]}})", 4),
                 "dtype number", "expected one of F64, F32");
  for (const char* shape : {"1", "[-1]", "[1.0]", "[\"1\"]", "[[1]]", "null"})
    expect_message(message_of_header(std::string(R"({"a":{"dtype":"F32","shape":)") + shape +
                                         R"(,"data_offsets":[0,4]}})",
                                     4),
                   "shape of the wrong type", "non-negative integers");
}

TEST(Safetensors, WrongOffsetsAreRefused) {
  const auto message = [](const std::string& offsets) {
    return message_of_header(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":)" + offsets + "}}",
                             8);
  };
  expect_message(message("[-4,0]"), "data_offsets of the wrong type", "non-negative");
  expect_message(message("[0,4,8]"), "3 data_offsets", "expected two");
  expect_message(message("[8,4]"), "begins at byte 8", "ends at byte 4", "begin <= end");
  expect_message(message("[8,12]"), "ends at byte 12", "at most 8");
  expect_message(message("[18446744073709551612,18446744073709551615]"), "at most 8");
}

TEST(Safetensors, AByteCountThatDoesNotFitTheShapeIsRefused) {
  expect_message(
      message_of_header(R"({"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,20]}})", 20),
      "20 bytes", "expected 24", "(2, 3)");
}

TEST(Safetensors, AShapeWhoseSizeOverflowsIsRefused) {
  for (const char* shape :
       {"[4294967296,4294967296]", "[18446744073709551615,2]", "[4611686018427387904,4]",
        "[0,18446744073709551615]", "[0,4294967296,4294967296]"})
    expect_message(message_of_header(std::string(R"({"a":{"dtype":"F32","shape":)") + shape +
                                     R"(,"data_offsets":[0,0]}})"),
                   "\"a\"", "shape of more than");
}

TEST(Safetensors, TooManyAxesAreRefused) {
  expect_message(
      message_of_header(R"({"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1],"data_offsets":[0,4]}})", 4),
      "7 axes", "at most 6");
}

TEST(Safetensors, OverlappingOffsetsAreRefused) {
  expect_message(message_of_header(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                                   R"("b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
                                   12),
                 "\"b\"", "byte 4", "expected 8", "overlap");
}

TEST(Safetensors, HolesAreRefused) {
  expect_message(message_of_header(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                                   R"("b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}})",
                                   12),
                 "\"b\"", "byte 8", "expected 4", "hole");
}

TEST(Safetensors, TrailingBytesAreRefused) {
  expect_message(message_of_header(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 7),
                 "3 trailing bytes");
}

TEST(Safetensors, DuplicateNamesAreRefused) {
  expect_message(message_of_header(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                                   R"("a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
                                   8),
                 "\"a\"", "twice");
}

TEST(Safetensors, EqualNamesInDifferentObjectsAreNoDuplicates) {
  const TensorFile file = load_header(
      R"({"shape":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},"__metadata__":{"shape":"x"}})",
      bytes_of(std::vector<double>{3}));
  EXPECT_EQ(file.tensors.at("shape").item(), 3);
}

TEST(Safetensors, MetadataThatIsNotTextIsRefused) {
  expect_message(message_of_header(R"({"__metadata__":[]})"), "__metadata__", "array", "object");
  expect_message(message_of_header(R"({"__metadata__":{"epoch":3}})"), "\"epoch\"", "number",
                 "expected a string");
}

TEST(Safetensors, ANameWithALineBreakStaysOnOneLine) {
  expect_message(message_of_header(R"({"a\nb":{}})"), R"("a\nb")");
}

TEST(Safetensors, ADeepHeaderIsRefused) {
  const std::string deep(100'000, '[');
  expect_message(message_of_header(deep), "array");
  expect_message(message_of_header("{\"a\":" + deep), "array");
  expect_message(message_of_header(R"({"a":{"shape":)" + deep), "shape of the wrong type");
  expect_message(message_of_header(R"({"a":{"other":)" + deep), "\"other\"", "array");
  expect_message(message_of_header(R"({"__metadata__":{"a":)" + deep), "array");
}

// Four times the tensors, four times the time, and not the sixteen of a search for each.
TEST(Safetensors, AHeaderOfManyTensorsTakesLinearTime) {
  const auto seconds = [](Index tensors) {
    std::string header = "{";
    for (Index i = 0; i < tensors; ++i)
      header += (i ? ",\"" : "\"") + std::to_string(i) +
                R"(":{"dtype":"F32","shape":[0],"data_offsets":[0,0]})";
    const std::clock_t start = std::clock();  // the processor's time: others may use the machine
    EXPECT_EQ(std::ssize(load_header(header + "}", "").tensors), tensors);
    return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  };
  double few = 1e9, many = 1e9;
  for (int run = 0; run < 3; ++run) {
    few = std::min(few, seconds(2'000));
    many = std::min(many, seconds(8'000));
  }
  EXPECT_LT(many, 8 * few);
}

TEST(Safetensors, WhatTheFormatCannotHoldIsNotSaved) {
  const Scratch scratch;
  const auto message = [&](const TensorFile& file) {
    return message_of([&] { save_safetensors(scratch / "file", file); });
  };
  expect_message(message({{{"__metadata__", Tensor(Real(1))}}, {}}), "__metadata__");
  expect_message(message({{{"a", Tensor()}}, {}}), "\"a\"", "undefined");
  expect_message(message({{{"\xff", Tensor(Real(1))}}, {}}), "UTF-8");
  expect_message(message({{}, {{"key", "\xff"}}}), "UTF-8");
  EXPECT_EQ(scratch.files(), 0);
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
