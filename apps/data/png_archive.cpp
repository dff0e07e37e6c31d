#include "backflow/apps/data/png_archive.h"

#include <zlib.h>

#include <algorithm>

namespace backflow::inline BACKFLOW_PRECISION {

static constexpr std::size_t sampled_files = 256;

static bool is_png(const std::string& name) {
  const std::size_t slash = name.rfind('/');
  const std::size_t begin = slash == name.npos ? 0 : slash + 1;
  return name.ends_with(".png") && name[begin] != '.';
}

PngArchive::PngArchive(const std::filesystem::path& path, int channels, int height, int width)
    : tar_(path, is_png), channels_(channels), height_(height), width_(width) {
  if (count() > 0) picture(0);
}

Picture PngArchive::picture(std::uint32_t index) const {
  const TarFile::Member& member = tar_.members().at(index);
  const std::string where = tar_.path().string() + ": " + tar_.name(member);
  Picture picture = decode_png(tar_.contents(member), channels_, where);
  if (picture.height != height_ || picture.width != width_)
    fail(where, "found an image of ", picture.height, " x ", picture.width, ", expected ", height_,
         " x ", width_);
  return picture;
}

static uLong add(uLong crc, std::uint64_t number) {
  std::uint8_t bytes[8];
  for (std::uint8_t& byte : bytes) {
    byte = static_cast<std::uint8_t>(number);
    number >>= 8;
  }
  return crc32_z(crc, bytes, sizeof bytes);
}

std::uint32_t PngArchive::checksum(std::span<const std::uint32_t> indices) const {
  const std::vector<TarFile::Member>& members = tar_.members();
  uLong crc = add(0, indices.size());
  for (const std::uint32_t index : indices) crc = add(crc, members.at(index).size);
  const std::size_t samples = std::min(sampled_files, indices.size());
  for (std::size_t i = 0; i < samples; ++i) {
    const std::string bytes = tar_.contents(members[indices[i * indices.size() / samples]]);
    crc = crc32_z(crc, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
  }
  return static_cast<std::uint32_t>(crc);
}

}  // namespace backflow::inline BACKFLOW_PRECISION
