// The layers that a configuration can name: square linear maps, fully connected or convolutional.
//
// A new one is a row in layers.cpp, beside the files of its flow.
#pragma once

#include "backflow/apps/model/site.h"
#include "backflow/apps/model/table.h"

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

  bool suits(const std::string& architecture) const;
};

const Table<LayerRow>& layers();
// Fails unless there is such a layer that suits the architecture, and lists those that do.
void check_layer(const std::string& layer, const std::string& architecture);

}  // namespace backflow::inline BACKFLOW_PRECISION
