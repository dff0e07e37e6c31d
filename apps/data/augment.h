// Random changes of training images that keep what they show.
//
// Those of the paper's code (akandykeller/SelfNormalizingFlows), for every model of a comparison
// alike. Like noise, a function of (seed, epoch, example): of neither batching nor threads.
#pragma once

#include <span>

#include "backflow/ops/random.h"

namespace backflow::inline BACKFLOW_PRECISION {

// Both take images (B, C, H, W) of pixels 0..255 and give them back changed, row i with the numbers
// of examples[i], as those of Random(seed, purposes::augmentation, epoch). They throw an Error for
// what are no images. By name they are found in apps/model/augmentations.h.

// For CIFAR-10: mirrored left to right with probability 1/2, then shifted along either axis by
// round(U(-1.44, 1.44)) pixels, -1 and 1 with probability 0.326 each: the authors' edge padding by
// 2, RandomAffine(translate 0.04 of 36 pixels) and crop.
Tensor flip_shift(const Tensor& images, const Random& random,
                  std::span<const std::uint32_t> examples);

// For MNIST: shifted by -1, 0 or 1 pixels along either axis, with equal probability: the authors'
// reflect padding by 1 and random crop. Sides of at least 2 pixels.
Tensor shift(const Tensor& images, const Random& random, std::span<const std::uint32_t> examples);

}  // namespace backflow::inline BACKFLOW_PRECISION
