#include "backflow/apps/files/safetensors.h"

#include <zlib.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>
#include <tuple>

#include "backflow/apps/files/dtype.h"
#include "backflow/apps/files/quote.h"
#include "backflow/apps/files/safetensors_header.h"

namespace backflow::inline BACKFLOW_PRECISION {

static_assert(std::endian::native == std::endian::little, "values are copied as they are");

using Bytes = std::uint64_t;
using Entry = SafetensorsFile::Entry;
using Metadata = std::map<std::string, std::string>;

static constexpr Bytes length_bytes = 8;
static constexpr Bytes max_header_bytes = 100'000'000;  // the format's own limit
static constexpr const char* metadata_key = "__metadata__";
static constexpr const char* real_dtype = sizeof(Real) == sizeof(float) ? "F32" : "F64";

static constexpr const char* format_key = "backflow_format";
static constexpr const char* format_version = "2";
static constexpr const char* crc_key = "crc32";
static constexpr std::string_view crc_prefix = "crc32.";

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
  SafetensorsHeader header =
      parse_safetensors_header(where, file_.read(length_bytes, length), file_.size() - data_begin_);
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

// The checksum of a tensor without its values, which are added to it.
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
