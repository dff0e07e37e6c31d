// Writes the checkpoints of a few pixels into a directory, and their exact NLLs to standard output:
// run once, with the library of the commit that README.md names. Not part of the build.
#include <cstdio>

#include "tests/apps/old_checkpoints.h"

using namespace backflow;

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "make: [directory] expected one\n");
    return 2;
  }
  for (const OldCheckpoint& old : old_checkpoints()) {
    const Config config = config_of(old);
    const ImageSet images = old_images(config.dataset);
    const Model model(config, {images.channels, images.height, images.width});
    const auto optimizer = make_optimizer(config, model);
    take_old_steps(model, *optimizer, config, steps_before);
    const std::string file = std::string(argv[1]) + "/" + old.name + "_" + precision_name;
    save_checkpoint(file + ".safetensors", config, model, *optimizer, old_position);
    const double saved = old_nll(model, config);
    take_old_steps(model, *optimizer, config, steps_after);
    std::printf("%s %s %s %.17g %.17g\n", precision_name, openblas_get_corename(), old.name.c_str(),
                saved, old_nll(model, config));
  }
}
