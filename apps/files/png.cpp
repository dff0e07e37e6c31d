#include "backflow/apps/files/png.h"

#include <png.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <sstream>
#include <string>

#include "backflow/apps/files/atomic_file.h"

namespace backflow::inline BACKFLOW_PRECISION {

static constexpr std::uint8_t dark = 48;      // black digits' frames must still show
static constexpr Index max_side = 1'000'000;  // libpng's own limit
static constexpr Index max_ratio = 1032;      // deflate cannot compress better

static void check(const std::string& where, const Picture& p) {
  const bool sizes = p.height >= 1 && p.width >= 1 && p.height <= max_side && p.width <= max_side;
  if ((p.channels != 1 && p.channels != 3) || !sizes ||
      static_cast<Index>(p.pixels.size()) != Index{p.height} * p.width * p.channels)
    fail(where, "a picture of ", p.height, " x ", p.width, " with ", p.channels, " channels and ",
         p.pixels.size(), " bytes, expected 1 or 3 channels, sides of 1 to ", max_side,
         " and a byte for each value");
}

std::string encode_png(const Picture& picture, const std::string& where) {
  check(where, picture);
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(picture.width);
  image.height = static_cast<png_uint_32>(picture.height);
  image.format = picture.channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
  std::string bytes(size, '\0');
  if (!png_image_write_to_memory(&image, bytes.data(), &size, 0, picture.pixels.data(), 0, nullptr))
    fail(where, "libpng cannot encode the picture: ", image.message);
  bytes.resize(size);
  return bytes;
}

void write_png(const std::filesystem::path& path, const Picture& picture) {
  write_file_atomically(path, encode_png(picture, path.string()));
}

// ---- Reading ----------------------------------------------------------------------------------

namespace {

// libpng reports errors by longjmp: a function that calls setjmp, or that libpng calls back, holds
// nothing with a destructor.
class PngReader {
 public:
  explicit PngReader(std::string_view bytes) : rest_(bytes) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, give_up, ignore_warning);
    info_ = png_ ? png_create_info_struct(png_) : nullptr;
    if (!info_) return;
    png_set_read_fn(png_, this, read);
    // What is not needed for the pixels is skipped: texts may claim, and get, a gigabyte.
    png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
  }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }

  // Both false when they fail, of which message() tells.
  bool read_header() {
    if (!info_ || setjmp(png_jmpbuf(png_))) return false;
    png_read_info(png_, info_);
    return true;
  }
  bool read_rows(std::uint8_t* pixels) {
    if (setjmp(png_jmpbuf(png_))) return false;
    const int passes = png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    for (int pass = 0; pass < passes; ++pass)
      for (Index row = 0; row < height(); ++row)
        png_read_row(png_, pixels + row * row_bytes(), nullptr);
    png_read_end(png_, nullptr);
    return true;
  }

  const char* message() const { return message_; }
  Index height() const { return png_get_image_height(png_, info_); }
  Index width() const { return png_get_image_width(png_, info_); }
  Index row_bytes() const { return static_cast<Index>(png_get_rowbytes(png_, info_)); }
  int bits() const { return png_get_bit_depth(png_, info_); }
  int color_type() const { return png_get_color_type(png_, info_); }

 private:
  static void read(png_structp png, png_bytep to, std::size_t size) {
    std::string_view& rest = static_cast<PngReader*>(png_get_io_ptr(png))->rest_;
    if (rest.size() < size) png_error(png, "truncated: it ends too early");
    std::copy_n(rest.data(), size, to);
    rest.remove_prefix(size);
  }
  [[noreturn]] static void give_up(png_structp png, png_const_charp message) {
    char* kept = static_cast<PngReader*>(png_get_error_ptr(png))->message_;
    std::snprintf(kept, sizeof message_, "%s", message);
    png_longjmp(png, 1);
  }
  static void ignore_warning(png_structp, png_const_charp) {}

  std::string_view rest_;
  png_structp png_;
  png_infop info_;
  char message_[100] = "libpng cannot start";
};

}  // namespace

