#include "backflow/apps/model/ignored_names.h"

#include "backflow/flows/image/preprocessing.h"
#include "backflow/flows/linear/emerging.h"
#include "backflow/flows/linear/linear.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

struct LayerNames {
  bool (*is_of)(const Flow& layer);
  std::vector<std::string> names;  // behind the layer's index and a dot
};

template <class Layer>
bool is(const Flow& layer) {
  return dynamic_cast<const Layer*>(&layer) != nullptr;
}

// A layer has one row at most.
const std::vector<LayerNames>& table() {
  static const std::vector<LayerNames> rows{
      {is<Dequantization>, {"distribution.empty"}},
      {is<Normalization>, {"translation", "scale"}},
      {is<Exact>, {"weight_inv"}},  // the authors' layer has one, whichever gradient it takes
      {is<Emerging>, {"transformations.1.mask", "transformations.3.mask"}},
  };
  return rows;
}

}  // namespace

std::vector<std::string> ignored_names(const Sequential& flow) {
  std::vector<std::string> all;
  for (std::size_t i = 0; i < flow.layers().size(); ++i)
    for (const LayerNames& row : table())
      if (row.is_of(*flow.layers()[i]))
        for (const std::string& name : row.names) all.push_back(std::to_string(i) + "." + name);
  return all;
}

}  // namespace backflow::inline BACKFLOW_PRECISION
