#include "backflow/apps/data/idx.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstdio>
#include <span>

#include "backflow/apps/files/atomic_file.h"

namespace backflow::inline BACKFLOW_PRECISION {

static constexpr std::uint32_t image_magic = 0x00000803;
static constexpr std::uint32_t max_side = 65535;  // so that count * height * width fits 64 bits
static constexpr std::uint64_t max_ratio = 1032;  // deflate cannot compress better

namespace {

// The bytes of a file in their order, decompressed if need be.
class ByteStream {
 public:
  explicit ByteStream(const OpenFile& file)
      : file_(file), where_(file.path().string()), compressed_(file.read(0, 2) == gzip_magic) {
    if (compressed_ && inflateInit2(&gzip_, MAX_WBITS + 16) != Z_OK)
      fail(where_, "cannot start zlib");
  }
  ByteStream(const ByteStream&) = delete;
  ByteStream& operator=(const ByteStream&) = delete;
  ~ByteStream() {
    if (compressed_) inflateEnd(&gzip_);
  }

  // How many bytes are left, at most.
  std::uint64_t bound() const {
    return compressed_ ? file_.size() * max_ratio : file_.size() - at_;
  }

  // Up to `size` bytes; fewer only at the end.
  std::size_t read(std::uint8_t* to, std::size_t size) {
    if (compressed_) return inflate_into(to, size);
    const std::size_t got = file_.read(at_, std::span(reinterpret_cast<char*>(to), size));
    at_ += got;
    return got;
  }

  // Reads on: in a compressed file the checksum follows the last byte.
  bool at_end() {
    std::uint8_t byte;
    return read(&byte, 1) == 0 && !found_other_data_;
  }

 private:
  static constexpr const char* gzip_magic = "\x1f\x8b";
  static constexpr std::size_t piece = 1 << 18;

  // Whether there are more compressed bytes to take.
  bool refill() {
    if (gzip_.avail_in > 0) return true;
    compressed_bytes_ = file_.read(at_, piece);
    at_ += compressed_bytes_.size();
    gzip_.next_in = reinterpret_cast<Bytef*>(compressed_bytes_.data());
    gzip_.avail_in = static_cast<uInt>(compressed_bytes_.size());
    return gzip_.avail_in > 0;
  }

  std::size_t inflate_into(std::uint8_t* to, std::size_t size) {
    std::size_t done = 0;
    while (done < size && (!member_ended_ || begin_next_member()))
      done += inflate_some(to + done, size - done);
    return done;
  }

  // False at the end of the file, before which there may be zeros, and where other data begin.
  bool begin_next_member() {
    bool zeros = false;
    while (refill() && *gzip_.next_in == 0) {
      ++gzip_.next_in, --gzip_.avail_in;
      zeros = true;
    }
    if (!refill()) return false;
    found_other_data_ = zeros || *gzip_.next_in != 0x1f;
    if (found_other_data_) return false;
    inflateReset(&gzip_);
    member_ended_ = false;
    return true;
  }

  std::size_t inflate_some(std::uint8_t* to, std::size_t size) {
    if (!refill()) fail(where_, "the gzip data is truncated, expected more; fetch the file again");
    const uInt room = static_cast<uInt>(std::min<std::size_t>(size, UINT_MAX));
    gzip_.next_out = to;
    gzip_.avail_out = room;
    const int status = inflate(&gzip_, Z_NO_FLUSH);
    if (status != Z_OK && status != Z_STREAM_END)
      fail(where_, "the gzip data is corrupt (", gzip_.msg ? gzip_.msg : "zlib error",
           "), expected a valid stream; fetch the file again");
    member_ended_ = status == Z_STREAM_END;
    return room - gzip_.avail_out;
  }

  const OpenFile& file_;
  std::string where_;
  bool compressed_;
  std::uint64_t at_ = 0;  // of what comes next in the file
  std::string compressed_bytes_;
  bool member_ended_ = false, found_other_data_ = false;
  z_stream gzip_{};
};

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

static Header read_header(const std::string& where, ByteStream& stream) {
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
  ByteStream stream(file);
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
