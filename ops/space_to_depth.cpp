// The squeeze of image flows: a move of elements like those in shape.cpp, but its rows are short
// and take every second pixel, so that it has a kernel of its own.
#include "backflow/engine/parallel.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {

// Calls body(wide, first, second) for each row of blocks of 2 x 2 pixels and each of the two pixel
// rows in it: where that row begins in the (B, C, 2 H, 2 W) images, and where the two rows that its
// even and its odd pixels make begin in the (B, 4 C, H, W) ones.
template <class Body>
static void for_each_row_of_blocks(const Shape& deep, const Body& body) {
  const Index planes = deep[0] * deep[1] / 4, H = deep[2], W = deep[3];
  if (deep.size() == 0) return;
  parallel_for(planes, std::max<Index>(1, elements_per_chunk / (4 * H * W)),
               [&](Index plane, Index end) {
                 for (; plane < end; ++plane)
                   for (Index row = 0; row < 2 * H; ++row) {
                     const Index first = ((4 * plane + row % 2 * 2) * H + row / 2) * W;
                     body((plane * 2 * H + row) * 2 * W, first, first + H * W);
                   }
               });
}

Tensor space_to_depth(const Tensor& x) {
  if (x.rank() != 4 || x.size(2) % 2 != 0 || x.size(3) % 2 != 0)
    fail("space_to_depth", "images of even height and width expected, the shape is ", x.shape());
  const Index W = x.size(3) / 2;
  Tensor out = Tensor::empty({x.size(0), 4 * x.size(1), x.size(2) / 2, W});
  for_each_row_of_blocks(out.shape(), [=, p = x.data(), to = out.mutable_data()](
                                          Index wide, Index first, Index second) {
    for (Index j = 0; j < W; ++j) {
      to[first + j] = p[wide + 2 * j];
      to[second + j] = p[wide + 2 * j + 1];
    }
  });
  return out;
}

Var space_to_depth(const Var& x) {
  return record("space_to_depth", space_to_depth(x.value()),
                grad(x, [](const Tensor& g) { return depth_to_space(g); }));
}

Tensor depth_to_space(const Tensor& x) {
  if (x.rank() != 4 || x.size(1) % 4 != 0)
    fail("depth_to_space", "channels in fours expected, the shape is ", x.shape());
  const Index W = x.size(3);
  Tensor out = Tensor::empty({x.size(0), x.size(1) / 4, 2 * x.size(2), 2 * W});
  for_each_row_of_blocks(
      x.shape(), [=, p = x.data(), to = out.mutable_data()](Index wide, Index first, Index second) {
        for (Index j = 0; j < W; ++j) {
          to[wide + 2 * j] = p[first + j];
          to[wide + 2 * j + 1] = p[second + j];
        }
      });
  return out;
}

Var depth_to_space(const Var& x) {
  return record("depth_to_space", depth_to_space(x.value()),
                grad(x, [](const Tensor& g) { return space_to_depth(g); }));
}

}  // namespace backflow::inline BACKFLOW_PRECISION
