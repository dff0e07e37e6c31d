// A file as a stream of bytes, decompressed by zlib if it is a gzip file.
//
// A gzip file has one member or several, one after another, and may have zeros behind the last: as
// gzip itself reads them. Source: RFC 1952.
#pragma once

#include <zlib.h>

#include <span>

#include "backflow/apps/files/atomic_file.h"

namespace backflow::inline BACKFLOW_PRECISION {

class MaybeGzip {
 public:
  explicit MaybeGzip(const OpenFile& file);  // borrowed
  MaybeGzip(const MaybeGzip&) = delete;
  MaybeGzip& operator=(const MaybeGzip&) = delete;
  ~MaybeGzip();

  // How many bytes are left, at most: what is compressed cannot be larger than this.
  std::uint64_t bound() const;
  // Up to `size` bytes; fewer only at the end. Throws an Error naming the file when its gzip data
  // is damaged or cut short.
  std::size_t read(std::uint8_t* to, std::size_t size);
  // Whether nothing is left. In a gzip file this reads on: the checksum follows the last byte.
  bool at_end();

 private:
  bool refill();
  bool begin_next_member();
  std::size_t inflate_into(std::uint8_t* to, std::size_t size);
  std::size_t inflate_some(std::uint8_t* to, std::size_t size);

  const OpenFile& file_;
  std::string where_;
  bool compressed_;
  std::uint64_t at_ = 0;  // the place in the file of what comes next
  std::string compressed_bytes_;
  bool member_ended_ = false, found_other_data_ = false;
  z_stream gzip_{};
};

// How long a gzip file of some bytes is, at the best compression, without the file.
class GzipLength {
 public:
  GzipLength();
  GzipLength(const GzipLength&) = delete;
  GzipLength& operator=(const GzipLength&) = delete;
  ~GzipLength() { deflateEnd(&gzip_); }

  void add(std::span<const std::uint8_t> bytes);
  std::uint64_t finish();  // of all that was added; then it begins with another file

 private:
  void compress(int flush);

  z_stream gzip_{};
  std::uint64_t length_ = 0;
};

}  // namespace backflow::inline BACKFLOW_PRECISION
