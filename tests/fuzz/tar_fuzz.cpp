// TarFile and PngArchive: every member that is found can be read, under the name it was found by.
#include <algorithm>
#include <cstdio>
#include <numeric>

#include "backflow/apps/data/png_archive.h"
#include "backflow/tests/fuzz/fuzz.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr std::size_t block_size = 512, size_at = 124, checksum_at = 148, type_at = 156;

// Changed headers rarely keep their checksums, nor an archive its end: here they are right.
std::string with_right_checksums(std::string_view bytes) {
  std::string mended(bytes);
  mended.resize((bytes.size() / block_size + 3) * block_size);  // two blocks of zeros are its end
  const std::size_t end = mended.size() - 2 * block_size;
  for (std::size_t at = 0; at < end;) {
    char* const header = mended.data() + at;
    std::fill_n(header + checksum_at, 8, ' ');
    const unsigned sum = std::accumulate(header, header + block_size, 0u, [](unsigned sum, char c) {
      return sum + static_cast<unsigned char>(c);
    });
    if (sum == 8 * ' ') std::fill_n(header + checksum_at, 8, '\0');  // zeros: it ends here
    if (sum == 8 * ' ') break;
    std::snprintf(header + checksum_at, 8, "%06o", sum);
    const bool stored = header[type_at] < '1' || header[type_at] > '6';
    const std::size_t size = stored ? std::strtoull(header + size_at, nullptr, 8) : 0;
    at += block_size + (std::min(size, end) + block_size - 1) / block_size * block_size;
  }
  return mended;
}

void read_members(std::string_view bytes) {
  std::vector<std::string> names;
  const auto keep = [&](const std::string& name) {
    names.push_back(name);
    return true;
  };
  const auto tar = accepted([&] { return std::make_unique<TarFile>(file_of(bytes), keep); });
  if (!tar) return;
  const std::vector<TarFile::Member>& members = (*tar)->members();
  promise(members.size() == names.size(), "members are those that were wanted");
  for (std::size_t i = 0; i < members.size(); ++i) {
    promise((*tar)->name(members[i]) == names[i], "a member keeps its name");
    const std::string contents = (*tar)->contents(members[i]);
    promise(contents == bytes.substr(members[i].data, members[i].size),
            "a member's contents are its bytes in the archive");
  }
}

void read_pictures(std::string_view bytes, int channels, int side) {
  const auto archive =
      accepted([&] { return std::make_unique<PngArchive>(file_of(bytes), channels, side, side); });
  if (!archive) return;
  std::vector<std::uint32_t> all(static_cast<std::size_t>((*archive)->count()));
  std::iota(all.begin(), all.end(), 0u);
  (*archive)->checksum(all);
  for (const std::uint32_t i : all)
    if (const auto picture = accepted([&] { return (*archive)->picture(i); }))
      promise(std::ssize(picture->pixels) == Index{channels} * side * side,
              "a picture has the archive's size");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace backflow;
  const std::string_view bytes = text_of(data, size);
  const std::string mended = with_right_checksums(bytes);
  for (const std::string_view archive : {bytes, std::string_view(mended)}) {
    read_members(archive);
    read_pictures(archive, 1, 2);
    read_pictures(archive, 3, 4);
  }
  return 0;
}
