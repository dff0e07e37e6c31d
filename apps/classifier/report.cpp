#include "backflow/apps/classifier/report.h"

#include <cstdio>

#include "backflow/apps/classifier/mistakes.h"
#include "backflow/apps/files/quote.h"
#include "backflow/apps/files/safetensors.h"
#include "backflow/apps/files/text.h"
#include "backflow/engine/parallel.h"
#include "backflow/ops/axis.h"

namespace backflow::inline BACKFLOW_PRECISION {

namespace fs = std::filesystem;

static void make_directory(const fs::path& dir) {
  std::error_code error;
  fs::create_directories(dir, error);
  if (error)
    fail(dir.string(), "cannot make the directory: ", error.message(),
         "; choose another with --out");
}

void print_head(const Options& options, const Examples& data, const Module& network) {
  make_directory(options.out);
  const ImageSet &train = data.train.images, &test = data.test.images;
  std::printf("%s: %lld training and %lld test images, %d x %d pixels\n",
              printable(data.name).c_str(), number(train.count()), number(test.count()),
              train.height, train.width);
  Index parameters = 0;
  std::printf("network:");
  for (const NamedParameter& named : network.parameters()) {
    parameters += named.parameter->value().size();
    const Shape& shape = named.parameter->shape();  // a weight is (out, in)
    if (shape.rank() == 2 && named.name == "0.weight") std::printf(" %lld", number(shape[1]));
    if (shape.rank() == 2) std::printf(" -> %lld", number(shape[0]));
  }
  std::printf(", %lld parameters; %d threads\n", number(parameters), threads());
  std::printf("\nepoch  training loss, nats  test accuracy  seconds\n");
}

void print_epoch(Index epoch, double loss, double accuracy, double seconds) {
  std::printf("%5lld %20.4f %12.2f %% %8.2f\n", number(epoch), loss, 100 * accuracy, seconds);
  std::fflush(stdout);  // each line as soon as it is known
}

static void print_picture(const char* what, const fs::path& png, const MistakesPicture& picture) {
  std::printf("%s %s%s\n", what, printable(png.string()).c_str(),
              picture.captions ? "" : "; without words: gnuplot is missing, or fails");
}

void report(const Options& options, const Examples& data, const Tensor& test_logits,
            const Module& network) {
  const auto& labels = data.test.labels;
  const Predictions predictions{
      softmax(test_logits, 1), {labels.begin(), labels.end()}, data.classes};
  const fs::path confusion = options.out / "confusion.png", mistakes = options.out / "mistakes.png";
  const MistakesPicture all = save_confusion(confusion, predictions);
  std::printf("\n%lld of %lld test images were taken for something else\n", number(all.mistakes),
              number(std::ssize(labels)));
  print_picture("confusion:    ", confusion, all);
  const MistakesPicture some = save_mistakes(mistakes, data.test.images, predictions);
  if (some.mistakes > 0) print_picture("some of them: ", mistakes, some);
  TensorFile file;
  for (const NamedParameter& named : network.parameters())
    file.tensors[named.name] = named.parameter->value();
  save_safetensors(options.out / "network.safetensors", file);
  std::printf("the network:   %s\n",
              printable((options.out / "network.safetensors").string()).c_str());
}

}  // namespace backflow::inline BACKFLOW_PRECISION
