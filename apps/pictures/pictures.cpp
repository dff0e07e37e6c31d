#include "backflow/apps/pictures/pictures.h"

#include <algorithm>
#include <cmath>

#include "backflow/apps/data/purposes.h"
#include "backflow/apps/files/png.h"
#include "backflow/apps/files/text.h"
#include "backflow/apps/pictures/page.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {

static constexpr int scale = 2, padding = 2;  // pixels
static constexpr int line_step = 18;          // between the middles of two lines of words
static constexpr int largest_pixel = 255;

static Tensor as_images(const Tensor& x, const ImageShape& image) {
  return x.reshape({x.size(0), image.channels, image.height, image.width});
}

// A NaN stays one, to be refused when it is drawn.
static Tensor within_range(const Tensor& x) {
  return pointwise(x, [](Real v) { return v < 0 ? Real(0) : v > largest_pixel ? Real(255) : v; });
}

static Tensor distances(const Tensor& a, const Tensor& b) {
  return pointwise("difference", within_range(a), within_range(b),
                   [](Real x, Real y) { return std::abs(x - y); });
}

double mean_difference(const Tensor& a, const Tensor& b) {
  return mean(distances(a, b)).item() / largest_pixel;
}

// ---- Samples ----------------------------------------------------------------------------------

Index sample_count(const Model& model, const SampleOptions& options) {
  const Index kinds = model.context().width;
  return options.count > 0 ? options.count : kinds > 0 ? 8 * kinds : 64;
}

Tensor draw_samples(const Model& model, const SampleOptions& options) {
  const Index count = sample_count(model, options);
  Pass pass;
  pass.inverse = options.inverse;
  pass.context = model.context().in_turn(count);
  const Random latents(options.seed, purposes::sampling);
  return as_images(model.density().sample(count, latents, options.temperature, pass),
                   model.image());
}

static Picture square_of(const Tensor& samples) {
  const auto count = static_cast<double>(samples.size(0));
  return image_grid(samples, static_cast<int>(std::ceil(std::sqrt(count))), padding, scale);
}

// A row for each kind; where one is short of a sample, it ends in black.
static Picture rows_of_kinds(const Tensor& samples, Index kinds) {
  const Index count = samples.size(0), size = samples.size() / std::max<Index>(1, count);
  const Index columns = (count + kinds - 1) / kinds;
  Shape shape = samples.shape();
  shape[0] = std::min(kinds, count) * columns;
  Tensor rows = Tensor::zeros(shape);
  Real* const to = rows.mutable_data();
  for (Index i = 0; i < count; ++i)
    std::copy_n(samples.data() + i * size, size, to + (i % kinds * columns + i / kinds) * size);
  return image_grid(rows, static_cast<int>(columns), padding, scale);
}

static Picture picture_of(const Tensor& samples, Index kinds) {
  return kinds > 0 ? rows_of_kinds(samples, kinds) : square_of(samples);
}

void save_samples(const std::filesystem::path& path, const Tensor& samples, Index kinds) {
  write_png(path, picture_of(samples, kinds));
}

void save_samples(const std::filesystem::path& path, const Model& model,
                  const SampleOptions& options) {
  save_samples(path, draw_samples(model, options), model.context().width);
}

bool save_captioned_samples(const std::filesystem::path& path, const Tensor& samples,
                            const std::vector<std::string>& lines, Index kinds) {
  const Picture square = picture_of(samples, kinds);
  std::size_t longest = 0;
  for (const std::string& line : lines) longest = std::max(longest, line.size());
  const int words = 8 * static_cast<int>(longest) + 16;  // about as wide as they are drawn
  const int count = static_cast<int>(std::ssize(lines));
  Page page(std::max(square.width, words), square.height + (count + 1) * line_step);
  page.place(square, 0, 0);
  for (int i = 0; i < count; ++i)
    page.write(lines[i], padding + 2, square.height + (i + 1) * line_step);
  return page.save(path);
}

// ---- Reconstructions --------------------------------------------------------------------------

// Small images are drawn larger, so that three lines of words fit beside a row of them.
static int scale_beside_words(const Tensor& images) {
  const Index least = 3 * line_step + padding;
  return std::max(scale, static_cast<int>((least + images.size(2) - 1) / images.size(2)));
}

Reconstruction save_reconstruction(const std::filesystem::path& path, const Model& model,
                                   const Tensor& images, Inverse inverse, const Tensor& context) {
  constexpr int words = 180;  // as wide as those at the left
  const NoGrad no_grad;
  Pass pass;
  pass.inverse = inverse;
  pass.context = context;
  pass.probes = Random(0, purposes::probing);  // where a log-determinant is estimated: not needed
  const Tensor z = model.flow().forward(images, pass).z.value();
  const Tensor back = within_range(as_images(model.flow().inverse(z, pass), model.image()));
  const Tensor difference = distances(images, back);
  const double apart = mean_difference(images, back);
  const Picture grid =
      image_grid(concat({images, back, difference}, 0), static_cast<int>(images.size(0)), padding,
                 scale_beside_words(images));
  const std::string which = model.has_learned_inverse() && inverse == Inverse::learned
                                ? "through the learned"
                                : "through the exact";
  Page page(words + grid.width, grid.height);
  page.place(grid, words, 0);
  const std::vector<std::vector<std::string>> rows = {
      {"original"},
      {"reconstruction", which, "inverse"},
      {"|difference|,", text("mean %.2g of a", apart), "pixel's range"}};
  const int row_step = (grid.height - padding) / 3;
  for (int row = 0; row < 3; ++row) {
    const int count = static_cast<int>(std::ssize(rows[row]));
    const int first = row * row_step + (padding + row_step - (count - 1) * line_step) / 2;
    for (int i = 0; i < count; ++i)
      page.write(rows[row][i], words - 10, first + i * line_step, Align::right);
  }
  const bool captions = page.save(path);
  return {apart, captions};
}

}  // namespace backflow::inline BACKFLOW_PRECISION
