#include "backflow/apps/data/augment.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>

#include "backflow/apps/data/purposes.h"
#include "backflow/apps/model/augmentations.h"
#include "backflow/engine/parallel.h"
#include "backflow/tests/apps/files/scratch.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Values = std::vector<Real>;
using Frequencies = std::map<Values, double>;

const Random numbers(7, purposes::augmentation, 3);

Tensor augment(const std::string& kind, const Tensor& images, const Random& random,
               std::span<const std::uint32_t> examples) {
  return augmentations()[kind].change(images, random, examples);
}

std::vector<std::uint32_t> examples(std::uint32_t count, std::uint32_t first = 0) {
  std::vector<std::uint32_t> all(count);
  std::iota(all.begin(), all.end(), first);
  return all;
}

// 0, 1, 2, ...: no two pixels are alike.
Tensor counting(const Shape& shape) {
  Tensor x = Tensor::empty(shape);
  for (Index i = 0; i < x.size(); ++i) x.mutable_data()[i] = static_cast<Real>(i);
  return x;
}

// The same image so many times, each changed by itself: how often what comes out.
Frequencies outcomes(const std::string& kind, const Tensor& image, std::uint32_t count) {
  const Index size = image.size();
  Tensor images = Tensor::empty({count, 1, image.size(0), image.size(1)});
  for (Index i = 0; i < images.size(); ++i) images.mutable_data()[i] = image[i % size];
  const Tensor changed = augment(kind, images, numbers, examples(count));
  Frequencies found;
  for (Index i = 0; i < count; ++i)
    found[Values(changed.data() + i * size, changed.data() + (i + 1) * size)] += 1.0 / count;
  return found;
}

void expect_frequencies(const Frequencies& found, const Frequencies& expected, double count) {
  EXPECT_EQ(found.size(), expected.size());
  for (const auto& [values, probability] : expected) {
    const auto at = found.find(values);
    ASSERT_NE(at, found.end()) << testing::PrintToString(values);
    // Five standard deviations.
    EXPECT_NEAR(at->second, probability, 5 * std::sqrt(probability / count));
  }
}

TEST(Augment, NoneLeavesTheImagesAlone) {
  const Tensor x = counting({2, 3, 4, 5});
  EXPECT_EQ(augment("none", x, numbers, examples(2)).data(), x.data());
}

// A row 1 2 3 4 seen through a shift by -1, 0, 1, and whether mirrored before.
TEST(Augment, FlipShiftOfARowRepeatsTheBorder) {
  const Tensor row = counting({1, 4});
  const double still = 1 / 2.88, moved = 0.94 / 2.88;  // U(-1.44, 1.44), rounded
  const Frequencies expected = {
      {{1, 2, 3, 3}, moved / 2}, {{0, 1, 2, 3}, still / 2}, {{0, 0, 1, 2}, moved / 2},
      {{2, 1, 0, 0}, moved / 2}, {{3, 2, 1, 0}, still / 2}, {{3, 3, 2, 1}, moved / 2},
  };
  expect_frequencies(outcomes("flip_shift", row, 5000), expected, 5000);
}

TEST(Augment, FlipShiftOfAColumnDoesNotMirrorIt) {
  const double still = 1 / 2.88, moved = 0.94 / 2.88;
  const Frequencies expected = {
      {{1, 2, 3, 3}, moved}, {{0, 1, 2, 3}, still}, {{0, 0, 1, 2}, moved}};
  expect_frequencies(outcomes("flip_shift", counting({4, 1}), 5000), expected, 5000);
}

