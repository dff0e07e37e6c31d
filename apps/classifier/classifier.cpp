// A classifier of handwritten digits from beginning to end, to be read first: data, a network, the
// loop that trains it, and what it has learned. After a few seconds it is right about more than 97
// of 100 test images of MNIST. What it can be asked for: options.h.
#include <cstdio>

#include "backflow/apps/bench/stopwatch.h"
#include "backflow/apps/classifier/examples.h"
#include "backflow/apps/classifier/options.h"
#include "backflow/apps/classifier/report.h"
#include "backflow/apps/data/purposes.h"
#include "backflow/engine/optimizer.h"
#include "backflow/flows/conditioners/mlp.h"
#include "backflow/ops/classification.h"

namespace backflow::inline BACKFLOW_PRECISION {

static constexpr Index classes = 10, hidden = 128, batch_size = 100;
static constexpr double learning_rate = 2e-3;  // Adam moves a weight by about so much a step

static Tensor logits_of(const Mlp& network, const Tensor& x) {
  const NoGrad no_grad;  // nothing is recorded where no gradient is asked for
  return network(x).value();
}

static void classify(const Options& options) {
  const Examples data = load(options);
  const Batch test = all_of(data.test);
  const Index count = data.train.images.count(), pixels = test.x.size(1);
  // Its output has a number for each class, a logit: the largest is what it takes the image for.
  const Mlp network(pixels, classes, {.hidden = {hidden}, .activation = relu},
                    Random(options.seed, purposes::initialization));
  Adam optimizer(network.parameters());
  print_head(options, data, network);

  for (Index epoch = 1; epoch <= options.epochs; ++epoch) {
    double loss_sum = 0;
    const double ms = milliseconds([&] {
      // Each epoch takes every image once, in an order of its own.
      const Random shuffling(options.seed, purposes::shuffling, static_cast<std::uint32_t>(epoch));
      const auto order = shuffling.permutation(static_cast<std::uint32_t>(count));
      for (Index begin = 0; begin < count; begin += batch_size) {
        const std::span rows(order.data() + begin, std::min(batch_size, count - begin));
        const Batch batch = take(data.train, rows);
        // How much the right labels surprise the network: -log of their probabilities, the mean.
        const Var loss = cross_entropy(network(batch.x), batch.labels);
        optimizer.step(backward(loss), learning_rate);
        loss_sum += loss.item() * static_cast<double>(rows.size());
      }
    });
    print_epoch(epoch, loss_sum / static_cast<double>(count),
                accuracy(logits_of(network, test.x), test.labels), ms / 1000);
  }
  report(options, data, logits_of(network, test.x), network);
}

}  // namespace backflow::inline BACKFLOW_PRECISION

int main(int argc, char** argv) {
  using namespace backflow;
  return run_program(argc, argv, classify);
}
