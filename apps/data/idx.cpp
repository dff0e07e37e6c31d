#include "backflow/apps/data/idx.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "backflow/apps/files/gzip.h"

namespace backflow::inline BACKFLOW_PRECISION {

static constexpr std::uint32_t image_magic = 0x00000803;
static constexpr std::uint32_t max_side = 65535;  // so that count * height * width fits 64 bits

namespace {

struct Header {
  std::uint32_t magic, count, height, width;
};

}  // namespace

static std::uint32_t big_endian(const std::uint8_t* p) {
  return static_cast<std::uint32_t>(p[0]) << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

static std::string hex(std::uint32_t value) {
  char text[11];
  std::snprintf(text, sizeof text, "0x%08x", value);
  return text;
}

static Header read_header(const std::string& where, MaybeGzip& stream) {
  std::array<std::uint8_t, 16> bytes;
  if (const std::size_t found = stream.read(bytes.data(), bytes.size()); found < bytes.size())
    fail(where, "the file is truncated: found ", found, " bytes, expected a header of ",
         bytes.size(), "; fetch the file again");
  const std::uint8_t* p = bytes.data();
  return {big_endian(p), big_endian(p + 4), big_endian(p + 8), big_endian(p + 12)};
}

static void check(const std::string& where, const Header& header) {
  const auto [magic, count, height, width] = header;
  if (magic != image_magic)
    fail(where, "wrong magic number ", hex(magic), ", expected ", hex(image_magic),
         "; is this an idx file of gray images (not labels, not colour)?");
  if (height < 1 || width < 1 || height > max_side || width > max_side)
    fail(where, "the images claim to be ", height, " x ", width, ", expected sides of 1 to ",
         max_side, "; fetch the file again");
}

IdxImages load_idx_images(const std::filesystem::path& path) {
  const std::string where = path.string();
  const OpenFile file(path);
  MaybeGzip stream(file);
  const Header header = read_header(where, stream);
  check(where, header);
  const auto [magic, count, height, width] = header;
  const std::uint64_t size = std::uint64_t{count} * height * width;
  // Before any memory is asked for.
  if (size > stream.bound())
    fail(where, "the file is truncated: its header claims ", count, " images of ", height, " x ",
         width, " pixels, expected ", size, " bytes, found at most ", stream.bound(),
         "; fetch the file again");
  IdxImages images{count, static_cast<int>(height), static_cast<int>(width), {}};
  images.pixels.resize(size);
  if (const std::size_t found = stream.read(images.pixels.data(), size); found < size)
    fail(where, "the file is truncated: found ", found, " bytes of pixels, expected ", size,
         "; fetch the file again");
  if (!stream.at_end())
    fail(where, "found more bytes after the ", count, " images of ", height, " x ", width,
         ", expected none; fetch the file again");
  return images;
}

}  // namespace backflow::inline BACKFLOW_PRECISION
