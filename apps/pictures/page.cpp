#include "backflow/apps/pictures/page.h"

#include <algorithm>
#include <locale>
#include <sstream>

#include "backflow/apps/pictures/gnuplot.h"

namespace backflow::inline BACKFLOW_PRECISION {

static constexpr int channels = 3, white = 255;

Page::Page(int width, int height, Rgb paper, Rgb ink)
    : pictures_{channels, height, width, {}}, ink_(ink) {
  if (width < 1 || height < 1)
    fail("Page", "a page of ", height, " x ", width, " pixels, expected sides of at least 1");
  const std::size_t pixels = static_cast<std::size_t>(width) * height;
  pictures_.pixels.reserve(pixels * channels);
  for (std::size_t i = 0; i < pixels; ++i)
    pictures_.pixels.insert(pictures_.pixels.end(), {paper.red, paper.green, paper.blue});
}

void Page::place(const Picture& picture, int left, int top) {
  if (left < 0 || top < 0 || picture.width > pictures_.width - left ||
      picture.height > pictures_.height - top)
    fail("Page", "a picture of ", picture.height, " x ", picture.width, " pixels at row ", top,
         " and column ", left, ", expected one within the page's ", pictures_.height, " x ",
         pictures_.width);
  const std::uint8_t* from = picture.pixels.data();
  for (int row = 0; row < picture.height; ++row) {
    std::uint8_t* to = pictures_.pixels.data() +
                       (static_cast<std::size_t>(top + row) * pictures_.width + left) * channels;
    for (int column = 0; column < picture.width; ++column, from += picture.channels)
      for (int channel = 0; channel < channels; ++channel)
        *to++ = from[picture.channels == 1 ? 0 : channel];
  }
}

void Page::write(const std::string& words, int x, int y, Align align, int size, Weight weight) {
  words_.push_back({words, x, y, align, size, weight});
}

// A plot of nothing, as large as the page, whose labels are the words.
std::string Page::script() const {
  std::ostringstream script;
  script.imbue(std::locale::classic());
  script << "if (strstrt(GPVAL_TERMINALS, 'pngcairo')) {\n"
         << "  set terminal pngcairo noenhanced background '#ffffff' size " << pictures_.width
         << "," << pictures_.height << "\n} else {\n  set terminal png truecolor noenhanced size "
         << pictures_.width << "," << pictures_.height << "\n}\n"
         << "unset border\nunset tics\nunset key\nset margins 0, 0, 0, 0\n";
  for (const Words& words : words_) {
    // gnuplot counts from the left lower corner.
    script << "set label " << plot_string(words.text) << " at screen "
           << static_cast<double>(words.x) / pictures_.width << ", screen "
           << 1 - static_cast<double>(words.y) / pictures_.height
           << (words.align == Align::left     ? " left"
               : words.align == Align::centre ? " centre"
                                              : " right")
           << " font 'Sans" << (words.weight == Weight::bold ? ":Bold" : "") << ',' << words.size
           << (words.weight == Weight::light ? "' textcolor '#686868'\n" : "'\n");
  }
  script << "plot [0:1] [0:1] NaN\n";
  return script.str();
}

// gnuplot draws the words black on white: the darker a pixel of theirs, the more ink.
bool Page::add_words(Picture& page) const try {
  if (words_.empty()) return true;
  const std::string png = draw_plot(script());
  if (png.empty()) return false;
  const Picture words = decode_png(png, channels, "gnuplot");
  if (words.pixels.size() != page.pixels.size()) return false;
  const int ink[channels] = {ink_.red, ink_.green, ink_.blue};
  for (std::size_t i = 0; i < page.pixels.size(); ++i) {
    const int paper = words.pixels[i];
    page.pixels[i] = static_cast<std::uint8_t>(
        (page.pixels[i] * paper + ink[i % channels] * (white - paper)) / white);
  }
  return true;
} catch (const Error&) {
  return false;  // a gnuplot of old draws another kind of PNG
}

bool Page::save(const std::filesystem::path& png) const {
  Picture page = pictures_;
  const bool has_words = add_words(page);
  write_png(png, page);
  return has_words;
}

}  // namespace backflow::inline BACKFLOW_PRECISION
