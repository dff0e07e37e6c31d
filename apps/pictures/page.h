// Pictures and words on a page: what a picture shows is written beside it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "backflow/apps/pictures/colours.h"

namespace backflow::inline BACKFLOW_PRECISION {

enum class Align { left, centre, right };
enum class Weight { light, regular, bold };  // light: with less ink

// Places are in pixels from the page's left upper corner.
class Page {
 public:
  Page(int width, int height, Rgb paper = white_paper, Rgb ink = black_ink);

  // Its left upper corner at (left, top). Its pixels stay as they are, but where words cross them.
  // Fails when the picture does not lie within the page.
  void place(const Picture& picture, int left, int top);

  // A line of words, whose middle is at `y`, and whose left end, middle or right end is at `x`. The
  // size is that of the font.
  void write(const std::string& words, int x, int y, Align align = Align::left, int size = 12,
             Weight weight = Weight::regular);

  // Writes the page as an RGB picture, atomically. gnuplot draws the words: where it is missing or
  // fails, the page is the same without them, and the result is false. Throws an Error when the
  // file cannot be written.
  bool save(const std::filesystem::path& png) const;

 private:
  struct Words {
    std::string text;
    int x, y;
    Align align;
    int size;
    Weight weight;
  };

  std::string script() const;
  bool add_words(Picture& page) const;

  Picture pictures_;
  Rgb ink_;
  std::vector<Words> words_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION
