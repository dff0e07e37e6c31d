// Random changes of training images that keep what they show.
//
// Those of the paper's code (akandykeller/SelfNormalizingFlows), for every model of a comparison
// alike. Like noise, a function of (seed, epoch, example): of neither batching nor threads.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "backflow/ops/random.h"

namespace backflow::inline BACKFLOW_PRECISION {

// none        the images themselves
// flip_shift  CIFAR-10: mirrored left to right with probability 1/2, then shifted along either axis
//             by round(U(-1.44, 1.44)) pixels, -1 and 1 with probability 0.326 each: the authors'
//             edge padding by 2, RandomAffine(translate 0.04 of 36 pixels) and crop
// shift       MNIST: shifted by -1, 0 or 1 pixels along either axis, with equal probability: the
//             authors' reflect padding by 1 and random crop. Sides of at least 2 pixels.
const std::vector<std::string>& augmentation_names();

// (B, C, H, W), of pixels 0..255, changed; row i with the numbers of examples[i], as those of
// Random(seed, Purpose::augmentation, epoch). Throws an Error when the kind is unknown, or the
// images are none.
Tensor augment(const std::string& kind, const Tensor& images, const Random& random,
               std::span<const std::uint32_t> examples);

}  // namespace backflow::inline BACKFLOW_PRECISION
