// Brightness as colours.
#pragma once

#include "backflow/apps/files/png.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct Rgb {
  std::uint8_t red, green, blue;
};
inline constexpr Rgb black_ink{0, 0, 0}, white_paper{255, 255, 255};

// The colour map "magma" of Nathaniel Smith and Stefan van der Walt (CC0; matplotlib has it): from
// black by purple to a pale yellow, each step being as large to the eye as any other, in print
// without colours too. 0 is black, below it and NaN as well, 1 and above it the brightest.
Rgb magma(double brightness);

// (height, width) as a picture.
Picture in_magma(const Tensor& brightness);

// Covers each pixel with the colour, wholly where the opacity is 1, not at all where it is 0 or
// NaN. Fails unless the opacity is (height, width).
void lay_over(Picture& picture, Rgb colour, const Tensor& opacity);

}  // namespace backflow::inline BACKFLOW_PRECISION
