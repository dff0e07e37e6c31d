#include "backflow/apps/data/images.h"

#include <zlib.h>

#include <algorithm>

#include "backflow/apps/data/png_archive.h"
#include "backflow/engine/parallel.h"

namespace backflow::inline BACKFLOW_PRECISION {

std::uint32_t checksum(const ImageSet& images) {
  if (images.archive) return images.archive->checksum(images.members);
  return static_cast<std::uint32_t>(crc32_z(0, images.pixels.data(), images.pixels.size()));
}

static void copy_image(const ImageSet& images, std::uint32_t index, Real* to) {
  const Index size = images.image_size();
  if (!images.archive) {
    std::copy_n(images.pixels.data() + index * size, size, to);
    return;
  }
  const Picture picture = images.archive->picture(images.members[index]);
  to_planes(picture.pixels.data(), size / images.channels, images.channels, to);
}

Tensor to_tensor(const ImageSet& images, std::span<const std::uint32_t> indices) {
  const Index count = images.count(), size = images.image_size();
  for (std::uint32_t index : indices)
    if (index >= count) fail("to_tensor", "no image ", index, " in a set of ", count);
  const Index n = static_cast<Index>(indices.size());
  Tensor out = Tensor::empty({n, images.channels, images.height, images.width});
  parallel_for(n, std::max<Index>(1, elements_per_chunk / std::max<Index>(1, size)),
               [&, y = out.mutable_data()](Index i, Index end) {
                 for (; i < end; ++i) copy_image(images, indices[i], y + i * size);
               });
  return out;
}

Tensor one_hot(std::span<const std::uint8_t> labels) {
  Tensor out = Tensor::zeros({std::ssize(labels), label_kinds});
  Real* to = out.mutable_data();
  for (const std::uint8_t label : labels) {
    if (label >= label_kinds)
      fail("one_hot", "labels of 0 to ", label_kinds - 1, " expected, got ", Index{label});
    to[label] = 1;
    to += label_kinds;
  }
  return out;
}

Tensor one_hot_labels(const ImageSet& images, std::span<const std::uint32_t> indices) {
  if (images.labels.empty()) fail("one_hot_labels", "the images have no labels");
  std::vector<std::uint8_t> labels;
  for (const std::uint32_t index : indices) {
    if (index >= images.labels.size())
      fail("one_hot_labels", "no label ", index, " in a set of ", images.labels.size());
    labels.push_back(images.labels[index]);
  }
  return one_hot(labels);
}

}  // namespace backflow::inline BACKFLOW_PRECISION
