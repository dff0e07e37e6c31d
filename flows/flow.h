// Invertible layers with a tractable log-determinant.
//
// A flow maps an example x to its latent z = f(x), one example per row of axis 0, and says by how
// much it stretches volume there: log|det df/dx|, in nats. Then
//
//   log p_X(x) = log p_Z(f(x)) + log|det df/dx|
//
// for a p_Z that is simple, such as N(0, I).
//
// A walk, or pass, takes a batch through all layers, from x to z or back. Several threads may walk
// one const flow at once, in any mode and direction, each with a Pass of its own: a walk writes
// nothing to the flow but caches, which are locked. What a training step changes beside the
// optimizer's parameters is changed around the walk, on one thread: before it by begin_step(), such
// as the scale that ActNorm learns from its first batch, or power iterations; after it by
// AuxiliaryLoss::adapt, such as GECO's weight. So a batch may be cut into parts that walk side by
// side, once begin_step() has seen the whole of it.
#pragma once

#include <algorithm>
#include <optional>

#include "backflow/engine/module.h"
#include "backflow/engine/record.h"
#include "backflow/ops/random.h"

namespace backflow::inline BACKFLOW_PRECISION {

// In `exact` mode every log-determinant has its true value and gradient. In `train` mode a layer
// may put something cheaper in its place: then their sum is an objective, not a likelihood.
enum class Mode { exact, train };

// Which inverse is taken, where a layer has both: the one that it learned, an approximation, or the
// exact one, which undoes forward to rounding.
enum class Inverse { learned, exact };

// What a layer wants to be minimised beside the objective, such as a reconstruction loss.
struct AuxiliaryLoss {
  Var value;  // a scalar
  double weight;
  // To be called after the walk, once its gradient was taken. Does nothing when its layer is gone.
  std::function<void(double value)> adapt = nullptr;
};

// A split prior (flows/image/coupling.h) lets a part of the latent leave midway. On the way back it
// needs that part again: where none is at hand it is drawn from here, as normal numbers.
struct Latents {
  Random random;
  double temperature = 1;   // their standard deviation
  std::uint32_t drawn = 0;  // tensors so far; each has numbers of its own

  Tensor draw(const Shape& shape);
};

// What one walk through a flow carries from layer to layer.
struct Pass {
  Mode mode = Mode::exact;
  Inverse inverse = Inverse::learned;
  // For dequantization; none: the midpoint 0.5. And which of its numbers each row gets; empty: 0,
  // 1,
  // ...
  std::optional<Random> noise = {};
  std::vector<std::uint32_t> examples = {};
  std::vector<AuxiliaryLoss> losses = {};  // added by layers in train mode
  // What split priors hold: pushed going forward, popped going back. And where they draw when there
  // is nothing to pop.
  std::vector<Tensor> factored_out = {};
  std::optional<Latents> latents = {};
  bool step_begun = false;  // in train mode: begin_step() was called for this batch
  Var context = {};         // (B, C), what p(x | context) is given; undefined: nothing
  // Where log-determinants are estimated (flows/residual/residual.h): in train mode from streams of
  // `noise`, in exact mode, if they cannot be computed, from these; none: such a walk fails.
  std::optional<Random> probes = {};
  std::uint32_t probes_drawn = 0;  // streams so far; each estimate has one of its own
};

struct Out {
  Var z;
  Var logdet;  // (B), nats
};

class Flow : public Module {
 public:
  virtual Out forward(const Var& x, Pass& pass) const = 0;
  virtual Tensor inverse(const Tensor& z, Pass& pass) const = 0;

  // The exact inverse with its gradients, {x, log|det dx/dz|}: for what is trained on samples, such
  // as reverse KL, and for flows turned around (flows/inverted.h). Fails for a flow without it.
  virtual Out inverse_recorded(const Var& z, Pass& pass) const;

  // How wide a context the flow must be given, pass.context of (B, context()); 0: it takes none. By
  // itself that of the flows that it registered as modules, which fails if two of them differ.
  virtual Index context() const;

  // Makes the changes that a training step makes in the layer before the batch x is walked.
  // Density::objective() calls it; in a walk in train mode for which nobody did (pass.step_begun is
  // false) each layer begins the step by itself. It is the one const function that changes the
  // flow: call it while nobody walks. By default a flow hands the call on to the flows that it
  // registered as modules, but for those that await their first batch: only in the walk do they see
  // their input.
  virtual void begin_step(const Tensor& x, const Pass& pass) const {
    for (const Flow* flow : flows())
      if (!flow->awaits_first_batch()) flow->begin_step(x, pass);
  }
  // Whether begin_step() still has to learn from a first batch. If not, any x may be passed to it.
  virtual bool awaits_first_batch() const { return false; }

  // Computes what the next walk needs of the parameters alone, such as a factorization, and what
  // the gradient needs where one will be taken. A Sequential calls it for all its layers in
  // parallel, before the walk.
  virtual void prepare(Mode, bool /*gradients*/) const {}
  // About how long that takes, in flop; the Sequential begins with the costly ones.
  virtual double prepare_flop(Mode) const { return 0; }

  // Whether the log-determinant of a walk in train mode is the true one, with its true gradient. If
  // not, what training maximises is no likelihood. By itself a flow says so when all the flows that
  // it registered as modules do: one without any is held to be exact.
  virtual bool exact_in_training() const {
    return std::ranges::all_of(flows(), [](const Flow* flow) { return flow->exact_in_training(); });
  }
  // Whether Inverse::learned is another inverse than Inverse::exact, by itself that of one of those
  // flows.
  virtual bool has_learned_inverse() const {
    return std::ranges::any_of(flows(),
                               [](const Flow* flow) { return flow->has_learned_inverse(); });
  }

  // Why the exact inverse and forward do not undo each other, even but for rounding errors: then a
  // sample has no density that could be had by walking it forward. Null: they do. By itself a flow
  // gives the reason of the first of those flows that has one.
  virtual const char* why_no_bijection() const {
    const char* reason = nullptr;
    for (const Flow* flow : flows())
      if (!reason) reason = flow->why_no_bijection();
    return reason;
  }

  Out forward(const Var& x) const {
    Pass pass;
    return forward(x, pass);
  }
  Tensor inverse(const Tensor& z) const {
    Pass pass;
    return inverse(z, pass);
  }

 private:
  std::vector<const Flow*> flows() const {  // among the modules
    std::vector<const Flow*> all;
    for (const auto& [name, module] : modules())
      if (const auto* flow = dynamic_cast<const Flow*>(module)) all.push_back(flow);
    return all;
  }
};

// Uniform numbers on [0, 1), of the shape of a batch: row b has those that `random` has for the
// example pass.examples[b], so that they do not depend on how examples are batched.
Tensor uniform_noise(const char* who, const Random& random, const Pass& pass, const Shape& shape);

// Fails unless pass.context is (B, width), or undefined where the width is 0.
void check_context(const char* who, Index width, const Pass& pass, Index B);

}  // namespace backflow::inline BACKFLOW_PRECISION
