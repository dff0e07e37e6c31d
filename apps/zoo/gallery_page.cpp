#include "backflow/apps/zoo/gallery_page.h"

#include <algorithm>

#include "backflow/apps/pictures/colours.h"
#include "backflow/apps/pictures/page.h"
#include "backflow/apps/zoo/figures.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// In pixels: twice what they are where the page is shown, 880 wide.
constexpr int columns = 4, margin = 34, gap = 20, head = 120, foot = 24;
constexpr int between = 8;                              // between a true and a learned density
constexpr int cell_width = 2 * gallery_side + between;  // as wide as seven digits of MNIST
constexpr int words_height = 66, row_gap = 26;
constexpr int images_height = 234;  // four rows of digits
constexpr int page_width = 2 * margin + columns * cell_width + (columns - 1) * gap;

constexpr Rgb paper{0x12, 0x10, 0x1c}, ink{0xf4, 0xee, 0xe6};

int left_of(std::size_t cell) {
  return margin + static_cast<int>(cell % columns) * (cell_width + gap);
}

void write_words(Page& page, const std::string& name, const std::string& caption, int left,
                 int top) {
  page.write(name, left, top + 20, Align::left, 16, Weight::bold);
  page.write(caption, left, top + 48, Align::left, 15, Weight::light);
}

void place(Page& page, const GalleryDensity& flow, int left, int top) {
  const double brightest = brightest_of(flow.truth);
  page.place(heat_map(flow.truth, brightest), left, top);
  page.place(heat_map(flow.learned, brightest), left + gallery_side + between, top);
  write_words(page, flow.name, flow.caption, left, top + gallery_side);
}

// The upper left corner of a gray picture, as large as a cell, in the colours of the densities.
Picture corner_of(const Picture& picture) {
  if (picture.channels != 1)
    fail("gallery", "samples in ", picture.channels, " channels, expected gray ones");
  constexpr Real white = 255;
  const Index height = std::min(picture.height, images_height);
  const Index width = std::min(picture.width, cell_width);
  Tensor corner = Tensor::empty({height, width});
  Real* to = corner.mutable_data();
  for (Index row = 0; row < height; ++row)
    for (Index column = 0; column < width; ++column)
      *to++ = picture.pixels[row * picture.width + column] / white;
  return in_magma(corner);
}

void place(Page& page, const GalleryImages& flow, int left, int top) {
  page.place(corner_of(flow.samples), left, top);
  write_words(page, flow.name, flow.caption, left, top + images_height);
}

// How to read the page, and which brightness is which density.
void write_key(Page& page, int left, int top) {
  constexpr int bar_height = 24;
  page.write("density, from 0 to the highest true one", left, top + 14, Align::left, 14,
             Weight::light);
  Tensor bar = Tensor::empty({bar_height, cell_width});
  Real* to = bar.mutable_data();
  for (Index i = 0; i < bar.size(); ++i)
    to[i] = static_cast<Real>(i % cell_width) / static_cast<Real>(cell_width - 1);
  page.place(heat_map(bar, 1), left, top + 36);
  int y = top + 92;
  for (const char* line :
       {"KL: how far apart the two are, in nats,", "by 20,000 samples of the true density;",
        "of u1 to u4, by the flow's own.", "s: seconds of training"}) {
    page.write(line, left, y, Align::left, 14, Weight::light);
    y += 32;
  }
}

}  // namespace

bool save_gallery(const std::filesystem::path& png, const std::vector<GalleryDensity>& densities,
                  const std::vector<GalleryImages>& images) {
  const int rows = static_cast<int>((densities.size() + columns - 1) / columns);
  constexpr int row_step = gallery_side + words_height + row_gap;
  const int images_top = head + rows * row_step;
  Page page(page_width, images_top + images_height + words_height + foot, paper, ink);
  page.write("backflow's zoo of normalizing flows", margin, 46, Align::left, 28, Weight::bold);
  page.write(
      "In each pair the true density is at the left, and what the flow has learned of it at "
      "the right.",
      margin, 90, Align::left, 16, Weight::light);
  for (std::size_t i = 0; i < densities.size(); ++i)
    place(page, densities[i], left_of(i), head + static_cast<int>(i) / columns * row_step);
  for (std::size_t i = 0; i < images.size(); ++i) place(page, images[i], left_of(i), images_top);
  write_key(page, left_of(images.size()), images_top);
  return page.save(png);
}

}  // namespace backflow::inline BACKFLOW_PRECISION
