#include "backflow/apps/pictures/filters.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "backflow/apps/files/png.h"
#include "backflow/apps/files/text.h"
#include "backflow/apps/pictures/page.h"
#include "backflow/ops/conv.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// In pixels.
constexpr int margin = 24, head = 62, panel_head = 46, panel_gap = 36;
constexpr int least_panel = 252;  // so wide are the words above it
constexpr int bar_gap = 18, bar_width = 242, bar_height = 14, foot = 34;

struct Panel {
  std::string name, meaning;
  Tensor weights;
};

Real largest(const Tensor& w) {
  Real most = 0;
  for (Index i = 0; i < w.size(); ++i) most = std::max(most, std::abs(w[i]));
  return most;
}

// (O, C, K, L) -> (O C, 3, K, L), red, green and blue from 0 to 255. The depth of the colour is the
// square root of the weight over the largest one: the taps beside the centre are often a hundredth
// of it, and are to be seen as well.
Tensor coloured(const Tensor& w) {
  const Shape one{w.size(0) * w.size(1), 1, w.size(2), w.size(3)};
  const Real most = std::max(largest(w), std::numeric_limits<Real>::min());
  const Tensor x = pointwise(w.reshape(one), [=](Real v) {
    return std::copysign(255 * std::sqrt(std::abs(v) / most), v);
  });
  const auto without = [](Real amount) { return 255 - std::max<Real>(0, amount); };
  const Tensor red = pointwise(x, [=](Real v) { return without(-v); });
  const Tensor green = pointwise(x, [=](Real v) { return without(std::abs(v)); });
  const Tensor blue = pointwise(x, [=](Real v) { return without(v); });
  return concat({red, green, blue}, 1);
}

// Each weight as a square, so large that the whole is about 290 pixels wide.
Picture kernels(const Tensor& w) {
  const int columns = static_cast<int>(w.size(1));
  const int scale = static_cast<int>(std::clamp<Index>(288 / (columns * w.size(3)), 4, 64));
  return image_grid(coloured(w), columns, 1, scale);
}

// From the least weight to the largest, each quarter of the way being a quarter of the depth.
Picture colour_bar() {
  Tensor bar = Tensor::empty({1, 1, bar_height - 2, bar_width - 2});
  Real* p = bar.mutable_data();
  for (Index i = 0; i < bar.size(); ++i) {
    const Real depth = 2 * static_cast<Real>(i % bar.size(3)) / static_cast<Real>(bar.size(3) - 1);
    p[i] = (depth - 1) * std::abs(depth - 1);
  }
  return image_grid(coloured(bar), 1, 1);
}

void write_scale(Page& page, double most, int left, int top) {
  page.place(colour_bar(), left, top);
  for (int tick = -2; tick <= 2; ++tick) {
    const Align align = tick == -2 ? Align::left : tick == 2 ? Align::right : Align::centre;
    page.write(text("%.2g", most * tick * std::abs(tick) / 4), left + bar_width * (tick + 2) / 4,
               top + bar_height + 12, align, 11);
  }
}

// Whether the words are there.
bool save_panels(const std::filesystem::path& png, const std::string& title,
                 const std::vector<Panel>& panels) {
  const Picture first =
      kernels(panels[0].weights);  // all are of one size, but for rows and columns
  const int side = std::max(first.width, first.height), step = std::max(side, least_panel);
  const int count = static_cast<int>(std::ssize(panels)), top = head + panel_head;
  Page page(2 * margin + count * step + (count - 1) * panel_gap,
            top + side + bar_gap + bar_height + foot);
  page.write(title, margin, 24, Align::left, 15);
  page.write(
      "a row per output channel, a column per input channel; the bars are the colours' scales",
      margin, 48);
  int left = margin;
  for (const Panel& panel : panels) {
    page.write(panel.name, left, head + 16, Align::left, 14);
    page.write(panel.meaning, left, head + 34, Align::left, 11);
    page.place(kernels(panel.weights), left, top);
    write_scale(page, largest(panel.weights), left, top + side + bar_gap);
    left += step + panel_gap;
  }
  return page.save(png);
}

}  // namespace

FilterPictures save_filters(const std::filesystem::path& dir, const Model& model) {
  std::map<std::string, Tensor> parameters;
  for (const auto& [name, parameter] : model.flow().parameters())
    parameters[name] = parameter->value();
  FilterPictures pictures;
  for (const auto& [name, W] : parameters) {
    const std::string layer = name.substr(0, name.find('.'));
    const auto R = parameters.find(layer + ".weight_inv");
    if (name != layer + ".weight_fwd" || R == parameters.end()) continue;
    if (W.rank() != 4 || W.size(2) * W.size(3) == 1) continue;
    std::filesystem::create_directories(dir);
    const std::string number = (layer.size() < 2 ? "0" : "") + layer;
    const bool captions =
        save_panels(dir / ("layer_" + number + ".png"),
                    text("layer %s: filters of %lld x %lld weights", layer.c_str(),
                         backflow::number(W.size(2)), backflow::number(W.size(3))),
                    {{"W", "the weights", W},
                     {"R", "the learned inverse's weights", R->second},
                     {"R flipped", "stands for W^-T in W's gradient", flip_kernel(R->second)}});
    pictures.captions = pictures.captions && captions;
    ++pictures.files;
  }
  return pictures;
}

}  // namespace backflow::inline BACKFLOW_PRECISION
