#include "apps/io/safetensors.h"

#include <zlib.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>
#include <tuple>

#include "apps/io/dtype.h"
#include "apps/io/json_events.h"
#include "apps/io/quote.h"

namespace backflow::inline BACKFLOW_PRECISION {

static_assert(std::endian::native == std::endian::little, "values are copied as they are");

using Bytes = std::uint64_t;
using Entry = SafetensorsFile::Entry;
using Metadata = std::map<std::string, std::string>;

static constexpr Bytes length_bytes = 8;
static constexpr Bytes max_header_bytes = 100'000'000;  // the format's own limit
static constexpr Bytes max_elements = Bytes{1} << 56;   // no product of sizes can overflow
static constexpr const char* metadata_key = "__metadata__";
static constexpr const char* real_dtype = sizeof(Real) == sizeof(float) ? "F32" : "F64";

static constexpr const char* format_key = "backflow_format";
static constexpr const char* format_version = "2";
static constexpr const char* crc_key = "crc32";
static constexpr std::string_view crc_prefix = "crc32.";

namespace {

// ---- The header -------------------------------------------------------------------------------

std::string text_of(const std::vector<Bytes>& sizes) {
  std::string text;
  for (const Bytes size : sizes) text += (text.empty() ? "" : ", ") + std::to_string(size);
  return "(" + text + ")";
}

// Fails rather than overflow.
Bytes count_elements(const std::string& where, const std::string& name,
                     const std::vector<Bytes>& sizes) {
  Bytes elements = 1, bound = 1;  // the bound is that of the shape with 1 for every 0
  for (const Bytes size : sizes) {
    if (size > max_elements || (size > 0 && bound > max_elements / size))
      fail(where, "tensor ", quote(name), " has a shape of more than ", max_elements,
           " elements, expected one that fits the file; is the header damaged?");
    bound *= std::max<Bytes>(size, 1);
    elements *= size;
  }
  return elements;
}

[[noreturn]] void fail_dtype(const std::string& where, const std::string& name,
                             const std::string& found) {
  fail(where, "tensor ", quote(name), " has the dtype ", found, ", expected one of ",
       known_dtypes(), "; convert it before saving");
}

// Entries and metadata, checked one by one as they are read.
class Header : public JsonHandler {
 public:
  Header(const std::string& where, Bytes data_bytes) : where_(where), data_bytes_(data_bytes) {}

  std::map<std::string, Entry> tensors;
  Metadata metadata;

  void value(JsonKind kind, const std::string& text) override {
    if (depth_ == 0) expect_object(kind);
    if (depth_ == 1) begin_member(kind);
    if (depth_ == 2) in_metadata_ ? add_metadata(kind, text) : set_field(kind, text);
    if (depth_ == 3) add_size(kind, text);
    depth_ += kind == JsonKind::object || kind == JsonKind::array;
  }

  void key(const std::string& text) override { (depth_ == 1 ? name_ : key_) = text; }

  void end() override {
    --depth_;
    if (depth_ == 1 && !in_metadata_) finish_tensor();
  }

 private:
  void expect_object(JsonKind kind) {
    if (kind != JsonKind::object)
      fail(where_, "the header is a JSON ", name_of(kind),
           ", expected an object; is this a safetensors file?");
  }

  void begin_member(JsonKind kind) {
    in_metadata_ = name_ == metadata_key;
    if (in_metadata_ && kind != JsonKind::object)
      fail(where_, metadata_key, " is a JSON ", name_of(kind),
           ", expected an object of strings; save the file again");
    if (!in_metadata_ && kind != JsonKind::object)
      fail(where_, "tensor ", quote(name_), " is described by a JSON ", name_of(kind),
           ", expected an object with dtype, shape and data_offsets; is the header damaged?");
    if (in_metadata_ ? std::exchange(has_metadata_, true) : tensors.contains(name_))
      fail_twice(name_);
    entry_ = {};
    offsets_.clear();
    has_dtype_ = has_sizes_ = has_offsets_ = false;
  }

  void add_metadata(JsonKind kind, const std::string& text) {
    if (kind != JsonKind::string)
      fail(where_, metadata_key, " ", quote(key_), " is a JSON ", name_of(kind),
           ", expected a string; save numbers as text");
    if (!metadata.emplace(key_, text).second) fail_twice(key_);
  }

