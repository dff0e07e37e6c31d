#include "backflow/apps/data/augment.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "backflow/engine/parallel.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

struct Change {
  bool mirror;  // before the shift
  Index down, right;
};

using Numbers = std::array<Real, 3>;  // uniform on [0, 1)

struct Augmentation {
  Change (*draw)(const Numbers& u);
  Index (*inside)(Index at, Index size);  // which pixel stands in for one beyond the border
  Index smallest;                         // side of an image, so that there is such a pixel
};

Index within_one_and_a_half(double u) { return std::lround(1.44 * (2 * u - 1)); }
Change draw_flip_shift(const Numbers& u) {
  return {u[0] < Real(0.5), within_one_and_a_half(u[1]), within_one_and_a_half(u[2])};
}

Index one_of_three(double u) { return static_cast<Index>(3 * u) - 1; }
Change draw_shift(const Numbers& u) { return {false, one_of_three(u[1]), one_of_three(u[2])}; }

Index nearest(Index at, Index size) { return std::clamp<Index>(at, 0, size - 1); }
Index reflected(Index at, Index size) {
  return at < 0 ? -at : at >= size ? 2 * (size - 1) - at : at;
}

void change_plane(const Real* from, Real* to, Index height, Index width, const Change& change,
                  Index (*inside)(Index, Index)) {
  for (Index y = 0; y < height; ++y) {
    const Real* row = from + inside(y - change.down, height) * width;
    for (Index x = 0; x < width; ++x) {
      const Index source = inside(x - change.right, width);
      to[y * width + x] = row[change.mirror ? width - 1 - source : source];
    }
  }
}

void check(const Augmentation& augmentation, const Shape& shape, std::size_t examples) {
  if (shape.rank() != 4 || shape[0] != static_cast<Index>(examples))
    fail("augment", "images of shape ", shape, " for ", examples,
         " examples, expected (examples, channels, height, width)");
  const Index smallest = augmentation.smallest;
  if (shape[2] < smallest || shape[3] < smallest)
    fail("augment", "images of shape ", shape, ", expected sides of at least ", smallest);
}

Tensor augment(const Augmentation& augmentation, const Tensor& images, const Random& random,
               std::span<const std::uint32_t> examples) {
  const Shape& shape = images.shape();
  check(augmentation, shape, examples.size());
  const Index n = shape[0], channels = shape[1], height = shape[2], width = shape[3];
  const Index plane = height * width, size = channels * plane;
  Tensor out = Tensor::empty(shape);
  const auto change_image = [&, x = images.data(), y = out.mutable_data()](Index i) {
    Numbers numbers;
    random.uniform(examples[i], numbers);
    const Change change = augmentation.draw(numbers);
    for (Index at = i * size; at < (i + 1) * size; at += plane)
      change_plane(x + at, y + at, height, width, change, augmentation.inside);
  };
  parallel_for(n, std::max<Index>(1, elements_per_chunk / std::max<Index>(1, size)),
               [&](Index i, Index end) {
                 for (; i < end; ++i) change_image(i);
               });
  return out;
}

}  // namespace

Tensor flip_shift(const Tensor& images, const Random& random,
                  std::span<const std::uint32_t> examples) {
  return augment({draw_flip_shift, nearest, 1}, images, random, examples);
}

Tensor shift(const Tensor& images, const Random& random, std::span<const std::uint32_t> examples) {
  return augment({draw_shift, reflected, 2}, images, random, examples);
}

}  // namespace backflow::inline BACKFLOW_PRECISION
