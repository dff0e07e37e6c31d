#include "apps/io/png.h"

#include <png.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "apps/io/atomic_file.h"

namespace backflow::inline BACKFLOW_PRECISION {

static constexpr std::uint8_t dark = 48;      // black digits' frames must still show
static constexpr Index max_side = 1'000'000;  // libpng's own limit

static void check(const std::string& where, const Picture& p) {
  const bool sizes = p.height >= 1 && p.width >= 1 && p.height <= max_side && p.width <= max_side;
  if ((p.channels != 1 && p.channels != 3) || !sizes ||
      static_cast<Index>(p.pixels.size()) != Index{p.height} * p.width * p.channels)
    fail(where, "a picture of ", p.height, " x ", p.width, " with ", p.channels, " channels and ",
         p.pixels.size(), " bytes, expected 1 or 3 channels, sides of 1 to ", max_side,
         " and a byte for each value");
}

void write_png(const std::filesystem::path& path, const Picture& picture) {
  check(path.string(), picture);
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(picture.width);
  image.height = static_cast<png_uint_32>(picture.height);
  image.format = picture.channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
  std::string bytes(size, '\0');
  if (!png_image_write_to_memory(&image, bytes.data(), &size, 0, picture.pixels.data(), 0, nullptr))
    fail(path.string(), "libpng cannot encode the picture: ", image.message);
  write_file_atomically(path, std::string_view(bytes).substr(0, size));
}

static std::uint8_t to_byte(Real value) {
  if (!std::isfinite(value))
    fail("image_grid", "found the pixel value ", value,
         ", expected finite numbers; has the model diverged?");
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