  void set_field(JsonKind kind, const std::string& text) {
    list_ = nullptr;
    if (key_ == "dtype") {
      if (std::exchange(has_dtype_, true)) fail_twice(key_);
      if (kind != JsonKind::string) fail_dtype(where_, name_, name_of(kind));
      entry_.dtype = text;
    } else if (key_ == "shape") {
      if (std::exchange(has_sizes_, true)) fail_twice(key_);
      list_ = &entry_.sizes;
    } else if (key_ == "data_offsets") {
      if (std::exchange(has_offsets_, true)) fail_twice(key_);
      list_ = &offsets_;
    } else if (kind == JsonKind::array || kind == JsonKind::object) {
      fail(where_, "tensor ", quote(name_), " has a field ", quote(key_), " that is a JSON ",
           name_of(kind), ", expected dtype, shape and data_offsets alone; is the header damaged?");
    }
    if (list_ && kind != JsonKind::array) fail_list();
  }

  void add_size(JsonKind kind, const std::string& text) {
    Bytes size = 0;
    const char* const end = text.data() + text.size();
    if (kind != JsonKind::whole || std::from_chars(text.data(), end, size).ec != std::errc())
      fail_list();
    list_->push_back(size);
  }

  void finish_tensor() {
    for (const auto& [has, field] :
         {std::pair{has_dtype_, "dtype"}, {has_sizes_, "shape"}, {has_offsets_, "data_offsets"}})
      if (!has)
        fail(where_, "tensor ", quote(name_), " has no ", field,
             ", expected dtype, shape and data_offsets; is the header damaged?");
    check_offsets();
    check_bytes(count_elements(where_, name_, entry_.sizes));
    tensors.emplace(std::move(name_), std::move(entry_));
    name_.clear();
  }

  void check_offsets() {
    if (offsets_.size() != 2)
      fail(where_, "tensor ", quote(name_), " has ", offsets_.size(),
           " data_offsets, expected two, begin and end; is the header damaged?");
    entry_.begin = offsets_[0], entry_.end = offsets_[1];
    if (entry_.begin > entry_.end)
      fail(where_, "tensor ", quote(name_), " begins at byte ", entry_.begin,
           " of the data and ends at byte ", entry_.end,
           ", expected begin <= end; is the header damaged?");
    if (entry_.end > data_bytes_)
      fail(where_, "tensor ", quote(name_), " ends at byte ", entry_.end,
           " of the data, expected at most ", data_bytes_,
           " as the file holds no more; was it copied whole?");
  }

  void check_bytes(Bytes elements) {
    const Dtype* const dtype = find_dtype(entry_.dtype);
    if (!dtype) return;  // of a size that we do not know
    const Bytes expected = (elements * dtype->bits + 7) / 8;
    if (entry_.end - entry_.begin != expected)
      fail(where_, "tensor ", quote(name_), " has ", entry_.end - entry_.begin,
           " bytes of data, expected ", expected, " for the shape ", text_of(entry_.sizes),
           "; is the header damaged?");
  }

  [[noreturn]] void fail_list() const {
    fail(where_, "tensor ", quote(name_), " has a ", key_,
         " of the wrong type, expected an array of non-negative integers; is the header damaged?");
  }
  [[noreturn]] void fail_twice(const std::string& name) const {
    fail(where_, "the name ", quote(name), " occurs twice in the header, expected once; ",
         "the file was not written by a safetensors library");
  }