TEST(Augment, ShiftReflectsAtTheBorder) {
  const Frequencies expected = {
      // by (down, right)
      {{4, 3, 4, 1, 0, 1, 4, 3, 4}, 1 / 9.0}, {{3, 4, 5, 0, 1, 2, 3, 4, 5}, 1 / 9.0},
      {{4, 5, 4, 1, 2, 1, 4, 5, 4}, 1 / 9.0}, {{1, 0, 1, 4, 3, 4, 7, 6, 7}, 1 / 9.0},
      {{0, 1, 2, 3, 4, 5, 6, 7, 8}, 1 / 9.0}, {{1, 2, 1, 4, 5, 4, 7, 8, 7}, 1 / 9.0},
      {{4, 3, 4, 7, 6, 7, 4, 3, 4}, 1 / 9.0}, {{3, 4, 5, 6, 7, 8, 3, 4, 5}, 1 / 9.0},
      {{4, 5, 4, 7, 8, 7, 4, 5, 4}, 1 / 9.0},
  };
  expect_frequencies(outcomes("shift", counting({3, 3}), 5000), expected, 5000);
}

// The padded image, written out, and a window of it: the paper's way.
Values window(const Tensor& image, Index down, Index right, bool mirror) {
  constexpr Index padding = 2;
  const Index height = image.size(0), width = image.size(1);
  const Index wide = width + 2 * padding;
  Values padded;
  for (Index y = -padding; y < height + padding; ++y)
    for (Index x = -padding; x < width + padding; ++x) {
      const Index row = std::clamp<Index>(y, 0, height - 1);
      const Index column = std::clamp<Index>(x, 0, width - 1);
      padded.push_back(image[row * width + (mirror ? width - 1 - column : column)]);
    }
  Values values;
  for (Index y = 0; y < height; ++y)
    for (Index x = 0; x < width; ++x)
      values.push_back(padded[(y + padding - down) * wide + x + padding - right]);
  return values;
}

TEST(Augment, FlipShiftIsAWindowOfThePaddedImage) {
  const Tensor image = counting({4, 5});
  const auto probability = [](Index shift) { return (shift == 0 ? 1 : 0.94) / 2.88; };
  Frequencies expected;
  for (const bool mirror : {false, true})
    for (Index down = -1; down <= 1; ++down)
      for (Index right = -1; right <= 1; ++right)
        expected[window(image, down, right, mirror)] = 0.5 * probability(down) * probability(right);
  EXPECT_EQ(expected.size(), 18u);
  expect_frequencies(outcomes("flip_shift", image, 9000), expected, 9000);
}

// -1, 0 or 1 as a number lies below, between or above two bounds: within 1e-4 of them by what
// 20,000 examples draw.
Index shift_of(double u, double low, double high) { return u < low ? -1 : u < high ? 0 : 1; }

// The numbers of each example say how it changes: mirrored, down, right.
void expect_changes(const std::string& kind, double mirrored_below, double low, double high) {
  constexpr Index side = 5, middle = 2, count = 20000;
  const Tensor one = counting({side, side});
  Tensor images = Tensor::empty({count, 1, side, side});
  for (Index i = 0; i < images.size(); ++i) images.mutable_data()[i] = one[i % one.size()];
  const Tensor changed = augment(kind, images, numbers, examples(count));
  for (Index i = 0; i < count; ++i) {
    std::array<Real, 3> u;
    numbers.uniform(static_cast<std::uint32_t>(i), u);
    const Index down = shift_of(u[1], low, high), right = shift_of(u[2], low, high);
    for (const Index column : {middle, middle + 1}) {
      const Index from = u[0] < mirrored_below ? side - 1 - (column - right) : column - right;
      ASSERT_EQ(changed[i * one.size() + middle * side + column], (middle - down) * side + from)
          << kind << ", example " << i << ", numbers " << u[0] << " " << u[1] << " " << u[2];
    }
  }
}

TEST(Augment, FlipShiftMirrorsHalfAndRoundsUpTo144HundredthsOfAPixel) {
  const double moved = (1 - 0.5 / 1.44) / 2;  // below it, 1.44 (2 u - 1) is less than -1/2
  expect_changes("flip_shift", 0.5, moved, 1 - moved);
}

