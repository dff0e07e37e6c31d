// Images as the direct convolutions read them. Internal to those: only conv_direct.h includes this.
#pragma once

#include <cstring>

#include "backflow/ops/conv_kernels.h"
#include "backflow/ops/packs.h"

// All functions of packs are inlined: how they would be passed without the registers does not
// matter.
#pragma GCC diagnostic ignored "-Wpsabi"

namespace backflow::inline BACKFLOW_PRECISION {
namespace planes {

// ---- Whole vector registers ---------------------------------------------------------------------

constexpr Index lanes = lanes_of_register<Real>;
using Register = Pack<Real, lanes>;
using Mask = decltype(Register{} < Register{});
// How many sums stay in the registers of the processor, beside what is being loaded: x86 has 16 of
// them, and 32 since AVX-512.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int most_outputs = 8, accumulators = 16, gradient_accumulators = 24;
#else
constexpr int most_outputs = 4, accumulators = 12, gradient_accumulators = 12;
#endif
constexpr int most_packs = 4;  // of an output, that correlate() computes at once

inline Register load(const Real* p) {
  Register pack;
  std::memcpy(&pack, p, sizeof pack);
  return pack;
}
// Left to itself, g++ loads it anew for each product, which takes longer than the product where it
// crosses a cache line.
inline Register in_register(Register x) {
#if defined(__AVX512F__)
  asm("" : "+v"(x));
#elif defined(__x86_64__)
  asm("" : "+x"(x));
#endif
  return x;
}
// Asks for what is to be read soon: images come from memory, in steps too short for the processor
// to see where they lead.
inline void prefetch(const Real* p) { __builtin_prefetch(p + 512); }
inline void store(Real* p, const Register& pack) { std::memcpy(p, &pack, sizeof pack); }
inline Mask first_lanes(Index count) {
  Mask mask{};
  for (Index i = 0; i < lanes; ++i) mask[i] = i < count ? -1 : 0;
  return mask;
}
inline Index whole_packs(Index n) { return (n + lanes - 1) / lanes * lanes; }

struct Range {
  Index begin, end;
};

// ---- The layout ---------------------------------------------------------------------------------

// Where the pixels of some images lie: [channel][image][row][column], each row followed by zeros
// that serve as its right and the next row's left margin, each image by rows of zeros. Images begin
// at whole packs: loads across a cache line take twice as long.
//
// Rows are moved by whole packs, since a call of memcpy() takes longer than a short row. The last
// pack of a row reaches beyond it, into what is moved next.
struct Layout {
  Index row, image, margin, size, channel;
  Index packs;             // that cover the pixels of an image, from its first to its last
  Index runs, run, pitch;  // of a plane: rows, or all of them where nothing lies between two

  Layout(const ConvGeometry& g, Index images)
      : row(g.W + std::max(g.pad.left, g.pad.right)),
        image(whole_packs(row * (g.H + std::max(g.pad.top, g.pad.bottom)))),
        margin(whole_packs(std::max(g.pad.top, g.pad.bottom) * row +
                           std::max(g.pad.left, g.pad.right))),
        size(images * image),
        channel(2 * margin + size + most_packs * lanes),
        packs(whole_packs((g.H - 1) * row + g.W) / lanes),
        runs(row == g.W ? 1 : g.H),
        run(row == g.W ? g.in_pixels() : g.W),
        pitch(row == g.W ? run : row) {}

  Index pixels() const { return runs * run; }  // of a plane
  // How many Reals so many channels take.
  Index reals_of(Index channels) const { return channels * channel; }

  // Lays images (.., channels, H, W) out so. Reads no further than `end`.
  void spread(const Real* from, const Real* end, Index images, Index channels, Real* planes) const {
    for (Index c = 0; c < channels; ++c) {
      std::fill_n(planes + c * channel, margin, Real(0));
      std::fill(planes + c * channel + margin + images * image, planes + (c + 1) * channel,
                Real(0));
    }
    for (Index i = 0; i < images; ++i)
      for (Index c = 0; c < channels; ++c, from += pixels())
        spread_plane(from, end, planes + c * channel + margin + i * image);
  }
  // Takes a plane that lies in `from` as those here do to number `at` of `to`, and on, each pack or
  // Real as finish(it, its number there). What lies between the plane and number `end` may be
  // spoiled.
  template <class Finish>
  void take_out(const Real* from, Real* to, Index at, Index end, const Finish& finish) const {
    const Index whole = runs_within(end - at, whole_packs(run));
    for (Index r = 0; r < whole; ++r, at += run, from += pitch)
      for (Index j = 0; j < run; j += lanes) store(to + at + j, finish(load(from + j), at + j));
    for (Index r = whole; r < runs; ++r, at += run, from += pitch)
      for (Index j = 0; j < run; ++j) to[at + j] = finish(from[j], at + j);
  }
  // For each pack, the rows of a kernel that meet pixels of the image there, and not only its
  // margin.
  std::vector<Range> kernel_rows(const ConvGeometry& g) const {
    std::vector<Range> rows;
    for (Index first = 0; first < packs * lanes; first += lanes)
      rows.push_back({std::max<Index>(0, g.pad.top - (first + lanes - 1) / row),
                      std::min(g.K, g.H + g.pad.top - first / row)});
    return rows;
  }
  // The other way round: for each row of the kernel, the packs in which it meets them.
  std::vector<Range> packs_of_rows(const ConvGeometry& g) const {
    std::vector<Range> ranges;
    for (Index u = 0; u < g.K; ++u)
      ranges.push_back(
          {std::max<Index>(0, g.pad.top - u) * row / lanes,
           std::min(packs, whole_packs(std::min(g.H, g.H + g.pad.top - u) * row) / lanes)});
    return ranges;
  }
  // How far from an output pixel the input pixel of each tap (c, u, v) is.
  std::vector<Index> tap_offsets(const ConvGeometry& g) const {
    std::vector<Index> offsets;
    for (Index c = 0; c < g.C; ++c)
      for (Index u = 0; u < g.K; ++u)
        for (Index v = 0; v < g.L; ++v)
          offsets.push_back(c * channel + (u - g.pad.top) * row + v - g.pad.left);
    return offsets;
  }

 private:
  // How many runs, one behind another, may be moved by so many Reals each, of so many in all.
  Index runs_within(Index all, Index moved) const {
    return all < moved ? 0 : std::min(runs, (all - moved) / run + 1);
  }
  // With the zeros behind each row and behind the last one.
  void spread_plane(const Real* from, const Real* end, Real* to) const {
    const Index whole = run / lanes * lanes, readable = runs_within(end - from, whole + lanes);
    const Mask inside = first_lanes(run - whole);
    Real* const next = to + image;
    for (Index r = 0; r < readable; ++r, from += run, to += pitch) {
      for (Index j = 0; j < whole; j += lanes) {
        prefetch(from + j);
        store(to + j, load(from + j));
      }
      prefetch(from + whole);
      store(to + whole, inside ? load(from + whole) : Register{});
      for (Index j = whole + lanes; j < pitch; j += lanes) store(to + j, Register{});
    }
    for (Index r = readable; r < runs; ++r, from += run, to += pitch)
      std::fill_n(std::copy_n(from, run, to), pitch - run, Real(0));
    for (; to < next; to += lanes) store(to, Register{});
  }
};

}  // namespace planes
}  // namespace backflow::inline BACKFLOW_PRECISION
