#include "backflow/apps/pictures/filters.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "backflow/apps/files/png.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

Real largest(const Tensor& w) {
  Real most = 0;
  for (Index i = 0; i < w.size(); ++i) most = std::max(most, std::abs(w[i]));
  return most;
}

// (O, C, K, L) -> (O C, 3, K, L), red, green and blue from 0 to 255.
Tensor coloured(const Tensor& w) {
  const Shape one{w.size(0) * w.size(1), 1, w.size(2), w.size(3)};
  const Real scale = 255 / std::max(largest(w), std::numeric_limits<Real>::min());
  const Tensor x = w.reshape(one) * scale;
  const auto without = [](Real amount) { return 255 - std::max<Real>(0, amount); };
  const Tensor red = pointwise(x, [=](Real v) { return without(-v); });
  const Tensor green = pointwise(x, [=](Real v) { return without(std::abs(v)); });
  const Tensor blue = pointwise(x, [=](Real v) { return without(v); });
  return concat({red, green, blue}, 1);
}

// Two pictures side by side.
Picture beside(const Picture& left, const Picture& right, int gap) {
  Picture both{left.channels, left.height, left.width + gap + right.width, {}};
  for (int row = 0; row < left.height; ++row) {
    const auto append = [&](const Picture& p) {
      const auto begin = p.pixels.begin() + std::ptrdiff_t{row} * p.width * p.channels;
      both.pixels.insert(both.pixels.end(), begin, begin + std::ptrdiff_t{p.width} * p.channels);
    };
    append(left);
    both.pixels.insert(both.pixels.end(), static_cast<std::size_t>(gap * left.channels), 0);
    append(right);
  }
  return both;
}

}  // namespace

int save_filters(const std::filesystem::path& dir, const Model& model) {
  constexpr int padding = 1, scale = 8;
  std::map<std::string, Tensor> parameters;
  for (const auto& [name, parameter] : model.flow().parameters())
    parameters[name] = parameter->value();
  int files = 0;
  for (const auto& [name, W] : parameters) {
    const std::string layer = name.substr(0, name.find('.'));
    const auto R = parameters.find(layer + ".weight_inv");
    if (name != layer + ".weight_fwd" || R == parameters.end()) continue;
    if (W.rank() != 4 || W.size(2) * W.size(3) == 1) continue;
    std::filesystem::create_directories(dir);
    const int columns = static_cast<int>(W.size(1));
    const std::string number = (layer.size() < 2 ? "0" : "") + layer;
    write_png(dir / ("layer_" + number + ".png"),
              beside(image_grid(coloured(W), columns, padding, scale),
                     image_grid(coloured(R->second), columns, padding, scale), 2 * scale));
    ++files;
  }
  return files;
}

}  // namespace backflow::inline BACKFLOW_PRECISION