static const char* name_of_type(int color_type) {
  switch (color_type) {
    case PNG_COLOR_TYPE_GRAY:
      return "gray";
    case PNG_COLOR_TYPE_GRAY_ALPHA:
      return "gray with alpha";
    case PNG_COLOR_TYPE_PALETTE:
      return "palette";
    case PNG_COLOR_TYPE_RGB:
      return "RGB";
    default:
      return "RGB with alpha";
  }
}

[[noreturn]] static void fail_to_decode(const std::string& where, const char* message) {
  fail(where, "the PNG file is damaged (", message, "), expected a whole one; fetch it again");
}

Picture decode_png(std::string_view bytes, int channels, const std::string& where) {
  PngReader reader(bytes);
  if (!reader.read_header()) fail_to_decode(where, reader.message());
  const int expected = channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB;
  if (reader.bits() != 8 || reader.color_type() != expected)
    fail(where, "found a PNG image in ", reader.bits(), "-bit ", name_of_type(reader.color_type()),
         ", expected 8-bit ", name_of_type(expected), "; convert it");
  const Index size = reader.height() * reader.row_bytes();
  if (size / max_ratio > static_cast<Index>(bytes.size()))
    fail_to_decode(where, "truncated: too short for its size");  // before memory is asked for
  Picture picture{channels, static_cast<int>(reader.height()), static_cast<int>(reader.width()),
                  std::vector<std::uint8_t>(static_cast<std::size_t>(size))};
  if (!reader.read_rows(picture.pixels.data())) fail_to_decode(where, reader.message());
  return picture;
}

// ---- Many images in one picture ---------------------------------------------------------------

static std::uint8_t to_byte(Real value) {
  if (!std::isfinite(value)) {
    std::ostringstream message;
    message << "[image_grid] found the pixel value " << value
            << ", expected finite numbers; has the model diverged?";
    throw NotFinite(message.str());
  }
  return static_cast<std::uint8_t>(std::lround(std::clamp<Real>(value, 0, 255)));
}

static void check(const Tensor& images, int columns, int padding, int scale) {
  const Shape& shape = images.shape();
  if (shape.rank() != 4 || (shape[1] != 1 && shape[1] != 3) || shape.size() == 0)
    fail("image_grid", "images of shape ", shape, ", expected (n, 1 or 3, height, width)");
  if (columns < 1 || padding < 0 || scale < 1)
    fail("image_grid", columns, " columns, padding ", padding, ", scale ", scale,
         ", expected at least 1, 0 and 1");
}

static Picture empty_grid(Index channels, Index height, Index width) {
  if (height > max_side || width > max_side)
    fail("image_grid", "a picture of ", height, " x ", width, " pixels, expected sides of at most ",
         max_side, "; take fewer images or a smaller scale");
  Picture grid{static_cast<int>(channels), static_cast<int>(height), static_cast<int>(width), {}};
  grid.pixels.assign(static_cast<std::size_t>(height * width * channels), dark);
  return grid;
}

Picture image_grid(const Tensor& images, int columns, int padding, int scale) {
  check(images, columns, padding, scale);
  const Index n = images.size(0), channels = images.size(1);
  const Index height = images.size(2), width = images.size(3);
  const Index across = std::min<Index>(columns, n), down = (n + across - 1) / across;
  const Index row_step = height * scale + padding, column_step = width * scale + padding;
  Picture grid = empty_grid(channels, down * row_step + padding, across * column_step + padding);
  const auto draw = [&](Index image, Index channel) {
    const Real* p = images.data() + (image * channels + channel) * height * width;
    const Index top = image / across * row_step + padding;
    const Index left = image % across * column_step + padding;
    for (Index y = 0; y < height * scale; ++y)
      for (Index x = 0; x < width * scale; ++x)
        grid.pixels[((top + y) * grid.width + left + x) * channels + channel] =
            to_byte(p[y / scale * width + x / scale]);
  };
  for (Index image = 0; image < n; ++image)
    for (Index channel = 0; channel < channels; ++channel) draw(image, channel);
  return grid;
}

}  // namespace backflow::inline BACKFLOW_PRECISION
