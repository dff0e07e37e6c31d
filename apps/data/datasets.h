// The data sets of the paper's experiments, cut into training, validation and test images.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "backflow/apps/data/images.h"

namespace backflow::inline BACKFLOW_PRECISION {

// All of these throw an Error that names what is missing or wrong, and says how to get it. By name
// they are found in apps/model/datasets.h.

// Reads train-images-idx3-ubyte and t10k-images-idx3-ubyte (also .gz, also spelled with a dot) in
// `dir`. The last sixth of the training file is the validation set: 10,000 of MNIST's 60,000.
ImageSplits load_mnist(const std::filesystem::path& dir);

// The same files of another data set, named `what` in messages that end with the hint how to get
// it.
ImageSplits load_idx_splits(const std::filesystem::path& dir, const std::string& what,
                            const std::string& hint);

// The same files, of Fashion-MNIST; Debian's package dataset-fashion-mnist puts them here.
ImageSplits load_fashion_mnist(const std::filesystem::path& dir);
constexpr const char* debians_fashion_mnist = "/usr/share/datasets/fashion-mnist";

// Reads what the images of all three parts show from the label files beside them (see below), which
// load_mnist or load_fashion_mnist of the same directory loaded. Fails when one is missing, or has
// more or fewer labels than there are images.
void add_mnist_labels(const std::filesystem::path& dir, ImageSplits& images);
void add_fashion_mnist_labels(const std::filesystem::path& dir, ImageSplits& images);

// Images and what each one shows: a label per image, 0 to 9.
struct LabelledImages {
  ImageSet images;
  std::vector<std::uint8_t> labels;
};
struct LabelledSplits {
  LabelledImages train, test;
};

// The same image files and, beside them, train-labels-idx1-ubyte and t10k-labels-idx1-ubyte. All of
// the training file is for training: no part is kept for validation. Also fails when a file has
// more or fewer labels than there are images.
LabelledSplits load_labelled_mnist(const std::filesystem::path& dir);
LabelledSplits load_labelled_fashion_mnist(const std::filesystem::path& dir);

// The five data_batch_N and the test_batch in `dir`, or below it in cifar-10-batches-bin:
//   NAME.bin or NAME  records of a label and 32 x 32 red, green and blue bytes
//   NAME.png          an image per row, its pixels row-major: 1024 x count in 8-bit RGB
// The last fifth of the training images is the validation set: 10,000 of 50,000.
ImageSplits load_cifar10(const std::filesystem::path& dir);
// The labels of the records; a PNG has none, which fails.
void add_cifar10_labels(const std::filesystem::path& dir, ImageSplits& images);

// train_32x32.tar and valid_32x32.tar, of 8-bit RGB images, 32 x 32 each. The images of the second
// are for testing; 20,000 of the first, drawn at random but always the same (at most a sixth of
// them), for validation. Reads the headers only: images are decoded when they are asked for.
ImageSplits load_imagenet32(const std::filesystem::path& dir);

}  // namespace backflow::inline BACKFLOW_PRECISION
