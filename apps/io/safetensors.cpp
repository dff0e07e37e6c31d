#include "apps/io/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>
#include <tuple>
#include <vector>

#include "apps/io/atomic_file.h"
#include "engine/parallel.h"

namespace backflow::inline BACKFLOW_PRECISION {

static_assert(std::endian::native == std::endian::little, "values are copied as they are");

using Json = nlohmann::json;
using Bytes = std::uint64_t;

static constexpr Bytes length_bytes = 8;
static constexpr Bytes max_header_bytes = 100'000'000;  // the format's own limit
static constexpr Bytes max_elements = Bytes{1} << 56;   // no product of sizes can overflow
static constexpr const char* metadata_key = "__metadata__";

namespace {

enum class Stored { F32, F64, I64 };

struct Entry {
  std::string name;
  Stored stored = Stored::F32;
  Shape shape;
  Bytes begin = 0, end = 0;  // within the data
};

}  // namespace

// On one line whatever the name holds.
static std::string quoted(const std::string& name) {
  return Json(name).dump(-1, ' ', false, Json::error_handler_t::replace);
}

// The JSON library keeps the last of two equal keys; the format forbids them.
static Json parse_without_duplicates(const std::string& where, std::string_view text) {
  std::vector<std::set<std::string>> keys;
  const auto check = [&](int, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.back().insert(parsed).second)
      fail(where, "the name ", parsed.dump(), " occurs twice in the header, expected once; ",
           "the file was not written by a safetensors library");
    return true;
  };
  try {
    return Json::parse(text, check);
  } catch (const Json::parse_error& error) {
    fail(where, "the header is not valid JSON at its byte ", error.byte,
         ", expected a safetensors header; is this a safetensors file?");
  } catch (const Json::out_of_range&) {
    fail(where, "the header holds a number beyond any size, expected shapes and offsets; ",
         "is the header damaged?");
  }
}

static std::string_view header_text(const std::string& where, std::string_view file) {
  if (file.size() < length_bytes)
    fail(where, "the file has ", file.size(), " bytes, expected at least ", length_bytes,
         "; was the download or copy cut short?");
  Bytes length = 0;
  std::memcpy(&length, file.data(), length_bytes);
  const Bytes available = file.size() - length_bytes;
  if (length > max_header_bytes || length > available)
    fail(where, "the header claims ", length, " bytes, expected at most ",
         std::min(available, max_header_bytes),
         "; is this a safetensors file, and was it copied whole?");
  return file.substr(length_bytes, length);
}

static Json parse_header(const std::string& where, std::string_view text) {
  Json header = parse_without_duplicates(where, text);
  if (!header.is_object())
    fail(where, "the header is a JSON ", header.type_name(), ", expected an object; ",
         "is this a safetensors file?");
  return header;
}

static std::map<std::string, std::string> parse_metadata(const std::string& where,
                                                         const Json& metadata) {
  if (!metadata.is_object())
    fail(where, metadata_key, " is a JSON ", metadata.type_name(),
         ", expected an object of strings; save the file again");
  std::map<std::string, std::string> out;
  for (const auto& [key, value] : metadata.items()) {
    if (!value.is_string())
      fail(where, metadata_key, " ", quoted(key), " is a JSON ", value.type_name(),
           ", expected a string; save numbers as text");
    out.emplace(key, value.get<std::string>());
  }
  return out;
}

static const Json& field(const std::string& where, const std::string& name, const Json& info,
                         const char* key) {
  if (!info.is_object())
    fail(where, "tensor ", quoted(name), " is described by a JSON ", info.type_name(),
         ", expected an object with dtype, shape and data_offsets; is the header damaged?");
  if (!info.contains(key))
    fail(where, "tensor ", quoted(name), " has no ", key,
         ", expected dtype, shape and data_offsets; is the header damaged?");
  return info.at(key);
}

// An array of integers from 0 up; the JSON library keeps these three kinds of number apart:
// unsigned, negative, and everything else.
static std::vector<Bytes> sizes_field(const std::string& where, const std::string& name,
                                      const Json& info, const char* key) {
  const Json& value = field(where, name, info, key);
  const bool good = value.is_array() && std::all_of(value.begin(), value.end(), [](const Json& n) {
                      return n.is_number_unsigned();
                    });
  if (!good)
    fail(where, "tensor ", quoted(name), " has a ", key,
         " of the wrong type, expected an array of non-negative integers; is the header damaged?");
  return value.get<std::vector<Bytes>>();
}

static Stored parse_dtype(const std::string& where, const std::string& name, const Json& info) {
  const Json& dtype = field(where, name, info, "dtype");
  if (dtype == "F32") return Stored::F32;
  if (dtype == "F64") return Stored::F64;
  if (dtype == "I64" && field(where, name, info, "shape").empty()) return Stored::I64;  // a flag
  fail(where, "tensor ", quoted(name), " has the dtype ",
       dtype.is_string() ? quoted(dtype.get<std::string>()) : dtype.type_name(),
       ", expected F32 or F64; convert it before saving");
}

static Shape parse_shape(const std::string& where, const std::string& name, const Json& info) {
  const std::vector<Bytes> sizes = sizes_field(where, name, info, "shape");
  if (sizes.size() > Shape::max_rank)
    fail(where, "tensor ", quoted(name), " has ", sizes.size(), " axes, expected at most ",
         Shape::max_rank, "; reshape it before saving");
  Bytes elements = 1;
  for (Bytes size : sizes) {
    if (size > max_elements || (size > 0 && elements > max_elements / size))
      fail(where, "tensor ", quoted(name), " has a shape of more than ", max_elements,
           " elements, expected one that fits the file; is the header damaged?");
    elements *= std::max<Bytes>(size, 1);  // nor does that of the shape of nothing
  }
  return {sizes.begin(), sizes.end()};
}

