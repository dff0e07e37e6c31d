#include "backflow/apps/zoo/data.h"

#include <cmath>
#include <numeric>

#include "backflow/apps/data/purposes.h"
#include "backflow/apps/files/quote.h"
#include "backflow/apps/zoo/flows.h"
#include "backflow/apps/zoo/rounded.h"
#include "backflow/apps/zoo/targets.h"
#include "backflow/engine/record.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr Index batch_of_evaluation = 1000;
// Of a target: what is evaluated after each piece of a run, and in the end.
constexpr Index few = 4'000, many = 20'000;

Tensor rows_of(const Tensor& x, Index begin, Index end) {
  return x.defined() ? slice(x, 0, begin, end) : x;
}

struct Mean {
  double value = 0, error = 0;
};
Mean mean_of(const std::vector<double>& values) {
  const double n = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return {mean, values.size() > 1 ? std::sqrt(squares / (n * (n - 1))) : 0};
}

Random random_of(const ZooConfig& config, Purpose purpose, std::uint32_t epoch = 0) {
  return Random(static_cast<std::uint64_t>(config.seed), purpose, epoch);
}

}  // namespace

Tensor log_prob_in_batches(const Density& density, const ZooExamples& examples,
                           const EvaluationWatch& watch) {
  std::vector<Tensor> parts;
  const Index n = examples.x.size(0);
  for (Index begin = 0; begin < n; begin += batch_of_evaluation) {
    const Index end = std::min(n, begin + batch_of_evaluation);
    Pass pass;
    if (examples.context.defined()) pass.context = Var(rows_of(examples.context, begin, end));
    pass.probes = Random(0, purposes::dequantization).stream(static_cast<std::uint32_t>(begin));
    parts.push_back(density.log_prob(rows_of(examples.x, begin, end), pass));
    if (watch) watch(end, n);
  }
  return concat(parts, 0);
}

ZooScore score_of(const Tensor& log_q) {
  std::vector<double> losses;
  for (const Real value : log_q.values()) losses.push_back(-static_cast<double>(value));
  const Mean nll = mean_of(losses);
  return {.count = log_q.size(), .nll = nll.value, .nll_error = nll.error};
}

ZooScore score_of(const Tensor& log_q, const Tensor& log_p, double entropy) {
  ZooScore score = score_of(log_q);
  std::vector<double> ratios;
  for (Index i = 0; i < log_q.size(); ++i)
    ratios.push_back(static_cast<double>(log_p[i]) - static_cast<double>(log_q[i]));
  const Mean kl = mean_of(ratios);
  score.bound = entropy;
  score.kl = kl.value;
  score.kl_error = kl.error;
  return score;
}

PlaneDensity ZooData::learned(const Density& density) const {
  return [&density](const Tensor& x) { return log_prob_in_batches(density, {x, {}}); };
}

namespace {

Var negative_objective(const Density& density, const ZooExamples& examples, Pass& pass) {
  if (examples.context.defined()) pass.context = Var(examples.context);
  return -mean(density.objective(Var(examples.x), pass));
}

// ---- A target with a sampler --------------------------------------------------------------------

// (n, labels): a one in the column of each one's label.
Tensor one_hot(const std::vector<int>& labels, int count) {
  Tensor all = Tensor::zeros({std::ssize(labels), count});
  for (std::size_t i = 0; i < labels.size(); ++i)
    all.mutable_data()[static_cast<Index>(i) * count + labels[i]] = 1;
  return all;
}

class TargetData : public ZooData {
 public:
  explicit TargetData(const ZooConfig& config)
      : config_(config), target_(targets()[config.target]), given_label_(!config.context.empty()) {
    if (zoo_flows()[config.flow].of_integers) grid_.emplace(target_, zoo_grid_step);
  }

  Index contexts() const override { return given_label_ ? target_.labels : 0; }
  Var loss(const Density& density, Index step, Pass& pass) const override {
    return negative_objective(density, training_examples(step), pass);
  }
  ZooScore validation(const Density& density, const EvaluationWatch& watch) const override {
    return score(density, validation_, watch);
  }
  ZooScore test(const Density& density, const EvaluationWatch& watch) const override {
    return score(density, test_, watch);
  }
  ZooScore report(const Density& density) const override { return score(density, report_, {}); }

