// What a flow of the zoo learns: a target in the plane, an energy, or a table of numbers. Each says
// what a training step minimises, how far a density has come, and what can be drawn of it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "backflow/apps/train/evaluation_watch.h"
#include "backflow/apps/zoo/config.h"
#include "backflow/apps/zoo/figures.h"
#include "backflow/apps/zoo/table.h"
#include "backflow/flows/density.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct ZooExamples {
  Tensor x;        // (n, D)
  Tensor context;  // (n, C); undefined where there is none
};

// How near a density q is to what it learns, in nats per example, with standard errors.
struct ZooScore {
  Index count = 0;
  // The mean of -log q over examples that were held out; for an energy U the free energy, the mean
  // of log q + U over samples of the flow.
  double nll = 0, nll_error = 0;
  // What no density gets below, where it is known: the entropy, or -log Z of an energy. And what is
  // between: the Kullback-Leibler divergence KL(p || q) as the mean of log p - log q over the same
  // examples, whose errors nearly cancel; or KL(q || p), the free energy and log Z.
  std::optional<double> bound = {};
  double kl = 0, kl_error = 0;

  // The NLL that has the smaller error.
  double estimate() const { return bound ? *bound + kl : nll; }
  // No divergence is below 0: such a density does not integrate to 1.
  bool impossible() const { return bound && kl < -4 * kl_error; }
};

class ZooData {
 public:
  virtual ~ZooData() = default;
  virtual Index dimensions() const { return 2; }
  virtual Index contexts() const { return 0; }

  // A scalar. `step` counts from 1; the pass has a mode and noise. The same seed and step have the
  // same examples.
  virtual Var loss(const Density& density, Index step, Pass& pass) const = 0;

  // By other examples than those of any training step: which best checkpoint is chosen, which
  // result is shown beside it, and what is reported in the end, by as many examples as there are.
  virtual ZooScore validation(const Density& density, const EvaluationWatch& watch = {}) const = 0;
  virtual ZooScore test(const Density& density, const EvaluationWatch& watch = {}) const = 0;
  virtual ZooScore report(const Density& density) const = 0;

  // What a batch of n is given where the flow takes a context: those of data, drawn at random.
  virtual Tensor draw_contexts(Index /*n*/, const Random&) const { return {}; }

  virtual std::string name() const = 0;         // "moons", "power.csv"
  virtual std::string description() const = 0;  // a line
  // What no density gets below, ZooScore::bound, and its name: "entropy of moons".
  virtual std::optional<double> bound() const { return {}; }
  virtual std::string bound_name() const { return ""; }
  virtual std::string nll_name() const { return "NLL"; }
  virtual std::string examples_name() const { return "held-out samples"; }

  // What the pictures show of it, if it is in the plane.
  virtual double half_width() const { return 4; }
  virtual PlaneDensity truth() const { return nullptr; }
  virtual PlaneDensity learned(const Density& density) const;
  virtual Tensor points(Index /*n*/) const { return {}; }  // (n, 2), held out

  // For a table: its columns; and what tells other data, of training, validation and testing.
  virtual const TableColumns* columns() const { return nullptr; }
  virtual std::array<std::uint32_t, 3> checksums() const { return {0, 0, 0}; }
};

// What that configuration learns; reads its table. Fails for a context that there is not.
std::unique_ptr<ZooData> load_zoo_data(const ZooConfig& config);

// What load_zoo_data() fails for before a file is read.
void check_zoo_context(const ZooConfig& config);

// (n): log q, in nats, of examples that are too many for one batch.
Tensor log_prob_in_batches(const Density& density, const ZooExamples& examples,
                           const EvaluationWatch& watch = {});

// Scores from log q and, where it is known, log p of each example.
ZooScore score_of(const Tensor& log_q);
ZooScore score_of(const Tensor& log_q, const Tensor& log_p, double entropy);

}  // namespace backflow::inline BACKFLOW_PRECISION
