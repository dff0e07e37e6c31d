#include "backflow/apps/files/tar.h"

#include <algorithm>
#include <charconv>
#include <numeric>
#include <string_view>

namespace backflow::inline BACKFLOW_PRECISION {

namespace fs = std::filesystem;

static constexpr std::uint64_t block_size = 512;
static constexpr std::uint64_t max_name = 1 << 16;  // longer than any system allows

// The fields of a header.
static constexpr std::size_t name_at = 0, size_at = 124, checksum_at = 148, type_at = 156,
                             magic_at = 257, prefix_at = 345;
static constexpr std::size_t name_size = 100, number_size = 12, checksum_size = 8,
                             prefix_size = 155;

// Up to a zero byte or the field's end.
static std::string text(std::string_view block, std::size_t at, std::size_t size) {
  const std::string_view field = block.substr(at, size);
  return std::string(field.substr(0, field.find('\0')));
}

static std::optional<std::uint64_t> octal(std::string_view block, std::size_t at,
                                          std::size_t size) {
  std::string_view field = block.substr(at, size);
  field.remove_prefix(std::min(field.find_first_not_of(' '), field.size()));
  field = field.substr(0, field.find_first_of(std::string_view(" \0", 2)));
  if (field.empty() || field.find_first_not_of("01234567") != field.npos) return {};
  std::uint64_t value = 0;
  for (const char digit : field) value = 8 * value + static_cast<std::uint64_t>(digit - '0');
  return value;
}

// All bytes of the header, with spaces for the checksum itself.
static std::uint64_t checksum_of(std::string_view block) {
  const auto add = [](std::uint64_t sum, char c) { return sum + static_cast<unsigned char>(c); };
  const auto begin = block.begin() + checksum_at, end = begin + checksum_size;
  const std::uint64_t before = std::accumulate(block.begin(), begin, std::uint64_t{0}, add);
  return std::accumulate(end, block.end(), before + checksum_size * ' ', add);
}

// The value of "path" among the records of a pax header: "LENGTH KEY=VALUE\n" each.
static std::string pax_path(std::string_view records) {
  constexpr std::string_view key = " path=";
  std::string found;
  for (;;) {
    std::size_t length = 0;
    const char* const begin = records.data();
    const auto [end, error] = std::from_chars(begin, begin + records.size(), length);
    if (error != std::errc() || length == 0 || length > records.size()) return found;
    std::string_view record = records.substr(0, length);
    record.remove_prefix(std::min<std::size_t>(end - begin, length));
    if (record.starts_with(key) && record.ends_with('\n'))
      found = record.substr(key.size(), record.size() - key.size() - 1);
    records.remove_prefix(length);
  }
}

static std::string how_compressed(std::string_view block) {
  if (block.starts_with("\x1f\x8b")) return "; it is compressed: unpack it with gzip -d";
  if (block.starts_with("BZh")) return "; it is compressed: unpack it with bzip2 -d";
  return "; fetch the archive again";
}

static std::string name_of(std::string_view block) {
  const std::string name = text(block, name_at, name_size);
  const bool has_prefix = block.substr(magic_at).starts_with(std::string_view("ustar\0", 6));
  const std::string prefix = has_prefix ? text(block, prefix_at, prefix_size) : "";
  return prefix.empty() ? name : prefix + "/" + name;
}

TarFile::TarFile(const fs::path& path, const std::function<bool(const std::string& name)>& wanted)
    : file_(path) {
  std::uint64_t at = 0;
  while (const std::optional<Entry> entry = entry_at(at)) {
    const bool regular = entry->type == '0' || entry->type == '\0' || entry->type == '7';
    if (regular && wanted(entry->name)) members_.push_back({at, entry->data, entry->size});
    at = entry->next;
  }
}

std::string TarFile::read(std::uint64_t offset, std::uint64_t size) const {
  std::string bytes = file_.read(offset, static_cast<std::size_t>(size));
  if (bytes.size() < size)
    fail(path().string(), "the archive is truncated: found ", offset + bytes.size(),
         " bytes, expected at least ", offset + size, "; fetch the archive again");
  return bytes;
}

TarFile::Entry TarFile::single_entry_at(std::uint64_t header, const std::string& block) const {
  const std::optional<std::uint64_t> checksum = octal(block, checksum_at, checksum_size);
  const std::optional<std::uint64_t> size = octal(block, size_at, number_size);
  if (!checksum || *checksum != checksum_of(block) || !size)
    fail(path().string(), "found no tar header at byte ", header,
         ", expected one with a right checksum", how_compressed(block));
  Entry entry{name_of(block), block[type_at], header + block_size, *size, 0};
  // Links, devices and directories have no bytes, whatever their size says.
  const std::uint64_t stored = entry.type >= '1' && entry.type <= '6' ? 0 : entry.size;
  entry.next = entry.data + (stored + block_size - 1) / block_size * block_size;
  if (entry.next > file_.size())
    fail(path().string(), "the archive is truncated: found ", file_.size(), " bytes, expected ",
         entry.name, " up to byte ", entry.next, "; fetch the archive again");
  return entry;
}

std::optional<TarFile::Entry> TarFile::entry_at(std::uint64_t header) const {
  std::string long_name;
  for (;;) {
    const std::string block = read(header, block_size);
    if (block.find_first_not_of('\0') == block.npos) return {};
    Entry entry = single_entry_at(header, block);
    const bool names_next = entry.type == 'L' || entry.type == 'x';
    if (names_next && entry.size > max_name)
      fail(path().string(), "found a name of ", entry.size, " bytes at byte ", header,
           ", expected at most ", max_name, "; fetch the archive again");
    if (entry.type == 'L') {
      long_name = text(read(entry.data, entry.size), 0, max_name);
    } else if (entry.type == 'x') {
      if (std::string name = pax_path(read(entry.data, entry.size)); !name.empty())
        long_name = std::move(name);
    } else if (entry.type != 'g' && entry.type != 'K') {
      if (!long_name.empty()) entry.name = long_name;
      return entry;
    }
    header = entry.next;
  }
}

std::string TarFile::name(const Member& member) const { return entry_at(member.header)->name; }

std::string TarFile::contents(const Member& member) const { return read(member.data, member.size); }

}  // namespace backflow::inline BACKFLOW_PRECISION