  Tensor draw_contexts(Index n, const Random& random) const override {
    if (!given_label_) return {};
    std::vector<int> labels;
    for (const Real u : random.uniform({n}).values())
      labels.push_back(std::min(target_.labels - 1, static_cast<int>(u * Real(target_.labels))));
    return one_hot(labels, target_.labels);
  }

  std::string name() const override { return target_.name; }
  std::string description() const override {
    return target_.name + std::string(given_label_ ? " given the label" : "") +
           (grid_ ? ", rounded to multiples of 1/8" : "") + ": " + target_.help;
  }
  std::optional<double> bound() const override;
  std::string bound_name() const override {
    return std::string("entropy of ") + (grid_ ? "rounded " : "") + target_.name +
           (given_label_ ? " given the label" : "");
  }
  double half_width() const override { return target_.half_width; }
  PlaneDensity truth() const override;
  PlaneDensity learned(const Density& density) const override;
  Tensor points(Index n) const override {
    return on_grid(target_.sample(n, Random(0, purposes::targets, 1)));
  }

 private:
  struct HeldOut {
    Index count;
    std::uint32_t epoch;  // of their random numbers; those of training are from 2 on
    ZooExamples examples = {};
    Tensor log_p = {};
  };
  // Drawn when they are asked for.
  ZooScore score(const Density& density, HeldOut& held_out, const EvaluationWatch& watch) const;
  ZooExamples training_examples(Index step) const;
  Tensor on_grid(const Tensor& x) const { return grid_ ? rounded(x, zoo_grid_step) : x; }

  const ZooConfig config_;
  const Target& target_;
  const bool given_label_;
  std::optional<RoundedTarget> grid_;
  mutable HeldOut validation_{few, 0}, test_{few, 1}, report_{many, 1};
};

std::optional<double> TargetData::bound() const {
  if (grid_) return grid_->entropy();
  return given_label_ ? target_.entropy_given_label : target_.entropy;
}

ZooExamples TargetData::training_examples(Index step) const {
  const Random random = random_of(config_, purposes::targets, static_cast<std::uint32_t>(step) + 1);
  if (!given_label_) return {on_grid(target_.sample(config_.batch_size, random)), {}};
  const TargetSample sample = target_.sample_with_labels(config_.batch_size, random);
  return {on_grid(sample.x), one_hot(sample.labels, target_.labels)};
}

ZooScore TargetData::score(const Density& density, HeldOut& held_out,
                           const EvaluationWatch& watch) const {
  if (!held_out.log_p.defined()) {
    const Random random(0, purposes::targets, held_out.epoch);
    ZooExamples& examples = held_out.examples;
    if (given_label_) {
      const TargetSample sample = target_.sample_with_labels(held_out.count, random);
      examples = {sample.x, one_hot(sample.labels, target_.labels)};
      held_out.log_p = target_.log_density_given_label(sample.x, sample.labels);
    } else {
      examples.x = on_grid(target_.sample(held_out.count, random));
      held_out.log_p = grid_ ? grid_->log_prob(examples.x) : target_.log_density(examples.x);
    }
  }
  return score_of(log_prob_in_batches(density, held_out.examples, watch), held_out.log_p, *bound());
}

// A distribution on the grid as a density: that of a cell is its probability over its area.
PlaneDensity on_cells(const PlaneDensity& log_prob) {
  return [log_prob](const Tensor& x) {
    const auto log_area = static_cast<Real>(2 * std::log(zoo_grid_step));
    return pointwise(log_prob(rounded(x, zoo_grid_step)),
                     [=](Real value) { return value - log_area; });
  };
}

PlaneDensity TargetData::truth() const {
  if (!grid_) return density_of(target_);
  return on_cells([this](const Tensor& x) { return grid_->log_prob(x); });
}

// Given a label, the mean over the labels: it is the density of all.
PlaneDensity TargetData::learned(const Density& density) const {
  PlaneDensity one = [this, &density](const Tensor& x) {
    if (!given_label_) return log_prob_in_batches(density, {x, {}});
    std::vector<Tensor> parts;
    for (int label = 0; label < target_.labels; ++label) {
      const std::vector<int> labels(static_cast<std::size_t>(x.size(0)), label);
      const Tensor log_q = log_prob_in_batches(density, {x, one_hot(labels, target_.labels)});
      parts.push_back(reshape(log_q, Shape{x.size(0), 1}));
    }
    const auto log_count = static_cast<Real>(std::log(target_.labels));
    return logsumexp(concat(parts, 1), {1}) - Tensor::full({x.size(0)}, log_count);
  };
  return grid_ ? on_cells(one) : one;
}

// ---- An energy ----------------------------------------------------------------------------------

class EnergyData : public ZooData {
 public:
  explicit EnergyData(const ZooConfig& config)
      : config_(config), target_(targets()[config.target]) {}

