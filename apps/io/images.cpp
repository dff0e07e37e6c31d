#include "apps/io/images.h"

#include <zlib.h>

#include <algorithm>
#include <string>

#include "apps/io/idx.h"
#include "engine/parallel.h"

namespace backflow::inline BACKFLOW_PRECISION {

namespace fs = std::filesystem;

static constexpr Index validation_part = 6;  // one in so many

static std::string how_to_fetch(const fs::path& dir) {
  return "fetch the data with: apps/fetch_mnist.sh " + dir.string();
}

static fs::path find_images(const fs::path& dir, const std::string& set) {
  for (const char* spelling : {"-images-idx3-ubyte", "-images.idx3-ubyte"})
    for (const char* suffix : {"", ".gz"}) {
      const fs::path path = dir / (set + spelling + suffix);
      std::error_code ignored;
      if (fs::is_regular_file(path, ignored)) return path;
    }
  fail(dir.string(), "no file ", set, "-images-idx3-ubyte, nor with .gz, expected one; ",
       how_to_fetch(dir));
}

static ImageSet load_set(const fs::path& path, Index at_least) {
  IdxImages images = load_idx_images(path);
  if (images.count < at_least)
    fail(path.string(), "found ", images.count, " images, expected at least ", at_least, "; ",
         how_to_fetch(path.parent_path()));
  return {1, images.height, images.width, std::move(images.pixels)};
}

// Moves the last images of `train` into a set of their own.
static ImageSet cut_validation(ImageSet& train) {
  const Index first = (train.count() - train.count() / validation_part) * train.image_size();
  const auto cut = train.pixels.begin() + first;
  ImageSet validation{train.channels, train.height, train.width, {cut, train.pixels.end()}};
  train.pixels.erase(cut, train.pixels.end());
  return validation;
}

ImageSplits load_mnist(const fs::path& dir) {
  std::error_code ignored;
  if (!fs::is_directory(dir, ignored))
    fail(dir.string(), "no such directory, expected the MNIST images; ", how_to_fetch(dir));
  const fs::path train_path = find_images(dir, "train"), test_path = find_images(dir, "t10k");
  ImageSplits splits{load_set(train_path, validation_part), {}, load_set(test_path, 1)};
  const auto& [train, validation, test] = splits;
  if (train.height != test.height || train.width != test.width)
    fail(dir.string(), "training images are ", train.height, " x ", train.width,
         ", test images are ", test.height, " x ", test.width, ", expected the same size; ",
         how_to_fetch(dir));
  splits.validation = cut_validation(splits.train);
  return splits;
}

std::uint32_t checksum(const ImageSet& images) {
  return static_cast<std::uint32_t>(crc32_z(0, images.pixels.data(), images.pixels.size()));
}

Tensor to_tensor(const ImageSet& images, std::span<const std::uint32_t> indices) {
  const Index count = images.count(), size = images.image_size();
  for (std::uint32_t index : indices)
    if (index >= count) fail("to_tensor", "no image ", index, " in a set of ", count);
  const Index n = static_cast<Index>(indices.size());
  Tensor out = Tensor::empty({n, images.channels, images.height, images.width});
  parallel_for(n, std::max<Index>(1, elements_per_chunk / std::max<Index>(1, size)),
               [&, y = out.mutable_data()](Index i, Index end) {
                 for (; i < end; ++i)
                   std::copy_n(images.pixels.data() + indices[i] * size, size, y + i * size);
               });
  return out;
}

}  // namespace backflow::inline BACKFLOW_PRECISION
