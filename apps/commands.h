// What the program does beside training: one function per command, each printing its result.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "apps/pictures.h"
#include "apps/step.h"

namespace backflow::inline BACKFLOW_PRECISION {

void list_experiments();

struct EvaluateOptions {
  std::string experiment;
  std::filesystem::path checkpoint, data;
  Split split = Split::test;
  Noise noise = Noise::uniform;
  Index limit = 0;  // the first so many images; 0: all
  bool json = false;
};
void evaluate_checkpoint(const EvaluateOptions& options);

struct SampleCommand {
  std::string experiment;
  std::filesystem::path checkpoint, out;
  SampleOptions samples;
  std::optional<Inverse> inverse;  // none: the learned one, where there is one
};
void sample_checkpoint(const SampleCommand& command);

struct BenchOptions {
  std::string experiment;
  Index steps = 50;
  Index batch_size = 0;  // 0: the experiment's
  bool json = false;
};
void bench_experiment(const BenchOptions& options);

}  // namespace backflow::inline BACKFLOW_PRECISION