  Var loss(const Density& density, Index step, Pass& pass) const override {
    const Random random =
        random_of(config_, purposes::sampling).stream(static_cast<std::uint32_t>(step));
    const auto [x, log_q] = density.recorded_sample_and_log_prob(config_.batch_size, random, pass);
    return mean(log_q + weight(step) * target_.energy(x));
  }
  ZooScore validation(const Density& density, const EvaluationWatch& watch) const override {
    return score(density, few, 0, watch);
  }
  ZooScore test(const Density& density, const EvaluationWatch& watch) const override {
    return score(density, few, 1, watch);
  }
  ZooScore report(const Density& density) const override { return score(density, many, 1, {}); }

  std::string name() const override { return target_.name; }
  std::string description() const override { return target_.name + (": " + help()); }
  std::optional<double> bound() const override { return -target_.log_z; }
  std::string bound_name() const override { return std::string("-log Z of ") + target_.name; }
  std::string nll_name() const override { return "free energy"; }
  std::string examples_name() const override { return "samples of the flow"; }
  double half_width() const override { return target_.half_width; }
  PlaneDensity truth() const override { return density_of(target_); }

 private:
  std::string help() const { return target_.help; }
  // The energy counts little at first and fully from half of the run on: else the flow falls into
  // the first of several modes that it meets.
  double weight(Index step) const {
    return std::min(1.0, 0.01 + 2 * static_cast<double>(step) / static_cast<double>(config_.steps));
  }
  ZooScore score(const Density& density, Index count, std::uint32_t part,
                 const EvaluationWatch& watch) const;

  const ZooConfig config_;
  const Target& target_;
};

// The same noise each time, and other noise than that of training.
ZooScore EnergyData::score(const Density& density, Index count, std::uint32_t part,
                           const EvaluationWatch& watch) const {
  const NoGrad no_grad;
  const Random random = Random(0, purposes::targets, part);
  std::vector<double> values;
  for (Index begin = 0; begin < count; begin += batch_of_evaluation) {
    const Index end = std::min(count, begin + batch_of_evaluation);
    Pass pass;
    const auto [x, log_q] = density.recorded_sample_and_log_prob(
        end - begin, random.stream(static_cast<std::uint32_t>(begin)), pass);
    const Tensor sum = log_q.value() + target_.energy(x).value();
    for (const Real value : sum.values()) values.push_back(static_cast<double>(value));
    if (watch) watch(end, count);
  }
  const Mean free_energy = mean_of(values);
  return {.count = count,
          .nll = free_energy.value,
          .nll_error = free_energy.error,
          .bound = -target_.log_z,
          .kl = free_energy.value + target_.log_z,
          .kl_error = free_energy.error};
}

// ---- A table ------------------------------------------------------------------------------------

TableOptions options_of(const ZooConfig& config) {
  TableOptions options;
  options.context = config.context;
  options.seed = config.seed;
  if (config.validation.empty()) {
    options.data = config.data;
  } else {
    options.train = config.data;
    options.validation = config.validation;
    options.test = config.test;
  }
  return options;
}

bool is_estimated(const ZooFlow& flow, Index dimensions) {
  return flow.estimated_beyond > 0 && dimensions > flow.estimated_beyond;
}

class TableData : public ZooData {
 public:
  explicit TableData(const ZooConfig& config)
      : config_(config),
        splits_(load_table(options_of(config))),
        estimated_(is_estimated(zoo_flows()[config.flow], dimensions())) {}

  Index dimensions() const override { return splits_.columns.dimensions(); }
  Index contexts() const override { return splits_.columns.contexts(); }
  Var loss(const Density& density, Index step, Pass& pass) const override;
  ZooScore validation(const Density& density, const EvaluationWatch& watch) const override {
    return score(density, splits_.validation, watch);
  }
  ZooScore test(const Density& density, const EvaluationWatch& watch) const override {
    return score(density, splits_.test, watch);
  }
  ZooScore report(const Density& density) const override { return test(density, {}); }

