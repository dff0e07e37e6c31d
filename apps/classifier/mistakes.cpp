#include "backflow/apps/classifier/mistakes.h"

#include <algorithm>

#include "backflow/apps/files/text.h"
#include "backflow/apps/pictures/page.h"

namespace backflow::inline BACKFLOW_PRECISION {

Index Predictions::predicted(Index image) const {
  const Index classes = probabilities.size(1);
  const Real* row = probabilities.data() + image * classes;
  return std::max_element(row, row + classes) - row;
}

double Predictions::probability_of(Index image, Index label) const {
  return probabilities[image * probabilities.size(1) + label];
}

static void check(const char* where, const Predictions& predictions) {
  const Tensor& p = predictions.probabilities;
  const Index images = std::ssize(predictions.labels), classes = std::ssize(predictions.names);
  if (!p.defined() || p.shape() != Shape{images, classes})
    fail(where, "probabilities of shape ", p.defined() ? p.shape() : Shape{}, ", expected (",
         images, ", ", classes, ") for ", images, " labels and ", classes, " names of classes");
  for (const Index label : predictions.labels)
    if (label < 0 || label >= classes)
      fail(where, "found the label ", label, ", expected 0 to ", classes - 1);
}

// ---- The confusion ----------------------------------------------------------------------------

namespace {

// In pixels.
constexpr int field = 56, left_words = 130, top_words = 122, margin = 16;

struct Confusion {
  explicit Confusion(const Predictions& predictions)
      : classes(std::ssize(predictions.names)), counts(classes * classes), totals(classes) {
    for (Index image = 0; image < std::ssize(predictions.labels); ++image) {
      const Index label = predictions.labels[image];
      ++counts[label * classes + predictions.predicted(image)];
      ++totals[label];
    }
  }
  Index at(Index label, Index predicted) const { return counts[label * classes + predicted]; }
  Index mistakes() const {
    Index count = 0;
    for (Index i = 0; i < classes; ++i) count += totals[i] - at(i, i);
    return count;
  }

  Index classes;
  std::vector<Index> counts, totals;  // by class and prediction; by class
};

}  // namespace

// (classes^2, 3, 1, 1). The square root shows a single mistake among a thousand images, too.
static Tensor colours(const Confusion& confusion) {
  const Index classes = confusion.classes;
  Tensor fields = Tensor::full({classes * classes, 3, 1, 1}, 255);
  Real* p = fields.mutable_data();
  for (Index label = 0; label < classes; ++label)
    for (Index predicted = 0; predicted < classes; ++predicted, p += 3) {
      const double part = static_cast<double>(confusion.at(label, predicted)) /
                          static_cast<double>(std::max<Index>(1, confusion.totals[label]));
      const Real depth = static_cast<Real>(std::sqrt(part));
      const bool right = label == predicted;
      p[right ? 0 : 1] -= 140 * depth;
      p[2] -= (right ? 120 : 140) * depth;
    }
  return fields;
}

MistakesPicture save_confusion(const std::filesystem::path& png, const Predictions& predictions) {
  check("save_confusion", predictions);
  const Confusion confusion(predictions);
  const int classes = static_cast<int>(confusion.classes);
  const Index images = std::ssize(predictions.labels), mistakes = confusion.mistakes();
  const Picture fields = image_grid(colours(confusion), classes, 1, field - 1);
  Page page(left_words + fields.width + margin, top_words + fields.height + margin);
  page.place(fields, left_words, top_words);
  page.write(
      text("%lld images, %lld of them taken for something else (%.2f %%)", number(images),
           number(mistakes),
           100 * static_cast<double>(mistakes) / static_cast<double>(std::max<Index>(1, images))),
      margin, 26, Align::left, 14);
  page.write("a row: images of one class; a column: what they were taken for", margin, 50);
  page.write("the deeper a colour, the larger a part of its row", margin, 68);
  const bool long_names = std::any_of(predictions.names.begin(), predictions.names.end(),
                                      [](const std::string& name) { return name.size() > 5; });
  const auto middle = [](int i) { return i * field + field / 2; };
  for (int i = 0; i < classes; ++i) {
    const std::string& name = predictions.names[i];
    page.write(name, left_words - 10, top_words + middle(i), Align::right);
    // Long names would meet: every other one stands higher.
    const int above = long_names && i % 2 ? 30 : 12;
    page.write(name, left_words + middle(i), top_words - above, Align::centre);
    for (int j = 0; j < classes; ++j)
      page.write(std::to_string(confusion.at(i, j)), left_words + middle(j), top_words + middle(i),
                 Align::centre);
  }
  const bool captions = page.save(png);
  return {mistakes, captions};
}

// ---- The mistakes -----------------------------------------------------------------------------

// The surest first; among equals in the order of the images.
static std::vector<Index> surest_mistakes(const Predictions& predictions, Index most) {
  std::vector<Index> mistakes;
  for (Index image = 0; image < std::ssize(predictions.labels); ++image)
    if (predictions.predicted(image) != predictions.labels[image]) mistakes.push_back(image);
  std::stable_sort(mistakes.begin(), mistakes.end(), [&](Index a, Index b) {
    return predictions.confidence(a) > predictions.confidence(b);
  });
  mistakes.resize(std::min<std::size_t>(mistakes.size(), most));
  return mistakes;
}

MistakesPicture save_mistakes(const std::filesystem::path& png, const ImageSet& images,
                              const Predictions& predictions) {
  constexpr int columns = 8, most = 4 * columns, head = 44, step = 164, words = 60;
  check("save_mistakes", predictions);
  if (images.count() != std::ssize(predictions.labels))
    fail("save_mistakes", "found ", images.count(), " images, expected ", predictions.labels.size(),
         ", one for each label");
  const std::vector<Index> shown = surest_mistakes(predictions, most);
  const int count = static_cast<int>(std::ssize(shown));
  if (count == 0) {
    std::filesystem::remove(png);
    return {};
  }
  const int side = std::max(images.height, images.width), scale = std::max(1, 112 / side);
  const int row_step = side * scale + words, rows = (count + columns - 1) / columns;
  const int column_step = std::max(step, side * scale + margin);
  Page page(margin + column_step * columns, head + rows * row_step);
  page.write("The mistakes that the classifier was surest of", margin, 24, Align::left, 14);
  for (int i = 0; i < count; ++i) {
    const auto image = static_cast<std::uint32_t>(shown[i]);
    const Index label = predictions.labels[image], predicted = predictions.predicted(image);
    const int left = margin + i % columns * column_step, top = head + i / columns * row_step;
    page.place(image_grid(to_tensor(images, {&image, 1}), 1, 0, scale), left, top);
    const int below = top + side * scale;
    page.write("true: " + predictions.names[label], left, below + 13, Align::left, 11);
    page.write(text("taken for: %s", predictions.names[predicted].c_str()), left, below + 30,
               Align::left, 11);
  }
  const bool captions = page.save(png);
  return {count, captions};
}

}  // namespace backflow::inline BACKFLOW_PRECISION