static Entry parse_entry(const std::string& where, const std::string& name, const Json& info,
                         Bytes data_bytes) {
  Entry entry{name, parse_dtype(where, name, info), parse_shape(where, name, info)};
  const std::vector<Bytes> offsets = sizes_field(where, name, info, "data_offsets");
  if (offsets.size() != 2)
    fail(where, "tensor ", quoted(name), " has ", offsets.size(),
         " data_offsets, expected two: [begin, end]; is the header damaged?");
  std::tie(entry.begin, entry.end) = std::pair(offsets[0], offsets[1]);
  if (entry.begin > entry.end)
    fail(where, "tensor ", quoted(name), " begins at byte ", entry.begin, " and ends at byte ",
         entry.end, ", expected begin <= end; is the header damaged?");
  if (entry.end > data_bytes)
    fail(where, "tensor ", quoted(name), " ends at byte ", entry.end, " of the data, expected at ",
         "most ", data_bytes, " as the file holds no more; was it copied whole?");
  const Bytes element_bytes = entry.stored == Stored::F32 ? 4 : 8;
  const Bytes expected = static_cast<Bytes>(entry.shape.size()) * element_bytes;
  if (entry.end - entry.begin != expected)
    fail(where, "tensor ", quoted(name), " has ", entry.end - entry.begin,
         " bytes of data, expected ", expected, " for the shape ", entry.shape,
         "; is the header damaged?");
  return entry;
}

static void check_coverage(const std::string& where, std::vector<Entry> entries, Bytes data_bytes) {
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  Bytes covered = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != covered)
      fail(where, "tensor ", quoted(entry.name), " begins at byte ", entry.begin, ", expected ",
           covered, " where the one before ends; tensors ",
           entry.begin < covered ? "overlap" : "leave a hole", ", is the header damaged?");
    covered = entry.end;
  }
  if (covered != data_bytes)
    fail(where, "found ", data_bytes - covered, " trailing bytes after the last tensor, expected ",
         "none; is the file damaged?");
}

template <class T>
static Tensor decode(const Shape& shape, const char* data) {
  Tensor out = Tensor::empty(shape);
  parallel_for(out.size(), elements_per_chunk, [=, y = out.mutable_data()](Index i, Index end) {
    for (; i < end; ++i) {
      T value;
      std::memcpy(&value, data + i * static_cast<Index>(sizeof value), sizeof value);
      y[i] = static_cast<Real>(value);
    }
  });
  return out;
}

TensorFile load_safetensors(const std::filesystem::path& path) {
  const std::string where = path.string(), file = read_file(path);
  const std::string_view text = header_text(where, file);
  const std::string_view data = std::string_view(file).substr(length_bytes + text.size());
  TensorFile out;
  std::vector<Entry> entries;
  for (const Json header = parse_header(where, text); const auto& [name, info] : header.items()) {
    if (name == metadata_key)
      out.metadata = parse_metadata(where, info);
    else
      entries.push_back(parse_entry(where, name, info, data.size()));
  }
  check_coverage(where, entries, data.size());
  for (const auto& [name, stored, shape, begin, end] : entries) {
    const char* from = data.data() + begin;
    out.tensors[name] = stored == Stored::F32   ? decode<float>(shape, from)
                        : stored == Stored::F64 ? decode<double>(shape, from)
                                                : decode<std::int64_t>(shape, from);
  }
  return out;
}

static Bytes byte_count(const Tensor& tensor) {
  return static_cast<Bytes>(tensor.size()) * sizeof(Real);
}

static Json make_header(const std::string& where, const TensorFile& file) {
  Json header = Json::object();
  if (!file.metadata.empty()) header[metadata_key] = file.metadata;
  Bytes offset = 0;
  for (const auto& [name, tensor] : file.tensors) {
    if (name == metadata_key)
      fail(where, "a tensor is named ", metadata_key,
           ", expected another name: ", "the format needs this one for its metadata");
    if (!tensor.defined())
      fail(where, "tensor ", quoted(name), " is undefined, expected a value to save");
    const Bytes end = offset + byte_count(tensor);
    header[name] = {{"dtype", sizeof(Real) == sizeof(float) ? "F32" : "F64"},
                    {"shape", std::vector<Index>(tensor.shape().begin(), tensor.shape().end())},
                    {"data_offsets", {offset, end}}};
    offset = end;
  }
  return header;
}

// The length and the header, padded so that the values are aligned to 8 bytes.
static std::string encode_header(const std::string& where, const TensorFile& file) {
  std::string text;
  try {
    text = make_header(where, file).dump();
  } catch (const Json::exception& error) {
    fail(where, "a name or metadata text is not valid UTF-8 (", error.what(),
         "), expected UTF-8 as JSON can hold nothing else");
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const Bytes length = text.size();
  std::string out(length_bytes, '\0');
  std::memcpy(out.data(), &length, length_bytes);
  return out + text;
}

void save_safetensors(const std::filesystem::path& path, const TensorFile& file) {
  const std::string header = encode_header(path.string(), file);
  std::vector<std::string_view> parts{header};
  for (const auto& [name, tensor] : file.tensors)
    parts.emplace_back(reinterpret_cast<const char*>(tensor.data()), byte_count(tensor));
  write_file_atomically(path, parts);
}

}  // namespace backflow::inline BACKFLOW_PRECISION
