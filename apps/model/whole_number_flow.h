// Integer discrete flows over images: their pixels are whole numbers and stay such, so the model
// gives them a probability, of which -log2 is the length of a code.
#pragma once

#include "backflow/apps/model/site.h"
#include "backflow/flows/bases.h"

namespace backflow::inline BACKFLOW_PRECISION {

// num_layers couplings, with networks of `depth` hidden layers of `width` units. A coupling
// transforms a quarter of the pixels, and these lie among the others: so the networks see what is
// around each pixel.
std::unique_ptr<Flow> make_integer_discrete_flow(const Site& site);
// Pixels in eight parts, from a coarse grid of them to those between, each given those before it,
// by networks of the same size. At first each is black, white, or something between.
std::unique_ptr<Base> make_split_mixture(const Site& site);

std::vector<Product> integer_discrete_flow_products(const Site& site);  // with those of its base

}  // namespace backflow::inline BACKFLOW_PRECISION
