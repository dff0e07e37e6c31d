#include "apps/io/safetensors.h"

#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>

#include "apps/io/atomic_file.h"
#include "tests/apps/io/scratch.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

std::string bytes_of(const void* data, std::size_t size) {
  return {static_cast<const char*>(data), size};
}

template <class Stored>
std::string bytes_of(const std::vector<Stored>& values) {
  return bytes_of(values.data(), values.size() * sizeof(Stored));
}

std::string file_of(const std::string& header, const std::string& data) {
  const std::uint64_t length = header.size();
  return bytes_of(&length, sizeof length) + header + data;
}

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

TensorFile load_header(const std::string& header, const std::string& data) {
  const Scratch scratch;
  return load_safetensors(scratch.write("good.safetensors", file_of(header, data)));
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

// A file of one tensor x with these values, by its header alone.
template <class Stored>
TensorFile load_as(const std::string& dtype, const std::vector<Stored>& values) {
  const std::size_t bytes = values.size() * sizeof(Stored);
  return load_header(R"({"x":{"dtype":")" + dtype + R"(","shape":[)" +
                         std::to_string(values.size()) + R"(],"data_offsets":[0,)" +
                         std::to_string(bytes) + "]}}",
                     bytes_of(values));
}

template <class Stored>
std::vector<Real> values_as(const std::string& dtype, const std::vector<Stored>& values) {
  return load_as(dtype, values).tensors.at("x").values();
}

// Made with NumPy: np.array([...], dtype=np.float16).view(np.uint16).
TEST(Safetensors, HalfPrecisionIsExact) {
  const std::vector<std::uint16_t> halves = {0x0000, 0x8000, 0x3c00, 0xc000, 0x3555, 0x7bff,
                                             0x0400, 0x03ff, 0x0001, 0x8001, 0x7c00, 0xfc00};
  const Real infinity = std::numeric_limits<Real>::infinity();
  const std::vector<Real> expected = {0,
                                      Real(-0.0),
                                      1,
                                      -2,
                                      Real(0.333251953125),
                                      65504,
                                      Real(6.103515625e-05),
                                      Real(6.097555160522461e-05),
                                      Real(5.960464477539063e-08),
                                      Real(-5.960464477539063e-08),
                                      infinity,
                                      -infinity};
  EXPECT_EQ(values_as("F16", halves), expected);
  EXPECT_TRUE(std::signbit(values_as("F16", halves)[1]));
  EXPECT_TRUE(std::isnan(values_as<std::uint16_t>("F16", {0x7e01})[0]));
  const std::vector<std::uint16_t> bfloats = {0x3f80, 0xc000, 0x3eab, 0x7f7f, 0x0001, 0x7f80};
  EXPECT_EQ(values_as("BF16", bfloats),
            (std::vector<Real>{1, -2, Real(0.333984375), Real(3.3895313892515355e+38),
                               Real(9.183549615799121e-41), infinity}));
}

TEST(Safetensors, WholeNumbersAreExact) {
  const std::vector<Real> expected = {0, 1, -2, 100};
  EXPECT_EQ((values_as<std::int8_t>("I8", {0, 1, -2, 100})), expected);
  EXPECT_EQ((values_as<std::int16_t>("I16", {0, 1, -2, 100})), expected);
  EXPECT_EQ((values_as<std::int32_t>("I32", {0, 1, -2, 100})), expected);
  EXPECT_EQ((values_as<std::int64_t>("I64", {0, 1, -2, 100})), expected);
  EXPECT_EQ((values_as<std::uint8_t>("U8", {0, 255})), (std::vector<Real>{0, 255}));
  EXPECT_EQ((values_as<std::uint16_t>("U16", {0, 65535})), (std::vector<Real>{0, 65535}));
  EXPECT_EQ((values_as<std::uint32_t>("U32", {0, 1u << 31})), (std::vector<Real>{0, 2147483648}));
  EXPECT_EQ((values_as<std::uint64_t>("U64", {0, std::uint64_t{1} << 63})),
            (std::vector<Real>{0, Real(9223372036854775808.0)}));
  EXPECT_EQ((values_as<std::uint8_t>("BOOL", {0, 1})), (std::vector<Real>{0, 1}));
}

TEST(Safetensors, WhatDoesNotFitIsNamedByItsPlace) {
  const bool single = sizeof(Real) == sizeof(float);
  const std::int64_t too_fine = (std::int64_t{1} << (single ? 24 : 53)) + 1;
  const auto message = [](const auto& load) { return message_of(load); };
  expect_message(message([&] {
                   load_as<std::int64_t>("I64", {5, too_fine, too_fine});
                 }),
                 "\"x\" of I64: element 1 does not fit", "has exactly");
  expect_message(message([&] { load_as<std::int64_t>("I64", {INT64_MAX}); }), "element 0");
  expect_message(message([&] { load_as<std::uint64_t>("U64", {UINT64_MAX}); }), "element 0");
  expect_message(message([&] {
                   load_as<std::uint8_t>("BOOL", {0, 1, 2});
                 }),
                 "element 2", "expected 0 or 1");
  if (single) {
    expect_message(message([&] {
                     load_as<double>("F64", {1, 1e300});
                   }),
                   "element 1", "in the range of F32");
    EXPECT_EQ(values_as<double>("F64", {1e-300})[0], 0);  // rounded, as all are
  }
}

TEST(Safetensors, OtherDtypesAreRefusedByName) {
  for (const std::string dtype : {"F8_E4M3", "F8_E5M2", "F8_E8M0"})
    expect_message(message_of([&] { load_as<std::uint8_t>(dtype, {1}); }), "\"x\"",
                   "\"" + dtype + "\"", "expected one of F64, F32, F16");
  expect_message(message_of([&] { load_as<std::uint8_t>("X9", {1}); }), "\"X9\"");
}

TEST(Safetensors, ATensorThatNobodyReadsIsNeverDecoded) {
  const Scratch scratch;
  const auto path = scratch.write(
      "file", file_of(R"({"a":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]},)"
                      R"("b":{"dtype":"NEW","shape":[1,1,1,1,1,1,1,1],"data_offsets":[1,4]},)"
                      R"("c":{"dtype":"BOOL","shape":[1],"data_offsets":[4,5]},)"
                      R"("d":{"dtype":"U8","shape":[1],"data_offsets":[5,6]}})",
                      "abcde\x07"));
  const SafetensorsFile file(path);
  EXPECT_EQ(file.tensors().size(), 4u);
  EXPECT_EQ(file.element_count(), 4u);
  EXPECT_EQ(file.read("d").item(), 7);
  expect_message(message_of([&] { file.read("a"); }), "\"F8_E4M3\"");
  expect_message(message_of([&] { file.read("b"); }), "\"NEW\"");
  expect_message(message_of([&] { file.read("c"); }), "element 0 does not fit");
  expect_message(message_of([&] { file.read("e"); }), "the tensor \"e\" is missing");
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

// Twice the tensors, twice the time: 40,000 took 12 s when it grew as the square.
TEST(Safetensors, AHeaderOfManyTensorsTakesLinearTime) {
  std::string header = "{";
  for (int i = 0; i < 40'000; ++i)
    header += (i ? ",\"" : "\"") + std::to_string(i) +
              R"(":{"dtype":"F32","shape":[0],"data_offsets":[0,0]})";
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(load_header(header + "}", "").tensors.size(), 40'000u);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(3));
}

const TensorFile two_tensors{{{"a", Tensor({2}, {1, 2})}, {"b", Tensor({2}, {3, 4})}},
                             {{"epoch", "17"}, {"experiment", "x"}}};

TEST(Safetensors, ChecksumsAreNotSeenFromOutside) {
  const Scratch scratch;
  save_safetensors(scratch / "file", two_tensors, Checksums::crc32);
  const TensorFile loaded = load_safetensors(scratch / "file");
  EXPECT_EQ(loaded.metadata, two_tensors.metadata);
  EXPECT_EQ(loaded.tensors.at("b").values(), (std::vector<Real>{3, 4}));
}

// Python: zlib.crc32(b"a\0F32\0(2)\0" + struct.pack("<2f", 1, 2)), and so on.
TEST(Safetensors, ChecksumsAreThoseOfZlib) {
  const Scratch scratch;
  save_safetensors(scratch / "file", two_tensors, Checksums::crc32);
  const std::string bytes = read_file(scratch / "file");
  const bool single = sizeof(Real) == sizeof(float);
  EXPECT_NE(bytes.find(single ? R"("crc32.a":"1361688d")" : R"("crc32.a":"f2837b7f")"), bytes.npos);
  EXPECT_NE(bytes.find(single ? R"("crc32":"57b5b60f")" : R"("crc32":"26c06999")"), bytes.npos);
}

TEST(Safetensors, EveryFlippedBitIsSeen) {
  const Scratch scratch;
  save_safetensors(scratch / "file", two_tensors, Checksums::crc32);
  const std::string good = read_file(scratch / "file");
  std::fstream file(scratch / "file", std::ios::in | std::ios::out | std::ios::binary);
  const auto put = [&](std::size_t byte, int value) {
    file.seekp(static_cast<std::streamoff>(byte)).put(static_cast<char>(value)).flush();
  };
  for (std::size_t bit = 0; bit < 8 * good.size(); ++bit) {
    put(bit / 8, good[bit / 8] ^ (1 << bit % 8));
    EXPECT_NE(message_of([&] { SafetensorsFile{scratch / "file"}; }), "") << "bit " << bit;
    put(bit / 8, good[bit / 8]);
  }
  EXPECT_EQ(message_of([&] { SafetensorsFile{scratch / "file"}; }), "");
}

TEST(Safetensors, SwappedTensorsAndLostChecksumsAreSeen) {
  const Scratch scratch;
  save_safetensors(scratch / "file", two_tensors, Checksums::crc32);
  const std::string good = read_file(scratch / "file");
  const auto message = [&](const std::string& contents) {
    const auto path = scratch.write("bad", contents);
    return message_of([&] { SafetensorsFile{path}; });
  };
  const std::size_t half = 2 * sizeof(Real), data = good.size() - 2 * half;
  expect_message(message(good.substr(0, data) + good.substr(data + half) + good.substr(data, half)),
                 "tensor \"a\" has the checksum", "the file is damaged");
  std::string other_key = good;
  other_key.replace(good.find("crc32.b"), 7, "crc33.b");
  expect_message(message(other_key), "the metadata has the checksum");
  std::string other_epoch = good;
  other_epoch.replace(good.find("\"17\""), 4, "\"18\"");
  expect_message(message(other_epoch), "the metadata has the checksum");
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
