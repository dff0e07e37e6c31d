#include "backflow/apps/pictures/colours.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace backflow::inline BACKFLOW_PRECISION {

static constexpr int channels = 3;

// Between a and b.
static std::uint8_t mixed(double a, double b, double share_of_b) {
  return static_cast<std::uint8_t>(std::lround(a + (b - a) * share_of_b));
}

static Rgb mixed(Rgb a, Rgb b, double share_of_b) {
  return {mixed(a.red, b.red, share_of_b), mixed(a.green, b.green, share_of_b),
          mixed(a.blue, b.blue, share_of_b)};
}

// What is not a number is 0.
static double within_unit(double x) { return x > 0 ? std::min(x, 1.0) : 0; }

// Every 32nd of its 256 colours. Between them it is nearly linear.
Rgb magma(double brightness) {
  static constexpr std::array<Rgb, 9> colours{{{0x00, 0x00, 0x04},
                                               {0x1d, 0x11, 0x47},
                                               {0x51, 0x12, 0x7c},
                                               {0x82, 0x26, 0x81},
                                               {0xb6, 0x36, 0x79},
                                               {0xe6, 0x51, 0x64},
                                               {0xfb, 0x88, 0x61},
                                               {0xfe, 0xc2, 0x87},
                                               {0xfc, 0xfd, 0xbf}}};
  const double at = within_unit(brightness) * (colours.size() - 1);
  const auto low = std::min(static_cast<std::size_t>(at), colours.size() - 2);
  return mixed(colours[low], colours[low + 1], at - static_cast<double>(low));
}

Picture in_magma(const Tensor& brightness) {
  if (brightness.rank() != 2)
    fail("in_magma", "(height, width) expected, the shape is ", brightness.shape());
  Picture picture{
      channels, static_cast<int>(brightness.size(0)), static_cast<int>(brightness.size(1)), {}};
  picture.pixels.reserve(static_cast<std::size_t>(brightness.size()) * channels);
  for (Index i = 0; i < brightness.size(); ++i) {
    const Rgb colour = magma(brightness[i]);
    picture.pixels.insert(picture.pixels.end(), {colour.red, colour.green, colour.blue});
  }
  return picture;
}

void lay_over(Picture& picture, Rgb colour, const Tensor& opacity) {
  const Shape expected{picture.height, picture.width};
  if (picture.channels != channels || opacity.shape() != expected)
    fail("lay_over", "an opacity of ", opacity.shape(), " for a picture of ", expected, " and ",
         picture.channels, " channels, expected the same shape and 3 channels");
  std::uint8_t* pixel = picture.pixels.data();
  for (Index i = 0; i < opacity.size(); ++i, pixel += channels) {
    const Rgb result = mixed({pixel[0], pixel[1], pixel[2]}, colour, within_unit(opacity[i]));
    pixel[0] = result.red;
    pixel[1] = result.green;
    pixel[2] = result.blue;
  }
}

}  // namespace backflow::inline BACKFLOW_PRECISION