  const std::string& where_;
  Bytes data_bytes_;
  int depth_ = 0;  // of objects and arrays that are open
  bool in_metadata_ = false, has_metadata_ = false;
  std::string name_, key_;  // a tensor's, or of the metadata; and within that
  Entry entry_;
  std::vector<Bytes> offsets_;
  bool has_dtype_ = false, has_sizes_ = false, has_offsets_ = false;
  std::vector<Bytes>* list_ = nullptr;  // that is being read
};

}  // namespace

static Bytes header_length(const OpenFile& file) {
  const std::string where = file.path().string();
  if (file.size() < length_bytes)
    fail(where, "the file has ", file.size(), " bytes, expected at least ", length_bytes,
         "; was the download or copy cut short?");
  Bytes length = 0;
  file.read(0, std::span(reinterpret_cast<char*>(&length), length_bytes));
  const Bytes available = file.size() - length_bytes;
  if (length > max_header_bytes || length > available)
    fail(where, "the header claims ", length, " bytes, expected at most ",
         std::min(available, max_header_bytes),
         "; is this a safetensors file, and was it copied whole?");
  return length;
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : file_(path) {
  const std::string where = path.string();
  const Bytes length = header_length(file_);
  data_begin_ = length_bytes + length;
  Header header(where, file_.size() - data_begin_);
  const auto error = read_json(file_.read(length_bytes, length), header);
  if (error && error->number_beyond)
    fail(where, "the header holds a number beyond any size, expected shapes and offsets; ",
         "is the header damaged?");
  if (error)
    fail(where, "the header is not valid JSON at its byte ", error->byte,
         ", expected a safetensors header; is this a safetensors file?");
  tensors_ = std::move(header.tensors);
  metadata_ = std::move(header.metadata);
  check_coverage();
  check_checksums();
}

void SafetensorsFile::check_coverage() const {
  const std::string where = file_.path().string();
  std::vector<std::tuple<Bytes, Bytes, const std::string*>> places;
  for (const auto& [name, entry] : tensors_) places.emplace_back(entry.begin, entry.end, &name);
  std::sort(places.begin(), places.end());
  Bytes covered = 0;
  for (const auto& [begin, end, name] : places) {
    if (begin != covered)
      fail(where, "tensor ", quote(*name), " begins at byte ", begin, ", expected ", covered,
           " where the one before ends; tensors ", begin < covered ? "overlap" : "leave a hole",
           ", is the header damaged?");
    covered = end;
  }
  const Bytes data_bytes = file_.size() - data_begin_;
  if (covered != data_bytes)
    fail(where, "found ", data_bytes - covered, " trailing bytes after the last tensor, expected ",
         "none; is the file damaged?");
}

std::uint64_t SafetensorsFile::element_count() const {
  std::uint64_t count = 0;
  for (const auto& [name, entry] : tensors_) {
    std::uint64_t elements = 1;
    for (const Bytes size : entry.sizes) elements *= size;
    count += elements;
  }
  return count;
}

// ---- Checksums --------------------------------------------------------------------------------

// Over text, with a zero behind it: "ab", "c" is not "a", "bc".
static uLong add_text(uLong crc, const std::string& text) {
  return crc32_z(crc, reinterpret_cast<const Bytef*>(text.c_str()), text.size() + 1);
}

static uLong add_bytes(uLong crc, std::span<const char> bytes) {
  return crc32_z(crc, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
}

// Of everything but the values.
static uLong checksum_begin(const std::string& name, const std::string& dtype,
                            const std::vector<Bytes>& sizes) {
  return add_text(add_text(add_text(0, name), dtype), text_of(sizes));
}

static std::string as_hex(std::uint32_t crc) {
  char text[9];
  std::snprintf(text, sizeof text, "%08x", crc);
  return text;
}

static std::string checksum_of(const Metadata& metadata) {
  uLong crc = 0;
  for (const auto& [key, text] : metadata)
    if (key != crc_key) crc = add_text(add_text(crc, key), text);
  return as_hex(static_cast<std::uint32_t>(crc));
}

static bool belongs_to_checksums(const std::string& key) {
  return key == format_key || key == crc_key || key.starts_with(crc_prefix);
}

std::uint32_t SafetensorsFile::checksum(const std::string& name, const Entry& entry) const {
  constexpr Bytes piece = 1 << 20;
  uLong crc = checksum_begin(name, entry.dtype, entry.sizes);
  std::string bytes;
  for (Bytes at = entry.begin; at < entry.end; at += bytes.size()) {
    bytes = file_.read(data_begin_ + at, std::min(piece, entry.end - at));
    if (bytes.empty()) fail(file_.path().string(), "was cut short while it was read");
    crc = add_bytes(crc, bytes);
  }
  return static_cast<std::uint32_t>(crc);
}

void SafetensorsFile::check_checksums() {
  const bool has_some = std::any_of(metadata_.begin(), metadata_.end(), [](const auto& member) {
    return belongs_to_checksums(member.first);
  });
  if (!has_some) return;
  const std::string where = file_.path().string();
  const std::string hint =
      "; the file is damaged, or was changed by another program: take a copy "
      "or another checkpoint";
  const auto expect = [&](const std::string& key, const std::string& what,
                          const std::string& found) {
    const auto stored = metadata_.find(key);
    if (stored == metadata_.end()) fail(where, what, " has no checksum, expected one", hint);
    if (stored->second != found)
      fail(where, what, " has the checksum ", found, ", expected ", quote(stored->second), hint);
  };
  expect(crc_key, "the metadata", checksum_of(metadata_));
  if (const auto version = metadata_.find(format_key);
      version == metadata_.end() || version->second != format_version)
    fail(where, "found the format ",
         version == metadata_.end() ? "of no version" : quote(version->second), ", expected ",
         quote(format_version), "; was it written by a later version of this program?");
  for (const auto& [name, entry] : tensors_)
    expect(std::string(crc_prefix) + name, "tensor " + quote(name), as_hex(checksum(name, entry)));
  std::erase_if(metadata_, [](const auto& member) { return belongs_to_checksums(member.first); });
}

// ---- Values -----------------------------------------------------------------------------------

Tensor SafetensorsFile::read(const std::string& name) const {
  const std::string where = file_.path().string();
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) fail(where, "the tensor ", quote(name), " is missing");
  const Entry& entry = found->second;
  const Dtype* const dtype = find_dtype(entry.dtype);
  if (!dtype || !dtype->convert) fail_dtype(where, name, quote(entry.dtype));
  if (entry.sizes.size() > Shape::max_rank)
    fail(where, "tensor ", quote(name), " has ", entry.sizes.size(), " axes, expected at most ",
         Shape::max_rank, "; reshape it before saving");
  Tensor out = Tensor::empty({entry.sizes.begin(), entry.sizes.end()});
  const Bytes bytes = entry.end - entry.begin;
  const auto read_into = [&](char* to) {
    if (file_.read(data_begin_ + entry.begin, std::span(to, bytes)) < bytes)
      fail(where, "was cut short while it was read");
  };
  if (entry.dtype == real_dtype) {
    read_into(reinterpret_cast<char*>(out.mutable_data()));
    return out;
  }
  std::vector<char> stored(bytes);
  read_into(stored.data());
  const std::optional<Index> bad = dtype->convert(stored.data(), out.size(), out.mutable_data());
  if (bad)
    fail(where, "tensor ", quote(name), " of ", entry.dtype, ": element ", *bad,
         " does not fit, expected ", dtype->expected, "; convert it before saving");
  return out;
}

TensorFile load_safetensors(const std::filesystem::path& path) {
  const SafetensorsFile file(path);
  TensorFile out{{}, file.metadata()};
  for (const auto& [name, entry] : file.tensors()) out.tensors[name] = file.read(name);
  return out;
}

// ---- Writing ----------------------------------------------------------------------------------

static std::span<const char> bytes_of(const Tensor& tensor) {
  return {reinterpret_cast<const char*>(tensor.data()),
          static_cast<std::size_t>(tensor.size()) * sizeof(Real)};
}

static std::vector<Bytes> sizes_of(const Tensor& tensor) {
  return {tensor.shape().begin(), tensor.shape().end()};
}

static void check_tensors(const std::string& where, const TensorFile& file) {
  for (const auto& [name, tensor] : file.tensors) {
    if (name == metadata_key)
      fail(where, "a tensor is named ", metadata_key,
           ", expected another name: ", "the format needs this one for its metadata");
    if (!tensor.defined())
      fail(where, "tensor ", quote(name), " is undefined, expected a value to save");
  }
}

static Metadata with_checksums(const TensorFile& file) {
  Metadata metadata = file.metadata;
  metadata[format_key] = format_version;
  for (const auto& [name, tensor] : file.tensors)
    metadata[std::string(crc_prefix) + name] = as_hex(static_cast<std::uint32_t>(
        add_bytes(checksum_begin(name, real_dtype, sizes_of(tensor)), bytes_of(tensor))));
  metadata[crc_key] = checksum_of(metadata);
  return metadata;
}

static nlohmann::json make_header(const TensorFile& file, const Metadata& metadata) {
  nlohmann::json header = nlohmann::json::object();
  if (!metadata.empty()) header[metadata_key] = metadata;
  Bytes offset = 0;
  for (const auto& [name, tensor] : file.tensors) {
    const Bytes end = offset + bytes_of(tensor).size();
    header[name] = {
        {"dtype", real_dtype}, {"shape", sizes_of(tensor)}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  return header;
}

// The length and the header, padded so that the values are aligned to 8 bytes.
static std::string encode_header(const std::string& where, const TensorFile& file,
                                 const Metadata& metadata) {
  std::string text;
  try {
    text = make_header(file, metadata).dump();
  } catch (const nlohmann::json::exception& error) {
    fail(where, "a name or metadata text is not valid UTF-8 (", error.what(),
         "), expected UTF-8 as JSON can hold nothing else");
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const Bytes length = text.size();
  std::string out(length_bytes, '\0');
  std::memcpy(out.data(), &length, length_bytes);
  return out + text;
}

void save_safetensors(const std::filesystem::path& path, const TensorFile& file,
                      Checksums checksums) {
  const std::string where = path.string();
  check_tensors(where, file);
  const std::string header = encode_header(
      where, file, checksums == Checksums::none ? file.metadata : with_checksums(file));
  std::vector<std::string_view> parts{header};
  for (const auto& [name, tensor] : file.tensors)
    parts.emplace_back(bytes_of(tensor).data(), bytes_of(tensor).size());
  write_file_atomically(path, parts);
}

}  // namespace backflow::inline BACKFLOW_PRECISION
