// Pooled memory: a fresh page costs more to fault in than most ops cost to run, so freed blocks
// are kept by size and handed out again. Thread-safe.
//
// Three bounds keep the pool modest. When the system has no more memory, the pool gives all its
// free blocks back and asks again. It keeps no more free bytes than were ever live at once: a
// program that changes its sizes holds at most twice what it once needed. And live and free blocks
// together are no more than 64 MiB beyond the most that was ever live. Near these bounds, a larger
// block may serve; it counts as live with all its bytes.
#pragma once

#include <cstddef>
#include <new>
#include <utility>

#include "backflow/engine/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {

// The system has no memory for a buffer. No Error, since no call is wrong; what() is one line too.
class OutOfMemory : public std::bad_alloc {
 public:
  // "[where] out of memory: 8.0 GB asked for what".
  OutOfMemory(Index bytes, const std::string& where, const std::string& what);
  Index bytes() const { return bytes_; }
  const char* what() const noexcept override { return line_.what(); }

 private:
  Index bytes_;
  std::runtime_error line_;  // its copies cannot fail
};

// A counted handle to a 64-byte aligned block of uninitialised Reals.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(Index count);  // may throw OutOfMemory
  Buffer(const Buffer& other);
  Buffer(Buffer&& other) noexcept : header_(std::exchange(other.header_, nullptr)) {}
  Buffer& operator=(Buffer other) noexcept {
    std::swap(header_, other.header_);
    return *this;
  }
  ~Buffer();

  explicit operator bool() const { return header_ != nullptr; }
  Real* data() const {  // behind the header; inline, since every kernel asks for it
    return reinterpret_cast<Real*>(reinterpret_cast<std::byte*>(header_) + header_bytes);
  }
  // True while another handle sees the same block.
  bool shared() const;

 private:
  struct Header;
  static constexpr std::size_t header_bytes = 64;
  friend class BufferPool;
  Header* header_ = nullptr;
};

struct MemoryUse {
  Index live_bytes = 0;          // in buffers that somebody holds
  Index peak_bytes = 0;          // the most that live_bytes has been since reset_peak_bytes()
  Index pooled_bytes = 0;        // freed and kept for reuse
  Index system_allocations = 0;  // how often the pool had to ask the system
};
MemoryUse memory_use();
void reset_peak_bytes();
void release_pooled_buffers();

}  // namespace backflow::inline BACKFLOW_PRECISION
