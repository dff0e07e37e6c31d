// Everything that decides the outcome of a run of the zoo, field by field: what its config.json
// holds. apps/zoo/flows.h has the defaults.
#pragma once

#include <string>

#include "backflow/apps/model/fields.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct ZooConfig {
  std::string flow;    // a row of zoo_flows()
  std::string target;  // a row of targets(); empty: the table `data`
  std::string data;    // a CSV file; empty: a target
  // Where the file of data is to train with alone: those to choose the best by, and to report.
  std::string validation, test;
  std::string context;  // what the density is conditioned on: "label", or columns; empty: nothing
  Index layers = 8;
  Index width = 64;
  Index steps = 4000;
  Index batch_size = 256;
  double lr = 3e-3;
  Index warmup_steps = 0;
  double max_grad_norm = 5;
  Index seed = 0;

  // f(key, field, meaning) for every field, in order. The one list of them.
  template <class Self, class F>
  static void visit(Self& self, F f) {
    f("flow", self.flow, "the flow's name");
    f("target", self.target, "the density in the plane that it learns; empty: a table");
    f("data", self.data, "the CSV file that it learns; empty: a target");
    f("validation", self.validation,
      "the CSV file to choose the best by; empty: a part of the data");
    f("test", self.test, "the CSV file to report; empty: a part of the data");
    f("context", self.context, "what the density is conditioned on; empty: nothing");
    f("layers", self.layers, "layers of the flow, or blocks");
    f("width", self.width, "units in each hidden layer of its networks; 0: it has none");
    f("steps", self.steps, "training steps");
    f("batch_size", self.batch_size, "points per training step");
    f("lr", self.lr, "the highest learning rate; it falls to 0 along a cosine");
    f("warmup_steps", self.warmup_steps, "the learning rate rises linearly for so long");
    f("max_grad_norm", self.max_grad_norm, "clip the gradient's global norm; 0: never");
    f("seed", self.seed, "of initialization, data and noise");
  }
};

}  // namespace backflow::inline BACKFLOW_PRECISION
