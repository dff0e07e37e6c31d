// What the program classifier prints and draws.
#pragma once

#include "backflow/apps/classifier/examples.h"
#include "backflow/apps/classifier/options.h"
#include "backflow/engine/module.h"

namespace backflow::inline BACKFLOW_PRECISION {

// Prints the data, the network, and the heads of the columns that print_epoch fills. Makes the
// directory of the results if need be; where it cannot, this fails before any training.
void print_head(const Options& options, const Examples& data, const Module& network);

// The loss is in nats per image, the accuracy the part of the test images that it is right about.
void print_epoch(Index epoch, double loss, double accuracy, double seconds);

// Writes confusion.png, mistakes.png and the network itself, network.safetensors, whose names are
// those of PyTorch's nn.Sequential(Linear, ReLU, Linear), into the directory, and prints where they
// are.
void report(const Options& options, const Examples& data, const Tensor& test_logits,
            const Module& network);

}  // namespace backflow::inline BACKFLOW_PRECISION
