// One training step, and the likelihood of a data set.
#pragma once

#include "backflow/apps/data/images.h"
#include "backflow/apps/model/model.h"
#include "backflow/apps/train/evaluation_watch.h"
#include "backflow/apps/train/shards.h"
#include "backflow/engine/optimizer.h"

namespace backflow::inline BACKFLOW_PRECISION {

// A loss or gradient that is not finite. The parameters are as they were before the step.
struct Diverged : Error {
  using Error::Error;
};

// The one that the configuration names, with its constants.
std::unique_ptr<Optimizer> make_optimizer(const Config& config, const Model& model);

struct StepResult {
  double objective;       // -mean objective, nats per image; a likelihood only for exact layers
  double reconstruction;  // sum over layers, without its weight
};

// Noise, forward, backward, clipping, the optimizer. `images` has pixels 0..255, (B, C, H, W); the
// pass has what the model's context row makes of them.
//
// The batch is cut into config.shards shards (shards.h). What is no sum over examples is done once,
// around them: what the flow changes before a step sees the whole batch, AuxiliaryLoss::adapt the
// mean over it, clipping the norm of the sum. Factorizations are those of the weights, and shared.
//
// Several ranks share out the shards (ranks.h); all of them have the whole batch, come to the same
// sums, and do by themselves what is done once. Their models and optimizers stay equal to the bit.
//
// Throws Diverged, naming the first op that produced a non-finite value.
StepResult training_step(const Model& model, Optimizer& optimizer, const Config& config,
                         const Tensor& images, Pass pass, double learning_rate,
                         ShardSchedule schedule = ShardSchedule::in_turn,
                         Ranks& ranks = one_rank());

enum class Split { train, validation, test };
enum class Noise { uniform, midpoint };

struct Likelihood {
  Index images = 0;
  double nll = 0;             // mean, nats per image: exact, or an unbiased estimate
  double standard_error = 0;  // of that mean, for the choice of the images and for the estimates
  std::vector<double> first;  // log p of the first five images
};

// The likelihood of the first `limit` images (0: all): exact, where the model has it so, or else an
// unbiased estimate. The uniform noise, and the random probes of an estimate, are functions of
// split and image alone: two evaluations of the same weights agree. Throws Diverged where the model
// has no likelihood. Where the model takes a context it is that of p(image | context). Several
// ranks share out the images, and all get the result, which has the bits of one rank's.
Likelihood evaluate(const Model& model, const ImageSet& images, Split split, Noise noise,
                    Index limit = 0, Ranks& ranks = one_rank(), const EvaluationWatch& watch = {});

double bits_per_dim(double nats, const ImageShape& image);

}  // namespace backflow::inline BACKFLOW_PRECISION