TEST(Augment, ShiftTakesThirds) { expect_changes("shift", 0, 1 / 3.0, 2 / 3.0); }

TEST(Augment, AllChannelsMoveTogether) {
  const Tensor x = counting({40, 3, 4, 5});
  for (const std::string kind : {"flip_shift", "shift"}) {
    const Tensor y = augment(kind, x, numbers, examples(40));
    EXPECT_EQ(y.shape(), x.shape());
    for (Index image = 0; image < 40; ++image)
      for (Index i = 0; i < 20; ++i)
        for (Index channel = 1; channel < 3; ++channel)
          ASSERT_EQ(y[image * 60 + channel * 20 + i], y[image * 60 + i] + channel * 20);
  }
}

TEST(Augment, TheNumbersDependOnTheExampleAlone) {
  const Tensor x = counting({600, 1, 6, 6});
  for (const std::string kind : {"flip_shift", "shift"}) {
    const Tensor whole = augment(kind, x, numbers, examples(600, 50));
    for (Index i = 0; i < 600; i += 97) {
      Tensor one = Tensor::empty({1, 1, 6, 6});
      std::copy_n(x.data() + i * 36, 36, one.mutable_data());
      const Tensor alone =
          augment(kind, one, numbers, examples(1, 50 + static_cast<std::uint32_t>(i)));
      EXPECT_TRUE(std::equal(alone.data(), alone.data() + 36, whole.data() + i * 36)) << i;
    }
    const int before = threads();
    for (const int count : {1, 3}) {
      set_threads(count);
      EXPECT_EQ(augment(kind, x, numbers, examples(600, 50)).values(), whole.values());
    }
    set_threads(before);
  }
}

TEST(Augment, EpochsSeedsAndExamplesDiffer) {
  const Tensor x = counting({50, 1, 6, 6});
  for (const std::string kind : {"flip_shift", "shift"}) {
    const Values values = augment(kind, x, numbers, examples(50)).values();
    for (const Random& other :
         {Random(7, purposes::augmentation, 4), Random(8, purposes::augmentation, 3),
          Random(7, purposes::dequantization, 3)})
      EXPECT_NE(augment(kind, x, other, examples(50)).values(), values);
    EXPECT_NE(augment(kind, x, numbers, examples(50, 1)).values(), values);
  }
}

TEST(Augment, ItsInputStaysAsItWas) {
  const Tensor x = counting({9, 1, 4, 4});
  augment("flip_shift", x, numbers, examples(9));
  EXPECT_EQ(x.values(), counting({9, 1, 4, 4}).values());
}

TEST(Augment, NoImagesGiveNone) {
  EXPECT_EQ(augment("shift", Tensor::zeros({0, 1, 4, 4}), numbers, {}).shape(),
            (Shape{0, 1, 4, 4}));
}

TEST(Augment, UnknownKindsAreRefused) {
  expect_message(message_of([] {
                   augment("rotate", counting({1, 1, 4, 4}), numbers, examples(1));
                 }),
                 "[augment] ", "'rotate'", "none, flip_shift, shift");
}

TEST(Augment, WhatAreNoImagesIsRefused) {
  const auto message = [](const std::string& kind, const Shape& shape, std::uint32_t count) {
    return message_of([&] { augment(kind, Tensor::zeros(shape), numbers, examples(count)); });
  };
  for (const std::string kind : {"flip_shift", "shift"}) {
    expect_message(message(kind, {2, 16}, 2), "[augment] ", "(2, 16)", "(examples, channels");
    expect_message(message(kind, {2, 1, 4, 4}, 3), "(2, 1, 4, 4)", "3 examples");
    expect_message(message(kind, {1, 1, 4, 0}, 1), "(1, 1, 4, 0)", "sides of at least");
  }
  expect_message(message("shift", {1, 1, 1, 4}, 1), "(1, 1, 1, 4)", "sides of at least 2");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
