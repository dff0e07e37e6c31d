#include "backflow/apps/model/datasets.h"

#include <zlib.h>

#include "backflow/apps/data/datasets.h"

namespace backflow::inline BACKFLOW_PRECISION {

namespace fs = std::filesystem;
using Checksums = DatasetRow::Checksums;
using Counts = DatasetRow::Counts;

const Table<DatasetRow>& datasets() {
  static const Table<DatasetRow> all("dataset",
                                     {{"mnist",
                                       "70,000 handwritten digits, gray, 28 x 28",
                                       "MNIST",
                                       {1, 28, 28},
                                       "",
                                       load_mnist,
                                       add_mnist_labels,
                                       Checksums{1384265727, 2524351528, 3838467927}},
                                      {"fashion_mnist",
                                       "70,000 pieces of clothing, gray, 28 x 28",
                                       "Fashion-MNIST",
                                       {1, 28, 28},
                                       debians_fashion_mnist,
                                       load_fashion_mnist,
                                       add_fashion_mnist_labels,
                                       Checksums{1292998557, 2757646165, 309494841}},
                                      {"cifar10",
                                       "60,000 photographs of ten kinds of things, colour, 32 x 32",
                                       "CIFAR-10",
                                       {3, 32, 32},
                                       "",
                                       load_cifar10,
                                       add_cifar10_labels,
                                       Checksums{2885625128, 3536555025, 1854372032}},
                                      {"imagenet32",
                                       "1.3 million photographs, colour, 32 x 32",
                                       "ImageNet32",
                                       {3, 32, 32},
                                       "",
                                       load_imagenet32,
                                       nullptr,
                                       Counts{1'281'167, 49'999, 50'000}}});
  return all;
}

fs::path DatasetRow::directory() const {
  std::error_code ignored;
  const fs::path usual = fs::path("data") / name;
  if (fs::is_directory(usual, ignored) || !fs::is_directory(elsewhere, ignored)) return usual;
  return elsewhere;
}

const DatasetRow* known_by_test_images(const ImageSet& test) {
  const std::uint32_t found = checksum(test);
  for (const DatasetRow& row : datasets().rows())
    if (const auto* known = std::get_if<Checksums>(&row.known_by); known && known->test == found)
      return &row;
  return nullptr;
}

// One part is enough: what a model is tested on must not be something else, either.
static bool has_a_part_of(const DatasetRow& dataset, const ImageSplits& images) {
  const auto* known = std::get_if<Checksums>(&dataset.known_by);
  return known && (known->train == images.train_checksum || known->test == images.test_checksum);
}

static bool is_all_of(const DatasetRow& dataset, const ImageSplits& images) {
  if (const auto* known = std::get_if<Checksums>(&dataset.known_by))
    return known->train == images.train_checksum &&
           known->validation == images.validation_checksum && known->test == images.test_checksum;
  const Counts counts = std::get<Counts>(dataset.known_by);
  const Index test = images.test.count();
  return images.train.count() + images.validation.count() == counts.train_and_validation &&
         test >= counts.least_test && test <= counts.most_test;
}

static std::vector<std::string> names_of_labelled() {
  return datasets().where([](const DatasetRow& row) { return row.add_labels != nullptr; }).names();
}

static void add_labels(const DatasetRow& dataset, const fs::path& dir, ImageSplits& images) {
  if (!dataset.add_labels)
    fail("context", dataset.title, " has no labels here, expected one of ",
         in_words(names_of_labelled()));
  dataset.add_labels(dir, images);
  const auto add = [](std::uint32_t& sum, const ImageSet& set) {
    sum = static_cast<std::uint32_t>(crc32_z(sum, set.labels.data(), set.labels.size()));
  };
  add(images.train_checksum, images.train);
  add(images.validation_checksum, images.validation);
  add(images.test_checksum, images.test);
}

ImageSplits load_dataset(const std::string& name, const fs::path& dir, bool labels) {
  const DatasetRow& dataset = datasets()[name];
  ImageSplits images = dataset.load(dir);
  images.train_checksum = checksum(images.train);
  images.validation_checksum = checksum(images.validation);
  images.test_checksum = checksum(images.test);
  for (const DatasetRow& other : datasets().rows())
    if (other.name != name && has_a_part_of(other, images))
      fail(dir.string(), "these are images of ", other.title, ", expected those of ", dataset.title,
           "; say --dataset ", other.name);
  images.published = is_all_of(dataset, images);
  images.name = images.published ? dataset.title : dir.string();
  if (labels) add_labels(dataset, dir, images);
  return images;
}

}  // namespace backflow::inline BACKFLOW_PRECISION
