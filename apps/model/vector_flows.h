// The flows on vectors, (B, D), that a configuration can name as its layer: each is all of the
// model, num_layers layers with networks of `depth` hidden layers of `width` units, and otherwise
// what its function in flows/ makes of it by itself.
#pragma once

#include "backflow/apps/model/site.h"

namespace backflow::inline BACKFLOW_PRECISION {

std::unique_ptr<Flow> make_nice(const Site& site);
std::unique_ptr<Flow> make_real_nvp(const Site& site);
std::unique_ptr<Flow> make_maf(const Site& site);
std::unique_ptr<Flow> make_neural_spline_coupling(const Site& site);

// Of their networks; those of MAF's masked weights without regard to the masks.
std::vector<Product> nice_products(const Site& site);
std::vector<Product> real_nvp_products(const Site& site);
std::vector<Product> maf_products(const Site& site);
std::vector<Product> neural_spline_coupling_products(const Site& site);

}  // namespace backflow::inline BACKFLOW_PRECISION
