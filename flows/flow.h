// Invertible layers with a tractable log-determinant.
//
// A flow maps x to z = f(x), one example per row of axis 0, and says by how much it stretches
// volume there: log|det df/dx|, in nats. Then log p_X(x) = log p_Z(f(x)) + log|det df/dx|.
//
// Several threads may walk one const flow at once, in any mode and direction, each with a Pass of
// its own: a walk writes nothing to the flow but caches, which are locked. What a training step
// changes beside the optimizer's parameters is changed around the walk, on one thread: before it by
// begin_step(), such as the scale that ActNorm learns from its first batch, or power iterations;
// after it by AuxiliaryLoss::adapt, such as GECO's weight. So a batch may be cut into parts that
// walk side by side, once begin_step() has seen the whole of it.
#pragma once

#include <optional>

#include "backflow/engine/module.h"
#include "backflow/engine/record.h"
#include "backflow/ops/random.h"

namespace backflow::inline BACKFLOW_PRECISION {

// In `exact` mode every log-determinant has its true value and gradient. In `train` mode a layer
// may put something cheaper in its place: then their sum is an objective, not a likelihood.
enum class Mode { exact, train };

enum class Inverse { learned, exact };  // of layers that have both

struct AuxiliaryLoss {
  Var value;  // a scalar, to be minimised
  double weight;
  // To be called after the walk, once its gradient was taken. Does nothing when its layer is gone.
  std::function<void(double value)> adapt = nullptr;
};

// Where a split prior going back finds what it factored out: random normal numbers.
struct Latents {
  Random random;
  double temperature = 1;   // their standard deviation
  std::uint32_t drawn = 0;  // tensors so far; each has numbers of its own

  Tensor draw(const Shape& shape);
};

// What one walk through a flow carries from layer to layer.
struct Pass {
  Mode mode = Mode::exact;
  Inverse inverse = Inverse::learned;   // approximate; `exact` undoes forward to rounding
  std::optional<Random> noise;          // for dequantization; none: the midpoint 0.5
  std::vector<std::uint32_t> examples;  // which numbers of `noise` each row gets; empty: 0, 1, ...
  std::vector<AuxiliaryLoss> losses;    // added by layers in train mode
  std::vector<Tensor> factored_out;     // by split priors: pushed going forward, popped going back
  std::optional<Latents> latents;       // from where they are drawn when there is nothing to pop
  bool step_begun = false;              // in train mode: begin_step() was called for this batch
};

struct Out {
  Var z;
  Var logdet;  // (B), nats
};

class Flow : public Module {
 public:
  virtual Out forward(const Var& x, Pass& pass) const = 0;
  virtual Tensor inverse(const Tensor& z, Pass& pass) const = 0;

  // What a training step changes in the layer before the batch x is walked. Density::objective()
  // calls it; a walk in train mode for which nobody did (pass.step_begun is false) begins its step
  // by itself, layer by layer. It is the one const function that changes the flow: call it while
  // nobody walks. By itself a flow hands it on to the flows that it registered as modules, but for
  // those that await their first batch: these take it in the walk, where they see it.
  virtual void begin_step(const Tensor& x, const Pass& pass) const {
    for (const auto& [name, module] : modules())
      if (const auto* flow = dynamic_cast<const Flow*>(module); flow && !flow->awaits_first_batch())
        flow->begin_step(x, pass);
  }
  // Whether begin_step() still has to learn from a first batch. If not, it may be given any x.
  virtual bool awaits_first_batch() const { return false; }

  // What the next walk needs of the parameters alone, such as a factorization; with what its
  // gradient needs where one will be taken. Layers do this in parallel, before the walk.
  virtual void prepare(Mode, bool /*gradients*/) const {}

  Out forward(const Var& x) const {
    Pass pass;
    return forward(x, pass);
  }
  Tensor inverse(const Tensor& z) const {
    Pass pass;
    return inverse(z, pass);
  }
};

}  // namespace backflow::inline BACKFLOW_PRECISION
