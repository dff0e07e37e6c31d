// The layers that a configuration can name: square linear maps, fully connected or
// convolutional; and flows that are all of the model.
//
// A new one is a row in layers.cpp, beside the files of its flow.
#pragma once

#include <limits>

#include "backflow/apps/model/site.h"
#include "backflow/apps/model/table.h"
#include "backflow/flows/bases.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct LayerRow {
  std::string name, help;
  std::vector<std::string> architectures;  // that it suits
  // As a description of the model says it: "exact", of which there are kernels of several sizes; or
  // with a noun, "emerging convolution", whose size is its own.
  std::string words;
  bool has_kernel_size;     // that of the configuration
  bool has_reconstruction;  // a reconstruction loss, of the configuration's weight
  std::unique_ptr<Flow> (*make)(const Site& site);
  std::vector<Product> (*products)(const Site& site);  // for the bench, which times them

  bool takes_context = false;  // that of the configuration
  // Of a flow of whole numbers, its base: then the model takes the pixels as they are. Null: they
  // are dequantized and stretched by the logit, and the base is standard normal.
  std::unique_ptr<Base> (*make_base)(const Site& site) = nullptr;
  // Of images of more numbers the likelihood is not computed but estimated.
  Index most_exact = std::numeric_limits<Index>::max();

  bool suits(const std::string& architecture) const;
};

const Table<LayerRow>& layers();
// Fails unless there is such a layer that suits the architecture, and lists those that do.
void check_layer(const std::string& layer, const std::string& architecture);
// Fails unless there is such a context, and the layer takes it.
void check_layer_context(const std::string& context, const std::string& layer);

}  // namespace backflow::inline BACKFLOW_PRECISION
