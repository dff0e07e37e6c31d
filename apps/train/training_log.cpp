#include "backflow/apps/train/training_log.h"

#include <stdio_ext.h>

#include <cerrno>
#include <cstdio>
#include <system_error>

#include "backflow/apps/files/quote.h"
#include "backflow/apps/train/step.h"

namespace backflow::inline BACKFLOW_PRECISION {

static long long number(Index n) { return static_cast<long long>(n); }

void TrainingLog::flush() {
  if (std::fflush(stdout) == 0 && !std::ferror(stdout)) return;
  std::fprintf(stderr,
               "warning: cannot write to the standard output (%s); the run goes on silently\n",
               std::generic_category().message(errno).c_str());
  __fpurge(stdout);
  std::clearerr(stdout);
  quiet_ = true;
}

void TrainingLog::head(Index steps_per_epoch, const RunDirectory& run) {
  if (quiet_) return;
  std::printf("%s: %s; %lld parameters\n", experiment_.config.experiment.c_str(),
              model_description(config_).c_str(), number(model_.parameter_count()));
  std::printf("images: %s, %lld training, %lld validation, %lld test; %lld steps an epoch\n",
              printable(images_.name).c_str(), number(images_.train.count()),
              number(images_.validation.count()), number(images_.test.count()),
              number(steps_per_epoch));
  std::printf("run directory: %s\n", run.root.c_str());
  if (!model_.objective_is_likelihood())
    std::printf("The objective is what training minimises, not a likelihood. NLLs are exact.\n");
  std::printf("\n%11s %12s %15s %15s %10s %8s %8s\n", "epoch",
              model_.objective_is_likelihood() ? "training NLL" : "objective", "reconstruction",
              "validation NLL", "test NLL", "ms/step", "seconds");
  flush();
}

void TrainingLog::row(const EpochMetrics& row, Index epochs) {
  if (quiet_) return;
  char test_nll[32] = "-";
  if (row.test_nll) std::snprintf(test_nll, sizeof test_nll, "%.1f", *row.test_nll);
  std::printf("%5lld/%-5lld %12.1f %15.4g %15.1f %10s %8.1f %8.1f\n", number(row.epoch),
              number(epochs), row.train_objective, row.reconstruction_loss, row.validation_nll,
              test_nll, row.ms_per_step, row.seconds);
  flush();
}

void TrainingLog::end(const Position& position, const RunDirectory& run) {
  if (quiet_) return;
  std::printf(
      "\nbest: epoch %lld, validation NLL %.1f, test NLL %.1f nats per image, %.3f bits/dim\n",
      number(position.best_epoch), position.best_nll, position.best_test_nll,
      bits_per_dim(position.best_test_nll, model_.image()));
  if (is_comparable(config_, images_))
    std::printf("paper, converged: test NLL %s\n", experiment_.paper.c_str());
  std::printf("checkpoint: %s\n", run.best().c_str());
  flush();
}

void TrainingLog::nothing_to_do(const RunDirectory& run, Index epochs, bool can_go_on) {
  if (quiet_) return;
  std::printf("%s has its %lld epochs already: nothing to do%s\n", run.root.c_str(), number(epochs),
              can_go_on ? "; more with --epochs" : "");
  flush();
}

}  // namespace backflow::inline BACKFLOW_PRECISION
