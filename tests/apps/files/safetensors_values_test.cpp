// What a safetensors file holds: every kind of number, and the checksums by which damage is seen.
#include <cmath>
#include <fstream>
#include <limits>

#include "backflow/apps/files/safetensors.h"
#include "backflow/tests/apps/files/safetensors_files.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

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
TEST(SafetensorsValues, HalfPrecisionIsExact) {
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

TEST(SafetensorsValues, WholeNumbersAreExact) {
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

TEST(SafetensorsValues, WhatDoesNotFitIsNamedByItsPlace) {
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

TEST(SafetensorsValues, OtherDtypesAreRefusedByName) {
  for (const std::string dtype : {"F8_E4M3", "F8_E5M2", "F8_E8M0"})
    expect_message(message_of([&] { load_as<std::uint8_t>(dtype, {1}); }), "\"x\"",
                   "\"" + dtype + "\"", "expected one of F64, F32, F16");
  expect_message(message_of([&] { load_as<std::uint8_t>("X9", {1}); }), "\"X9\"");
}

TEST(SafetensorsValues, ATensorThatNobodyReadsIsNeverDecoded) {
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

// ---- Checksums --------------------------------------------------------------------------------

const TensorFile two_tensors{{{"a", Tensor({2}, {1, 2})}, {"b", Tensor({2}, {3, 4})}},
                             {{"epoch", "17"}, {"experiment", "x"}}};

TEST(SafetensorsChecksums, ChecksumsAreNotSeenFromOutside) {
  const Scratch scratch;
  save_safetensors(scratch / "file", two_tensors, Checksums::crc32);
  const TensorFile loaded = load_safetensors(scratch / "file");
  EXPECT_EQ(loaded.metadata, two_tensors.metadata);
  EXPECT_EQ(loaded.tensors.at("b").values(), (std::vector<Real>{3, 4}));
}

// Python: zlib.crc32(b"a\0F32\0(2)\0" + struct.pack("<2f", 1, 2)), and so on.
TEST(SafetensorsChecksums, ChecksumsAreThoseOfZlib) {
  const Scratch scratch;
  save_safetensors(scratch / "file", two_tensors, Checksums::crc32);
  const std::string bytes = read_file(scratch / "file");
  const bool single = sizeof(Real) == sizeof(float);
  EXPECT_NE(bytes.find(single ? R"("crc32.a":"1361688d")" : R"("crc32.a":"f2837b7f")"), bytes.npos);
  EXPECT_NE(bytes.find(single ? R"("crc32":"57b5b60f")" : R"("crc32":"26c06999")"), bytes.npos);
}

TEST(SafetensorsChecksums, EveryFlippedBitIsSeen) {
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

TEST(SafetensorsChecksums, SwappedTensorsAndLostChecksumsAreSeen) {
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

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
