#include "backflow/apps/files/gzip.h"

#include <algorithm>
#include <climits>
#include <span>
#include <utility>

namespace backflow::inline BACKFLOW_PRECISION {

static constexpr std::uint64_t max_ratio = 1032;  // deflate cannot compress better
static constexpr std::size_t piece = 1 << 18;     // of the file that is read at once

MaybeGzip::MaybeGzip(const OpenFile& file)
    : file_(file), where_(file.path().string()), compressed_(file.read(0, 2) == "\x1f\x8b") {
  if (compressed_ && inflateInit2(&gzip_, MAX_WBITS + 16) != Z_OK)
    fail(where_, "cannot start zlib");
}

MaybeGzip::~MaybeGzip() {
  if (compressed_) inflateEnd(&gzip_);
}

std::uint64_t MaybeGzip::bound() const {
  return compressed_ ? file_.size() * max_ratio : file_.size() - at_;
}

std::size_t MaybeGzip::read(std::uint8_t* to, std::size_t size) {
  if (compressed_) return inflate_into(to, size);
  const std::size_t got = file_.read(at_, std::span(reinterpret_cast<char*>(to), size));
  at_ += got;
  return got;
}

bool MaybeGzip::at_end() {
  std::uint8_t byte;
  return read(&byte, 1) == 0 && !found_other_data_;
}

// Whether there are more compressed bytes to take.
bool MaybeGzip::refill() {
  if (gzip_.avail_in > 0) return true;
  compressed_bytes_ = file_.read(at_, piece);
  at_ += compressed_bytes_.size();
  gzip_.next_in = reinterpret_cast<Bytef*>(compressed_bytes_.data());
  gzip_.avail_in = static_cast<uInt>(compressed_bytes_.size());
  return gzip_.avail_in > 0;
}

std::size_t MaybeGzip::inflate_into(std::uint8_t* to, std::size_t size) {
  std::size_t done = 0;
  while (done < size && (!member_ended_ || begin_next_member()))
    done += inflate_some(to + done, size - done);
  return done;
}

// False at the end of the file, before which there may be zeros, and where other data begin.
bool MaybeGzip::begin_next_member() {
  bool zeros = false;
  while (refill() && *gzip_.next_in == 0) {
    ++gzip_.next_in, --gzip_.avail_in;
    zeros = true;
  }
  if (!refill()) return false;
  found_other_data_ = zeros || *gzip_.next_in != 0x1f;
  if (found_other_data_) return false;
  inflateReset(&gzip_);
  member_ended_ = false;
  return true;
}

std::size_t MaybeGzip::inflate_some(std::uint8_t* to, std::size_t size) {
  if (!refill()) fail(where_, "the gzip data is truncated, expected more; fetch the file again");
  const uInt room = static_cast<uInt>(std::min<std::size_t>(size, UINT_MAX));
  gzip_.next_out = to;
  gzip_.avail_out = room;
  const int status = inflate(&gzip_, Z_NO_FLUSH);
  if (status != Z_OK && status != Z_STREAM_END)
    fail(where_, "the gzip data is corrupt (", gzip_.msg ? gzip_.msg : "zlib error",
         "), expected a valid stream; fetch the file again");
  member_ended_ = status == Z_STREAM_END;
  return room - gzip_.avail_out;
}

// ---- Lengths ----------------------------------------------------------------------------------

GzipLength::GzipLength() {
  constexpr int best = 9, memory = 8, as_gzip = MAX_WBITS + 16;
  if (deflateInit2(&gzip_, best, Z_DEFLATED, as_gzip, memory, Z_DEFAULT_STRATEGY) != Z_OK)
    fail("gzip", "cannot start zlib");
}

void GzipLength::compress(int flush) {
  std::uint8_t out[4096];
  do {
    gzip_.next_out = out;
    gzip_.avail_out = sizeof out;
    deflate(&gzip_, flush);
    length_ += sizeof out - gzip_.avail_out;
  } while (gzip_.avail_out == 0);
}

void GzipLength::add(std::span<const std::uint8_t> bytes) {
  while (!bytes.empty()) {
    const std::size_t size = std::min<std::size_t>(bytes.size(), UINT_MAX);
    gzip_.next_in = const_cast<Bytef*>(bytes.data());
    gzip_.avail_in = static_cast<uInt>(size);
    compress(Z_NO_FLUSH);
    bytes = bytes.subspan(size);
  }
}

std::uint64_t GzipLength::finish() {
  compress(Z_FINISH);
  deflateReset(&gzip_);
  return std::exchange(length_, 0);
}

}  // namespace backflow::inline BACKFLOW_PRECISION
