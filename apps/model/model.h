// The model that a configuration describes.
#pragma once

#include <optional>

#include "backflow/apps/data/images.h"
#include "backflow/apps/model/contexts.h"
#include "backflow/apps/model/site.h"
#include "backflow/flows/density.h"
#include "backflow/flows/sequential.h"

namespace backflow::inline BACKFLOW_PRECISION {

// A flow over images with pixels 0..255: dequantize, normalize to (0, 1), squeeze into
// (a, 1 - a), logit, and from index 4 on the configuration's layers, with the names and in the
// order of the authors' code, whose state_dicts load. A flow of whole numbers takes the pixels as
// they are: there are but the configuration's layers, and a base of whole numbers.
class Model {
 public:
  // Fails when the images cannot be squeezed as often as the configuration asks; and, before a
  // layer is made, when it and those before it have more parameters than the budget.
  Model(const Config& config, const ImageShape& image,
        const std::optional<ParameterBudget>& budget = {});

  Sequential& flow() { return *flow_; }
  const Sequential& flow() const { return *flow_; }
  const Density& density() const { return *density_; }
  const ImageShape& image() const { return image_; }
  // What each walk must be given beside the images.
  const ContextRow& context() const { return context_; }
  Index parameter_count() const;
  bool has_learned_inverse() const { return flow_->has_learned_inverse(); }
  // False: training minimises something that lacks log-determinants, though not their gradients, or
  // that has them only nearly.
  bool objective_is_likelihood() const { return flow_->exact_in_training(); }
  // False: its log-likelihood is to be had as an unbiased estimate only, from random probes.
  bool has_exact_likelihood() const { return exact_likelihood_; }
  // Its likelihood is the probability of an image, not a density of images with noise.
  bool is_of_whole_numbers() const { return base_ != nullptr; }

 private:
  struct Parts;
  Model(Parts parts, const ImageShape& image, const ContextRow& context);
  static Parts build(const Config& config, const ImageShape& image,
                     const std::optional<ParameterBudget>& budget);

  ImageShape image_;
  const ContextRow& context_;
  bool exact_likelihood_;
  std::unique_ptr<Sequential> flow_;
  std::unique_ptr<Base> base_;  // null: the standard normal
  std::unique_ptr<Density> density_;
};

// How many parameters the model of a configuration has, without making it: the steps of a block are
// alike, so the number grows linearly with block_size.
Index parameter_count(Config config, const ImageShape& image);

}  // namespace backflow::inline BACKFLOW_PRECISION
