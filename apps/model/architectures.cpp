#include "backflow/apps/model/architectures.h"

#include "backflow/apps/data/purposes.h"
#include "backflow/apps/model/activations.h"
#include "backflow/apps/model/layers.h"
#include "backflow/flows/image/actnorm.h"
#include "backflow/flows/image/coupling.h"
#include "backflow/flows/image/flatten.h"
#include "backflow/flows/image/squeeze.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

std::vector<Product> no_products(const Site&) { return {}; }

// The shapes of a coupling's three convolutions, which a split prior has as well.
std::vector<Shape> coupling_kernels(const Site& site) {
  const Index width = site.config.width;
  return {{width, site.C / 2, 3, 3}, {width, width, 1, 1}, {site.C, width, 3, 3}};
}

// Value, gradient of the input, gradient of the weights.
std::vector<Product> coupling_products(const Site& site) {
  std::vector<Product> all;
  for (const Shape& w : coupling_kernels(site)) all.push_back({3, {w[1], site.H, site.W}, w});
  return all;
}

template <class Layer>
std::unique_ptr<Flow> make_coupling(const Site& site) {
  Index parameters = 0;
  for (const Shape& w : coupling_kernels(site)) parameters += w.size();
  site.claim(parameters);
  return std::make_unique<Layer>(site.C, site.config.width, site.random);
}

// Adds one part after another and keeps account of the shape of an example on its way.
class Planner {
 public:
  Planner(const Config& config, const ImageShape& image)
      : c_(config),
        layer_(layers()[c_.layer]),
        activation_(activations()[c_.activation]),
        C_(image.channels),
        H_(image.height),
        W_(image.width) {}

  Plan fully_connected() && {
    for (Index i = 0; i < c_.num_layers; ++i) {
      if (i > 0) activation();
      add(layer_.make, layer_.products, true, numbers(i));
    }
    return {std::move(parts_), {C_ * H_ * W_}};
  }

  Plan vector() && {
    add([](const Site& site) -> std::unique_ptr<Flow> {
      return std::make_unique<Flatten>(Shape{site.C, site.H, site.W});
    });
    add(layer_.make, layer_.products, true, numbers(0));
    return {std::move(parts_), {C_ * H_ * W_}};
  }

  Plan convolutions() && {
    for (Index block = 0; block < c_.num_blocks; ++block) {
      if (block > 0) squeeze();
      for (Index i = 0; i < c_.block_size; ++i) {
        layer();
        if (block < c_.num_blocks - 1 || i < c_.block_size - 1) activation();
      }
    }
    return {std::move(parts_), {C_, H_, W_}};
  }

  Plan glow() && {
    for (Index block = 0; block < c_.num_blocks; ++block) {
      squeeze();
      for (Index i = 0; i < c_.block_size; ++i) {
        add([](const Site& site) -> std::unique_ptr<Flow> {
          return std::make_unique<ActNorm>(site.C);
        });
        layer();
        add(make_coupling<ImageCoupling>, coupling_products);
      }
      if (block == c_.num_blocks - 1) continue;
      add(make_coupling<SplitPrior>, coupling_products);
      C_ /= 2;
    }
    return {std::move(parts_), {C_, H_, W_}};
  }

 private:
  using Make = std::unique_ptr<Flow> (*)(const Site&);
  using Products = std::vector<Product> (*)(const Site&);

  Random numbers(Index index) const {
    return Random(c_.seed, purposes::initialization, static_cast<std::uint32_t>(index));
  }

  void add(Make make, Products products, bool flat, const Random& random) {
    parts_.push_back({{c_, C_, H_, W_, flat, random}, make, products});
  }
  void add(Make make, Products products = no_products) {
    add(make, products, false, numbers(std::ssize(parts_)));
  }
  void layer() { add(layer_.make, layer_.products); }
  void activation() { add(activation_.make); }

  void squeeze() {
    if (H_ % 2 != 0 || W_ % 2 != 0)
      fail("num_blocks", "images of ", H_, " x ", W_,
           " cannot be squeezed to half their size, but ", c_.num_blocks,
           " blocks ask for it; take fewer blocks, or images of another size");
    add([](const Site&) -> std::unique_ptr<Flow> { return std::make_unique<Squeeze>(); });
    C_ *= 4, H_ /= 2, W_ /= 2;
  }

  const Config& c_;
  const LayerRow& layer_;
  const ActivationRow& activation_;
  std::vector<Part> parts_;
  Index C_, H_, W_;
};

// ---- In words -----------------------------------------------------------------------------------

// "exact 3x3"; "exact conv 3x3" where the model needs the noun; or what the layer is called.
std::string layer_in_words(const Config& c, const std::string& noun, const std::string& plural) {
  const LayerRow& layer = layers()[c.layer];
  const std::string side = std::to_string(c.kernel_size);
  return layer.words + (layer.has_kernel_size ? noun + " " + side + "x" + side : plural);
}

std::string describe_fully_connected(const Config& c) {
  return std::to_string(c.num_layers) + " " + layers()[c.layer].words + " FC, " +
         activations()[c.activation].words;
}

std::string describe_convolutions(const Config& c) {
  const Index count = c.num_blocks * c.block_size;
  return std::to_string(count) + " " + layer_in_words(c, " conv", count == 1 ? "" : "s") + ", " +
         std::to_string(c.num_blocks) + (c.num_blocks == 1 ? " block, " : " blocks, ") +
         activations()[c.activation].words;
}

std::string describe_glow(const Config& c) {
  return "Glow L=" + std::to_string(c.num_blocks) + " K=" + std::to_string(c.block_size) + ", " +
         layer_in_words(c, "", "");
}

// "MAF, 5 layers, networks 2 x 1024, given the label"
std::string describe_vector(const Config& c) {
  const std::string nets =
      c.depth == 0 ? "affine networks"
                   : "networks " + std::to_string(c.depth) + " x " + std::to_string(c.width);
  return layers()[c.layer].words + ", " + std::to_string(c.num_layers) +
         (c.num_layers == 1 ? " layer, " : " layers, ") + nets +
         (c.context == "none" ? "" : ", given the " + c.context);
}

}  // namespace

const Table<ArchitectureRow>& architectures() {
  static const Table<ArchitectureRow> all(
      "architecture",
      {{"fc", "num_layers fully connected layers, an activation between them", false,
        [](const Config& c, const ImageShape& image) {
          return Planner(c, image).fully_connected();
        },
        describe_fully_connected},
       {"cnn", "num_blocks blocks of block_size convolutions and activations", true,
        [](const Config& c, const ImageShape& image) { return Planner(c, image).convolutions(); },
        describe_convolutions},
       {"glow", "num_blocks blocks of block_size steps: actnorm, convolution, coupling", true,
        [](const Config& c, const ImageShape& image) { return Planner(c, image).glow(); },
        describe_glow},
       {"vector", "one flow on all pixels as a vector: num_layers layers, networks in each", false,
        [](const Config& c, const ImageShape& image) { return Planner(c, image).vector(); },
        describe_vector}});
  return all;
}

Plan plan_of(const Config& config, const ImageShape& image) {
  return architectures()[config.architecture].plan(config, image);
}

}  // namespace backflow::inline BACKFLOW_PRECISION
