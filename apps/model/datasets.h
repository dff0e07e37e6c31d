// The data sets that a configuration can name. A new one is a row in datasets.cpp, beside the files
// of its loader in apps/data.
#pragma once

#include <filesystem>
#include <variant>

#include "backflow/apps/data/images.h"
#include "backflow/apps/model/table.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct DatasetRow {
  // By which its images are known: those of all three parts, or, where nobody may pass the data on,
  // how many there are.
  struct Checksums {
    std::uint32_t train, validation, test;
  };
  struct Counts {
    Index train_and_validation, least_test, most_test;
  };

  std::string name, help, title;
  ImageShape shape;       // of an image, unless somebody brings others of his own
  std::string elsewhere;  // where they are when not in data/NAME, or nothing
  ImageSplits (*load)(const std::filesystem::path& dir);
  // Adds the labels to the images that were loaded from there; null: it has none.
  void (*add_labels)(const std::filesystem::path& dir, ImageSplits& images);
  std::variant<Checksums, Counts> known_by;

  // data/NAME; or the directory elsewhere, while that is there and data/NAME is not.
  std::filesystem::path directory() const;
};

const Table<DatasetRow>& datasets();

// The data set whose test images these are, by their checksum; null where they are somebody's own.
const DatasetRow* known_by_test_images(const ImageSet& test);

// Fails when the images are those of another data set; notes whether they are this one's. With
// labels if asked for, or else it fails; the checksums are then those of images and labels.
ImageSplits load_dataset(const std::string& name, const std::filesystem::path& dir,
                         bool labels = false);

}  // namespace backflow::inline BACKFLOW_PRECISION
