#include "backflow/apps/data/datasets.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <span>

#include "backflow/apps/data/idx.h"
#include "backflow/apps/data/png_archive.h"
#include "backflow/apps/data/purposes.h"
#include "backflow/apps/files/atomic_file.h"
#include "backflow/apps/files/quote.h"
#include "backflow/engine/parallel.h"
#include "backflow/ops/random.h"

namespace backflow::inline BACKFLOW_PRECISION {

namespace fs = std::filesystem;

static bool has_directory(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

static bool has_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

// A script of the project by a path that leads to it from here: below the working directory, or
// beside the directory of the build that this program runs from.
static std::string path_of_script(const std::string& name) {
  const fs::path script = fs::path("apps/data") / name;
  if (has_file(script)) return script;
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  for (fs::path above = program.parent_path(); above.has_relative_path();
       above = above.parent_path())
    if (has_file(above / script)) return above / script;
  return "the script " + script.string() + " in backflow's sources";
}

static std::string hint_of_script(const std::string& name, const fs::path& dir) {
  return "fetch the data with: " + path_of_script(name) + " " + dir.string() +
         "; or name their directory with --data";
}

static void check_directory(const fs::path& dir, const std::string& what, const std::string& hint) {
  if (!has_directory(dir))
    fail(dir.string(), "no such directory, expected the ", what, " images; ", hint);
}

static void check_count(const fs::path& path, Index found, Index at_least,
                        const std::string& hint) {
  if (found < at_least)
    fail(path.string(), "found ", found, " images, expected at least ", at_least, "; ", hint);
}

// Moves the last of `parts` equal parts into a set of its own.
static ImageSet cut_last_part(ImageSet& images, Index parts) {
  const Index first = (images.count() - images.count() / parts) * images.image_size();
  const auto cut = images.pixels.begin() + first;
  ImageSet last{images.channels, images.height, images.width, {cut, images.pixels.end()}};
  images.pixels.erase(cut, images.pixels.end());
  return last;
}

// ---- MNIST and Fashion-MNIST ------------------------------------------------------------------

static constexpr Index mnist_parts = 6;  // one of them is for validation

// `kind` is images-idx3 or labels-idx1.
static fs::path find_idx(const fs::path& dir, const std::string& set, const std::string& kind,
                         const std::string& hint) {
  std::string dotted = kind;
  dotted[kind.find('-')] = '.';
  for (const std::string& spelling : {"-" + kind, "-" + dotted})
    for (const char* suffix : {"-ubyte", "-ubyte.gz"})
      if (const fs::path path = dir / (set + spelling + suffix); has_file(path)) return path;
  fail(dir.string(), "no file ", set, "-", kind, "-ubyte, nor with .gz, expected one; ", hint);
}

static ImageSet load_idx(const fs::path& path, Index at_least, const std::string& hint) {
  IdxImages images = load_idx_images(path);
  check_count(path, images.count, at_least, hint);
  return {1, images.height, images.width, std::move(images.pixels)};
}

static void check_sizes(const fs::path& dir, const ImageSet& train, const ImageSet& test,
                        const std::string& hint) {
  if (train.height != test.height || train.width != test.width)
    fail(dir.string(), "training images are ", train.height, " x ", train.width,
         ", test images are ", test.height, " x ", test.width, ", expected the same size; ", hint);
}

ImageSplits load_idx_splits(const fs::path& dir, const std::string& what, const std::string& hint) {
  check_directory(dir, what, hint);
  const fs::path train_path = find_idx(dir, "train", "images-idx3", hint);
  const fs::path test_path = find_idx(dir, "t10k", "images-idx3", hint);
  ImageSplits splits;
  splits.train = load_idx(train_path, mnist_parts, hint);
  splits.test = load_idx(test_path, 1, hint);
  check_sizes(dir, splits.train, splits.test, hint);
  splits.validation = cut_last_part(splits.train, mnist_parts);
  return splits;
}

// Those of the training file belong to the images of training and then those of validation.
static void share_out_labels(const fs::path& path, const std::vector<std::uint8_t>& labels,
                             std::span<ImageSet* const> sets, const std::string& hint) {
  Index count = 0;
  for (const ImageSet* set : sets) count += set->count();
  if (std::ssize(labels) != count)
    fail(path.string(), "found ", labels.size(), " labels, expected ", count,
         ", one for each image; ", hint);
  auto from = labels.begin();
  for (ImageSet* set : sets) {
    set->labels.assign(from, from + set->count());
    from += set->count();
  }
}

static void add_idx_labels(const fs::path& dir, ImageSplits& images, const std::string& hint) {
  const fs::path train = find_idx(dir, "train", "labels-idx1", hint);
  const fs::path test = find_idx(dir, "t10k", "labels-idx1", hint);
  share_out_labels(train, load_idx_labels(train), std::array{&images.train, &images.validation},
                   hint);
  share_out_labels(test, load_idx_labels(test), std::array{&images.test}, hint);
}

static LabelledImages load_labelled(const fs::path& images, const fs::path& labels,
                                    const std::string& hint) {
  LabelledImages set{load_idx(images, 1, hint), load_idx_labels(labels)};
  if (std::ssize(set.labels) != set.images.count())
    fail(labels.string(), "found ", set.labels.size(), " labels, expected ", set.images.count(),
         ", one for each image of ", images.string(), "; ", hint);
  return set;
}

static LabelledSplits load_labelled_splits(const fs::path& dir, const std::string& what,
                                           const std::string& hint) {
  check_directory(dir, what, hint);
  const auto find = [&](const char* set, const char* kind) {
    return find_idx(dir, set, kind, hint);
  };
  const fs::path train = find("train", "images-idx3"), train_labels = find("train", "labels-idx1");
  const fs::path test = find("t10k", "images-idx3"), test_labels = find("t10k", "labels-idx1");
  LabelledSplits splits{load_labelled(train, train_labels, hint),
                        load_labelled(test, test_labels, hint)};
  check_sizes(dir, splits.train.images, splits.test.images, hint);
  return splits;
}

static std::string hint_of_mnist(const fs::path& dir) {
  return hint_of_script("fetch_mnist.sh", dir);
}

static std::string hint_of_fashion_mnist() {
  return "get the data with: apt-get install dataset-fashion-mnist, which puts it into " +
         std::string(debians_fashion_mnist) + "; or name their directory with --data";
}

ImageSplits load_mnist(const fs::path& dir) {
  return load_idx_splits(dir, "MNIST", hint_of_mnist(dir));
}

ImageSplits load_fashion_mnist(const fs::path& dir) {
  return load_idx_splits(dir, "Fashion-MNIST", hint_of_fashion_mnist());
}

void add_mnist_labels(const fs::path& dir, ImageSplits& images) {
  add_idx_labels(dir, images, hint_of_mnist(dir));
}

void add_fashion_mnist_labels(const fs::path& dir, ImageSplits& images) {
  add_idx_labels(dir, images, hint_of_fashion_mnist());
}

LabelledSplits load_labelled_mnist(const fs::path& dir) {
  return load_labelled_splits(dir, "MNIST", hint_of_mnist(dir));
}

LabelledSplits load_labelled_fashion_mnist(const fs::path& dir) {
  return load_labelled_splits(dir, "Fashion-MNIST", hint_of_fashion_mnist());
}

// ---- CIFAR-10 ---------------------------------------------------------------------------------

static constexpr Index cifar_parts = 5, cifar_plane = 32 * 32, cifar_image = 3 * cifar_plane;
static constexpr int cifar_classes = 10;
static constexpr std::size_t cifar_record = 1 + cifar_image;

static fs::path find_batch(const fs::path& dir, const std::string& name, const std::string& hint) {
  for (const fs::path& folder : {dir, dir / "cifar-10-batches-bin"})
    for (const char* suffix : {".bin", "", ".png"})
      if (const fs::path path = folder / (name + suffix); has_file(path)) return path;
  fail(dir.string(), "no file ", name, ".bin or ", name, ".png, expected one; ", hint);
}

using Pixels = std::vector<std::uint8_t>;

static Pixels load_records(const fs::path& path) {
  const std::string file = read_file(path);
  if (file.size() % cifar_record != 0)
    fail(path.string(), "found ", file.size(), " bytes, expected records of ", cifar_record,
         "; is this a whole batch of CIFAR-10's binary version?");
  Pixels pixels;
  pixels.reserve(file.size());
  for (std::size_t at = 0; at < file.size(); at += cifar_record) {
    const int label = static_cast<unsigned char>(file[at]);
    if (label >= cifar_classes)
      fail(path.string(), "found label ", label, " in record ", at / cifar_record,
           ", expected 0 to 9; is this a batch of CIFAR-10's binary version?");
    pixels.insert(pixels.end(), file.begin() + at + 1, file.begin() + at + cifar_record);
  }
  return pixels;
}

static Pixels load_rows(const fs::path& path) {
  const Picture picture = decode_png(read_file(path), 3, path.string());
  if (picture.width != cifar_plane)
    fail(path.string(), "found rows of ", picture.width, " pixels, expected ", cifar_plane,
         ", one image in each; fetch the file again");
  Pixels pixels(picture.pixels.size());
  for (Index row = 0; row < picture.height; ++row)
    to_planes(picture.pixels.data() + row * cifar_image, cifar_plane, 3,
              pixels.data() + row * cifar_image);
  return pixels;
}

static ImageSet load_batches(const fs::path& dir, const std::vector<std::string>& names,
                             Index at_least, const std::string& hint) {
  std::vector<fs::path> paths;
  for (const std::string& name : names) paths.push_back(find_batch(dir, name, hint));
  std::vector<Pixels> batches(paths.size());
  parallel_for(std::ssize(paths), 1, [&](Index i, Index end) {
    for (; i < end; ++i)
      batches[i] = paths[i].extension() == ".png" ? load_rows(paths[i]) : load_records(paths[i]);
  });
  ImageSet images{3, 32, 32};
  std::size_t size = 0;
  for (const Pixels& batch : batches) size += batch.size();
  images.pixels.reserve(size);
  for (const Pixels& batch : batches)
    images.pixels.insert(images.pixels.end(), batch.begin(), batch.end());
  check_count(paths.front(), images.count(), at_least, hint);
  return images;
}

static std::vector<std::string> training_batches() {
  std::vector<std::string> names;
  for (Index i = 1; i <= 5; ++i) names.push_back("data_batch_" + std::to_string(i));
  return names;
}

static std::string hint_of_cifar10(const fs::path& dir) {
  return hint_of_script("fetch_cifar10.sh", dir);
}

ImageSplits load_cifar10(const fs::path& dir) {
  const std::string hint = hint_of_cifar10(dir);
  check_directory(dir, "CIFAR-10", hint);
  ImageSplits splits;
  splits.train = load_batches(dir, training_batches(), cifar_parts, hint);
  splits.test = load_batches(dir, {"test_batch"}, 1, hint);
  splits.validation = cut_last_part(splits.train, cifar_parts);
  return splits;
}

static std::vector<std::uint8_t> labels_of_batches(const fs::path& dir,
                                                   const std::vector<std::string>& names,
                                                   const std::string& hint) {
  std::vector<std::uint8_t> labels;
  for (const std::string& name : names) {
    const fs::path path = find_batch(dir, name, hint);
    if (path.extension() == ".png")
      fail(path.string(), "a PNG has no labels, expected ", name,
           ".bin, of CIFAR-10's binary version, which has");
    const std::string file = read_file(path);
    for (std::size_t at = 0; at < file.size(); at += cifar_record)
      labels.push_back(static_cast<std::uint8_t>(file[at]));
  }
  return labels;
}

void add_cifar10_labels(const fs::path& dir, ImageSplits& images) {
  const std::string hint = hint_of_cifar10(dir);
  share_out_labels(dir, labels_of_batches(dir, training_batches(), hint),
                   std::array{&images.train, &images.validation}, hint);
  share_out_labels(dir, labels_of_batches(dir, {"test_batch"}, hint), std::array{&images.test},
                   hint);
}

// ---- ImageNet32 -------------------------------------------------------------------------------

static constexpr Index imagenet_validation = 20'000, imagenet_parts = 6;

static ImageSet load_archive(const fs::path& path, Index at_least, const std::string& hint) {
  if (!has_file(path)) fail(path.string(), "no such file, expected ImageNet32's archive; ", hint);
  ImageSet images{3, 32, 32};
  images.archive = std::make_shared<PngArchive>(path, images.channels, images.height, images.width);
  check_count(path, images.archive->count(), at_least, hint);
  images.members.resize(static_cast<std::size_t>(images.archive->count()));
  std::iota(images.members.begin(), images.members.end(), 0u);
  return images;
}

// Moves images drawn at random into a set of their own; both stay in the archive's order.
static ImageSet draw_validation(ImageSet& train) {
  const Index count = std::min(imagenet_validation, train.count() / imagenet_parts);
  // Epoch 0: those of training are counted from 1.
  std::vector<std::uint32_t> order =
      Random(0, purposes::shuffling).permutation(static_cast<std::uint32_t>(train.count()));
  const auto cut = order.begin() + count;
  std::sort(order.begin(), cut);
  std::sort(cut, order.end());
  ImageSet validation = train;
  validation.members.assign(order.begin(), cut);
  train.members.assign(cut, order.end());
  return validation;
}

ImageSplits load_imagenet32(const fs::path& dir) {
  const std::string hint =
      "put train_32x32.tar and valid_32x32.tar there (they are at https://image-net.org/download), "
      "or "
      "name their directory with --data";
  check_directory(dir, "ImageNet32", hint);
  ImageSplits splits;
  splits.test = load_archive(dir / "valid_32x32.tar", 1, hint);  // the quick one first
  splits.train = load_archive(dir / "train_32x32.tar", imagenet_parts, hint);
  splits.validation = draw_validation(splits.train);
  return splits;
}

}  // namespace backflow::inline BACKFLOW_PRECISION
