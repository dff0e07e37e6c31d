#include "backflow/apps/data/idx.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "backflow/apps/files/gzip.h"

namespace backflow::inline BACKFLOW_PRECISION {

static constexpr std::uint32_t image_magic = 0x00000803, label_magic = 0x00000801;
static constexpr std::uint32_t max_side = 65535;  // so that count * height * width fits 64 bits

static std::uint32_t big_endian(const std::uint8_t* p) {
  return static_cast<std::uint32_t>(p[0]) << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

static std::string hex(std::uint32_t value) {
  char text[11];
  std::snprintf(text, sizeof text, "0x%08x", value);
  return text;
}

// The magic number and as many sizes as the file has axes.
template <std::size_t words>
static std::array<std::uint32_t, words> read_header(const std::string& where, MaybeGzip& stream) {
  std::array<std::uint8_t, 4 * words> bytes;
  if (const std::size_t found = stream.read(bytes.data(), bytes.size()); found < bytes.size())
    fail(where, "the file is truncated: found ", found, " bytes, expected a header of ",
         bytes.size(), "; fetch the file again");
  std::array<std::uint32_t, words> header;
  for (std::size_t i = 0; i < words; ++i) header[i] = big_endian(bytes.data() + 4 * i);
  return header;
}

static void check_magic(const std::string& where, std::uint32_t found, std::uint32_t expected,
                        const char* question) {
  if (found != expected)
    fail(where, "wrong magic number ", hex(found), ", expected ", hex(expected), "; ", question);
}

// What follows the header, to the end of the file: bytes that are called `what`, of the things that
// the header counts in `claim`.
static std::vector<std::uint8_t> read_rest(const std::string& where, MaybeGzip& stream,
                                           std::uint64_t size, const std::string& what,
                                           const std::string& claim) {
  // Before any memory is asked for.
  if (size > stream.bound())
    fail(where, "the file is truncated: its header claims ", claim, ", expected ", size,
         " bytes, found at most ", stream.bound(), "; fetch the file again");
  std::vector<std::uint8_t> bytes(size);
  if (const std::size_t found = stream.read(bytes.data(), size); found < size)
    fail(where, "the file is truncated: found ", found, " bytes of ", what, ", expected ", size,
         "; fetch the file again");
  if (!stream.at_end())
    fail(where, "found more bytes after the ", claim, ", expected none; fetch the file again");
  return bytes;
}

IdxImages load_idx_images(const std::filesystem::path& path) {
  const std::string where = path.string();
  const OpenFile file(path);
  MaybeGzip stream(file);
  const auto [magic, count, height, width] = read_header<4>(where, stream);
  check_magic(where, magic, image_magic,
              "is this an idx file of gray images (not labels, not colour)?");
  if (height < 1 || width < 1 || height > max_side || width > max_side)
    fail(where, "the images claim to be ", height, " x ", width, ", expected sides of 1 to ",
         max_side, "; fetch the file again");
  const std::string claim = std::to_string(count) + " images of " + std::to_string(height) + " x " +
                            std::to_string(width) + " pixels";
  return {count, static_cast<int>(height), static_cast<int>(width),
          read_rest(where, stream, std::uint64_t{count} * height * width, "pixels", claim)};
}

std::vector<std::uint8_t> load_idx_labels(const std::filesystem::path& path, int classes) {
  if (classes < 1 || classes > 256)
    fail("load_idx_labels", classes, " classes, expected 1 to 256: a label is a byte");
  const std::string where = path.string();
  const OpenFile file(path);
  MaybeGzip stream(file);
  const auto [magic, count] = read_header<2>(where, stream);
  check_magic(where, magic, label_magic, "is this an idx file of labels (not images)?");
  std::vector<std::uint8_t> labels =
      read_rest(where, stream, count, "labels", std::to_string(count) + " labels");
  const auto wrong = std::find_if(labels.begin(), labels.end(),
                                  [&](std::uint8_t label) { return label >= classes; });
  if (wrong != labels.end())
    fail(where, "found the label ", int{*wrong}, " of example ", wrong - labels.begin(),
         " (counted from 0), expected 0 to ", classes - 1, "; is this the right file?");
  return labels;
}

}  // namespace backflow::inline BACKFLOW_PRECISION
