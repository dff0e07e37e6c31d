// The flows of vectors that the program zoo shows: what they are, how each is made of a
// configuration, and the defaults that they are trained with.
#pragma once

#include <memory>

#include "backflow/apps/model/table.h"
#include "backflow/apps/zoo/config.h"
#include "backflow/flows/bases.h"
#include "backflow/flows/flow.h"

namespace backflow::inline BACKFLOW_PRECISION {

// A flow from data to noise, and what the noise is held to be drawn from: together a Density.
struct ZooModel {
  std::unique_ptr<Flow> flow;
  std::unique_ptr<Base> base;
};

// What a model is made for.
struct ZooSite {
  Index dimensions = 2;
  Index context = 0;    // numbers per example that the density is conditioned on
  bool energy = false;  // it learns from its own samples: these are to be the fast direction
};

// A null pointer where the flow does what is asked, or the reason why it does not.
using Reason = const char*;

struct ZooFlow {
  const char *name, *help;
  const char* paper;    // "Dinh et al. 2014"
  const char* fast;     // what takes one evaluation: "density", "samples" or "both"
  const char* inverse;  // how the other direction is found

  Index least_dimensions = 1;       // 2 for what splits its coordinates in two
  Reason why_no_context = nullptr;  // it is no flow of p(x | context)
  Reason why_no_energy = nullptr;   // it does not learn the energies u1 to u4
  Reason why_no_table = nullptr;    // it does not learn tables of real numbers
  bool of_integers = false;         // it learns multiples of zoo_grid_step
  bool has_networks = true;         // of config.width
  Index estimated_beyond = 0;       // so many dimensions its log q is but estimated; 0: never
  ZooConfig (*defaults)(const std::string& target);
  ZooModel (*make)(const ZooConfig& config, const ZooSite& site, const Random& random);
};

// In the order of the README's table.
const Table<ZooFlow>& zoo_flows();

// Flows of integers learn targets that are rounded to the nearest multiples of this.
constexpr double zoo_grid_step = 1.0 / 8;

// For a target, or for tables if it is empty. Fails for an unknown flow and suggests the nearest.
ZooConfig zoo_defaults(const std::string& flow, const std::string& target);

// Fails, naming the key, when a value makes no sense, or the flow does not learn the target.
void validate(const ZooConfig& config);

// Fails for what validate() refuses, and for fewer dimensions, or a context, than the flow takes.
// config.target says whether it is for an energy. The same seed makes the same model.
ZooModel make_zoo_model(const ZooConfig& config, Index dimensions, Index context);

}  // namespace backflow::inline BACKFLOW_PRECISION
