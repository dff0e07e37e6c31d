// What the program does beside training: one function per command, each printing its result.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "backflow/apps/pictures/pictures.h"
#include "backflow/apps/train/step.h"

namespace backflow::inline BACKFLOW_PRECISION {

void list_experiments();

// A checkpoint's model, and images for it.
struct CheckpointOptions {
  std::string experiment;
  std::filesystem::path checkpoint;
  // For a state_dict from elsewhere: how its model differs from the experiment's, by name.
  std::vector<std::pair<std::string, std::string>> assignments;
};
struct DataOptions {
  std::string dataset;         // empty: the model's own
  std::filesystem::path data;  // empty: the data set's default directory
  Split split = Split::test;
};

struct EvaluateOptions : CheckpointOptions, DataOptions {
  Noise noise = Noise::uniform;
  Index limit = 0;  // the first so many images; 0: all
  bool json = false;
};
void evaluate_checkpoint(const EvaluateOptions& options);
// What PNG and gzip need for the same images: a line.
std::string code_lengths_in_words(const ImageSet& images, Index limit = 0);

struct SampleCommand : CheckpointOptions {
  std::filesystem::path out;
  SampleOptions samples;
  std::optional<Inverse> inverse;  // none: the learned one, where there is one
  bool plain = false;              // only the images: no words below them
};
void sample_checkpoint(const SampleCommand& command);

struct ReconstructCommand : CheckpointOptions, DataOptions {
  std::filesystem::path out;
  Index count = 10;
  std::optional<Inverse> inverse;
};
void reconstruct_images(const ReconstructCommand& command);

struct FiltersCommand : CheckpointOptions {
  std::filesystem::path out;  // a directory
};
void draw_filters(const FiltersCommand& command);

// The weights of a checkpoint, in a file that every command takes but for 'snf train --resume'.
struct ExportCommand : CheckpointOptions {
  std::filesystem::path out;
};
void export_weights(const ExportCommand& command);

struct BenchOptions {
  std::string experiment;
  std::vector<std::pair<std::string, std::string>> assignments;
  Index steps = 50;
  Index batch_size = 0;  // 0: the experiment's
  ShardSchedule shard_schedule = ShardSchedule::in_turn;
  bool profile = false;  // also what each op costs
  bool json = false;
};
void bench_experiment(const BenchOptions& options);

}  // namespace backflow::inline BACKFLOW_PRECISION
