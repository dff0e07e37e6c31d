// Memory for time: what a rule needs is computed again in backward() instead of being kept until
// then ("gradient checkpointing": Griewank & Walther, ACM TOMS 2000; Chen et al., "Training deep
// nets with sublinear memory cost", 2016). Nothing is written to disk here; the checkpoints of a
// training are apps/model/checkpoint.h.
#pragma once

#include <functional>
#include <vector>

#include "backflow/engine/var.h"

namespace backflow::inline BACKFLOW_PRECISION {

// f(inputs), of which nothing is kept but the inputs and the results; backward() calls f a second
// time for the gradients. A chain of n ops, cut into sqrt(n) checkpoints, needs memory for sqrt(n)
// inputs and for one piece, and the time of a second walk forward. Checkpoints may be nested.
//
//   const Var y = checkpoint([](const std::vector<Var>& in) { return tanh(exp(in[0])); }, {x});
//
// The gradient reaches the inputs, and nothing else. So f may use leaves, such as the parameters of
// a module, only if they are among the inputs, be it as elements of its argument or otherwise:
//
//   std::vector<Var> inputs{x};
//   for (const auto& [name, parameter] : mlp.parameters()) inputs.push_back(*parameter);
//   const Var y = checkpoint([&mlp](const std::vector<Var>& in) { return mlp(in[0]); }, inputs);
//
// Fails if f reaches another leaf, or a result that was computed outside of it and is no element of
// its argument: their gradient would be lost in silence.
//
// f must be a function of its inputs: the same values at the second call, no side effects that
// count twice, whatever it refers to still alive, and the parameters unchanged until then. Values
// and gradients have the same bits as without a checkpoint, but where the gradient of an input is
// the sum of several: those from f are added up first. To f, an output that nobody used has a
// gradient of zeros, as with every op.
std::vector<Var> checkpoint(std::function<std::vector<Var>(const std::vector<Var>&)> f,
                            const std::vector<Var>& inputs);
Var checkpoint(std::function<Var(const std::vector<Var>&)> f, const std::vector<Var>& inputs);

}  // namespace backflow::inline BACKFLOW_PRECISION