  Tensor draw_contexts(Index n, const Random& random) const override {
    if (contexts() == 0) return {};
    std::vector<std::uint32_t> rows;
    const Index all = splits_.test.context.size(0);
    for (const Real u : random.uniform({n}).values())
      rows.push_back(static_cast<std::uint32_t>(std::min(
          all - 1, static_cast<Index>(static_cast<double>(u) * static_cast<double>(all)))));
    return chosen(splits_.test.context, rows);
  }

  std::string name() const override {
    return std::filesystem::path(config_.data).filename().string();
  }
  std::string description() const override;
  Tensor points(Index n) const override {
    if (dimensions() < 2) return {};
    return slice(splits_.test.x, 0, 0, std::min(n, splits_.test.x.size(0)));
  }
  std::string nll_name() const override {
    return estimated_ ? "unbiased estimate of the NLL" : "NLL";
  }
  std::string examples_name() const override { return "held-out rows"; }
  const TableColumns* columns() const override { return &splits_.columns; }
  std::array<std::uint32_t, 3> checksums() const override {
    return {splits_.train.checksum, splits_.validation.checksum, splits_.test.checksum};
  }

 private:
  static Tensor chosen(const Tensor& x, const std::vector<std::uint32_t>& rows);
  // In nats of the data: the standardisation is a part of the map.
  ZooScore score(const Density& density, const TableSplit& split,
                 const EvaluationWatch& watch) const {
    ZooScore score = score_of(log_prob_in_batches(density, {split.x, split.context}, watch));
    score.nll += splits_.columns.log_scale();
    return score;
  }

  const ZooConfig config_;
  const TableSplits splits_;
  const bool estimated_;
  mutable std::vector<std::uint32_t> order_;  // of the rows, in the pass over them
  mutable Index pass_ = -1;
};

Tensor TableData::chosen(const Tensor& x, const std::vector<std::uint32_t>& rows) {
  const Index width = x.size(1);
  Tensor all = Tensor::empty({std::ssize(rows), width});
  Real* to = all.mutable_data();
  for (const std::uint32_t row : rows) to = std::copy_n(x.data() + row * width, width, to);
  return all;
}

// Pass after pass over all rows, each in an order of its own; a batch may hold the end of one and
// the beginning of the next.
Var TableData::loss(const Density& density, Index step, Pass& pass) const {
  const Index n = splits_.train.x.size(0);
  std::vector<std::uint32_t> rows;
  for (Index i = 0; i < config_.batch_size; ++i) {
    const Index place = (step - 1) * config_.batch_size + i;
    if (place / n != pass_) {
      pass_ = place / n;
      order_ = random_of(config_, purposes::shuffling, static_cast<std::uint32_t>(pass_) + 1)
                   .permutation(static_cast<std::uint32_t>(n));
    }
    rows.push_back(order_[static_cast<std::size_t>(place % n)]);
  }
  ZooExamples batch{chosen(splits_.train.x, rows), {}};
  if (contexts() > 0) batch.context = chosen(splits_.train.context, rows);
  return negative_objective(density, batch, pass) + static_cast<Real>(splits_.columns.log_scale());
}

std::string TableData::description() const {
  const auto count = [](const TableSplit& split) { return std::to_string(split.x.size(0)); };
  return printable(name()) + ": " + std::to_string(dimensions()) +
         (dimensions() == 1 ? " column" : " columns") +
         (contexts() > 0 ? " given " + std::to_string(contexts()) + " others" : "") + ", " +
         count(splits_.train) + " rows to train, " + count(splits_.validation) +
         " to choose the best, " + count(splits_.test) + " to report";
}

}  // namespace

void check_zoo_context(const ZooConfig& config) {
  if (config.context.empty() || config.target.empty()) return;
  const auto has_labels = [](const Target& target) { return target.labels > 0; };
  const Target& target = targets()[config.target];
  if (config.context != "label")
    fail("context", "expected 'label', the only one that a target has, got ",
         quote(config.context, '\''));
  if (!has_labels(target))
    fail("context", target.name,
         " has no labels; these have: ", targets().where(has_labels).in_words());
  if (zoo_flows()[config.flow].of_integers)
    fail("context", "the entropy of a rounded target given its label is not known; leave it out");
}

std::unique_ptr<ZooData> load_zoo_data(const ZooConfig& config) {
  check_zoo_context(config);
  if (config.target.empty()) return std::make_unique<TableData>(config);
  if (targets()[config.target].energy) return std::make_unique<EnergyData>(config);
  return std::make_unique<TargetData>(config);
}

}  // namespace backflow::inline BACKFLOW_PRECISION
