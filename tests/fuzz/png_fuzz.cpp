// decode_png: a picture has the kind that was asked for and all its pixels, and is the same when it
// was written and decoded again.
#include "backflow/apps/files/atomic_file.h"
#include "backflow/apps/files/png.h"
#include "backflow/tests/apps/files/png_files.h"
#include "backflow/tests/fuzz/fuzz.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// Changed chunks rarely keep their checksums: here they are right.
std::string with_right_checksums(std::string_view bytes) {
  constexpr std::size_t signature = 8, around = 12;  // a length, a type and a checksum
  std::string mended(bytes.substr(0, signature));
  bytes.remove_prefix(mended.size());
  while (bytes.size() >= around) {
    std::size_t size = 0;
    for (const char byte : bytes.substr(0, 4)) size = size << 8 | static_cast<std::uint8_t>(byte);
    if (size > bytes.size() - around) break;
    mended += png_chunk(std::string(bytes.substr(4, 4)), std::string(bytes.substr(8, size)));
    bytes.remove_prefix(size + around);
  }
  return mended.append(bytes);
}

void decode(std::string_view bytes, int channels) {
  const auto picture = accepted([&] { return decode_png(bytes, channels, "input"); });
  if (!picture) return;
  promise(picture->channels == channels, "a picture is gray or RGB as asked for");
  promise(std::ssize(picture->pixels) == Index{channels} * picture->height * picture->width,
          "a picture has all its pixels");
  const Output written;
  write_png(written.path(), *picture);
  promise(decode_png(read_file(written.path()), channels, "output").pixels == picture->pixels,
          "pixels survive to be written and decoded");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace backflow;
  const std::string_view bytes = text_of(data, size);
  const std::string mended = with_right_checksums(bytes);
  for (const int channels : {1, 3})
    for (const std::string_view file : {bytes, std::string_view(mended)}) decode(file, channels);
  return 0;
}
