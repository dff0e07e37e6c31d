// The model that a configuration describes.
#pragma once

#include <optional>

#include "backflow/apps/model/config.h"
#include "backflow/flows/density.h"
#include "backflow/flows/sequential.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct ImageShape {
  Index channels = 1, height = 28, width = 28;
  Index size() const { return channels * height * width; }
};
ImageShape image_shape_of(const std::string& dataset);

// The products of matrices, or convolutions, that training cannot do without.
struct NecessaryProducts {
  double flop_per_example = 0, flop_per_step = 0;
  Shape x, w;  // of the largest: one example, (D) or (C, H, W), and weights for matmul or conv2d

  double flop(Index batch) const {
    return static_cast<double>(batch) * flop_per_example + flop_per_step;
  }
};

// How many values a file can give to a model, at most.
struct ParameterBudget {
  std::string file;
  Index values;
};

// A flow over images with pixels 0..255: dequantize, normalize to (0, 1), squeeze into
// (a, 1 - a), logit, and from index 4 on the configuration's layers, with the names and in the
// order of the authors' code, whose state_dicts load.
class Model {
 public:
  // Fails when the images cannot be squeezed as often as the configuration asks; and, before a
  // layer is made, when it and those before it have more parameters than the budget.
  Model(const Config& config, const ImageShape& image,
        const std::optional<ParameterBudget>& budget = {});

  Sequential& flow() { return *flow_; }
  const Sequential& flow() const { return *flow_; }
  const Density& density() const { return density_; }
  const ImageShape& image() const { return image_; }
  Index parameter_count() const;
  bool has_learned_inverse() const { return has_learned_inverse_; }
  // False: training minimises something that lacks log-determinants, though not their gradients, or
  // that has them only nearly.
  bool objective_is_likelihood() const { return objective_is_likelihood_; }
  const NecessaryProducts& necessary_products() const { return products_; }

 private:
  struct Parts;
  Model(Parts parts, const Config& config, const ImageShape& image);
  static Parts build(const Config& config, const ImageShape& image,
                     const std::optional<ParameterBudget>& budget);

  ImageShape image_;
  bool has_learned_inverse_, objective_is_likelihood_;
  NecessaryProducts products_;
  std::unique_ptr<Sequential> flow_;
  Density density_;
};

// Of the model of a configuration, without making it: the steps of a block are alike, so the number
// grows linearly with block_size.
Index parameter_count(Config config, const ImageShape& image);

}  // namespace backflow::inline BACKFLOW_PRECISION
