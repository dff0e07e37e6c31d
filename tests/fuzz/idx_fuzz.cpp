// load_idx_images: the pixels are as many as the header says, and the same when they were
// compressed.
#include "backflow/apps/data/idx.h"
#include "backflow/tests/apps/data/idx_files.h"
#include "backflow/tests/fuzz/fuzz.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

std::optional<IdxImages> load(std::string_view bytes) {
  auto images = accepted([&] { return load_idx_images(file_of(bytes)); });
  if (images)
    promise(std::ssize(images->pixels) == images->count * images->height * images->width,
            "there are count x height x width pixels");
  return images;
}

bool same(const std::optional<IdxImages>& a, const std::optional<IdxImages>& b) {
  if (!a || !b) return !a && !b;
  return a->count == b->count && a->height == b->height && a->width == b->width &&
         a->pixels == b->pixels;
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace backflow;
  const std::string_view bytes = text_of(data, size);
  const std::optional<IdxImages> images = load(bytes);
  if (!bytes.starts_with("\x1f\x8b"))
    promise(same(images, load(gzip(std::string(bytes)))), "a compressed file loads as the raw one");
  return 0;
}
