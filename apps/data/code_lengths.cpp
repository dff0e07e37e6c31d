#include "backflow/apps/data/code_lengths.h"

#include "backflow/apps/files/gzip.h"
#include "backflow/apps/files/png.h"

namespace backflow::inline BACKFLOW_PRECISION {

// (channels, pixels) of one image, as its file of raw pixels has them, and as a PNG file has.
static std::vector<std::uint8_t> bytes_of(const ImageSet& images, std::uint32_t index) {
  const Tensor image = to_tensor(images, std::span(&index, 1));
  return {image.data(), image.data() + image.size()};
}

static Picture picture_of(const ImageSet& images, const std::vector<std::uint8_t>& planes) {
  Picture picture{images.channels, images.height, images.width, planes};
  const std::size_t channels = static_cast<std::size_t>(images.channels);
  const std::size_t pixels = planes.size() / channels;
  for (std::size_t i = 0; i < planes.size(); ++i)
    picture.pixels[i % pixels * channels + i / pixels] = planes[i];
  return picture;
}

CodeLengths code_lengths(const ImageSet& images, Index limit) {
  const Index count = limit > 0 ? std::min(limit, images.count()) : images.count();
  if (count < 1) fail("code_lengths", "at least one image expected, got none");
  double png = 0, gzip = 0;
  GzipLength one, all;
  for (Index i = 0; i < count; ++i) {
    const std::vector<std::uint8_t> bytes = bytes_of(images, static_cast<std::uint32_t>(i));
    png += static_cast<double>(encode_png(picture_of(images, bytes), "code_lengths").size());
    one.add(bytes);
    gzip += static_cast<double>(one.finish());
    all.add(bytes);
  }
  const double bits = 8 / static_cast<double>(count * images.image_size());
  return {bits * png, bits * gzip, bits * static_cast<double>(all.finish())};
}

}  // namespace backflow::inline BACKFLOW_PRECISION
