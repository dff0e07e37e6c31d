#include "backflow/engine/buffer.h"

#include <pthread.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

namespace backflow::inline BACKFLOW_PRECISION {

static std::string gigabytes(Index bytes) {
  char text[32];
  const double giga = static_cast<double>(bytes) * 1e-9;
  std::snprintf(text, sizeof text, giga < 0.1 ? "%.2g GB" : "%.1f GB", giga);
  return text;
}

OutOfMemory::OutOfMemory(Index bytes, const std::string& where, const std::string& what)
    : bytes_(bytes),
      line_("[" + where + "] out of memory: " + gigabytes(bytes) + " asked for " + what) {}

struct alignas(64) Buffer::Header {
  std::atomic<Index> handles{1};
  Index bytes = 0;               // of the whole block, this header included
  Index asked = 0;               // of these, so many are in use: the block may be a larger one
  std::uint64_t given_back = 0;  // when: the pool's count of blocks given back, this one included
};

// Eight sizes per power of two: at most an eighth is wasted, and near sizes share blocks.
static constexpr Index steps_per_octave = 8;

static Index step_of(Index bytes) {
  const Index octave = std::bit_floor(static_cast<std::uint64_t>(bytes));
  return std::max<Index>(64, octave / steps_per_octave);
}
static Index rounded_up(Index bytes) {
  const Index step = step_of(bytes);
  return (bytes + step - 1) / step * step;
}
static Index size_class(Index rounded) {
  const Index octave = std::bit_width(static_cast<std::uint64_t>(rounded)) - 1;
  return octave * steps_per_octave + (rounded - (Index{1} << octave)) / step_of(rounded);
}

class BufferPool {
 public:
  static BufferPool& instance() {
    static auto* pool = make();  // never destroyed: buffers in statics may outlive main
    return *pool;
  }

  Buffer::Header* take(Index bytes) {
    std::lock_guard lock(mutex_);
    SizeClass* sizes = &classes_[size_class(bytes)];
    if (sizes->free.empty()) sizes = nearest_with_free(sizes, steps_of_lending());
    Buffer::Header* header = nullptr;
    if (sizes->free.empty()) {
      header = from_system(bytes, *sizes);
    } else {
      header = sizes->free.back();
      sizes->free.pop_back();
      use_.pooled_bytes -= header->bytes;
    }
    header->asked = bytes;
    use_.live_bytes += bytes;
    use_.peak_bytes = std::max(use_.peak_bytes, use_.live_bytes);
    live_blocks_bytes_ += header->bytes;
    bound_ = std::max(bound_, live_blocks_bytes_);
    return header;
  }

  void give_back(Buffer::Header* header) {
    std::lock_guard lock(mutex_);
    use_.live_bytes -= header->asked;
    live_blocks_bytes_ -= header->bytes;
    use_.pooled_bytes += header->bytes;
    header->given_back = ++given_back_;
    SizeClass& sizes = classes_[size_class(header->bytes)];
    sizes.free.push_back(header);  // has room: see from_system()
    while (use_.pooled_bytes > bound_) evict(sizes);
  }

  void release() {
    std::lock_guard lock(mutex_);
    release_all();
    crowded_at_ = -1;
  }

  MemoryUse use() {
    std::lock_guard lock(mutex_);
    return use_;
  }
  void reset_peak() {
    std::lock_guard lock(mutex_);
    use_.peak_bytes = use_.live_bytes;
  }

 private:
  // A child that is forked while another thread is in here would find the lock held for ever: so
  // the thread that forks holds it itself.
  static BufferPool* make() {
    pthread_atfork([] { instance().mutex_.lock(); }, [] { instance().mutex_.unlock(); },
                   [] { instance().mutex_.unlock(); });
    return new BufferPool;
  }

  struct SizeClass {
    std::vector<Buffer::Header*> free;  // given back the last is taken first: it is warm
    std::size_t blocks = 0;             // free or live
  };

  // Blocks idle for so many others are of sizes that the program has left behind.
  static constexpr std::uint64_t patience = 1 << 14;

  // What live and free blocks may have together, beyond the most that was ever live. The steps of
  // a program that needs gigabytes have many sizes that are not live together: to keep a block for
  // each takes a quarter more. These are enough where blocks are lent in the place of those half as
  // large; and small programs do not have so many.
  static constexpr Index most_spare = Index{64} << 20;

  bool is_left_behind(const Buffer::Header* free) const {
    return given_back_ - free->given_back > patience;
  }

  // How many steps larger a block may be than the one that it stands in for.
  Index steps_of_lending() const {
    if (crowded_at_ == bound_) return 6 * steps_per_octave;
    return use_.pooled_bytes > most_spare ? steps_per_octave : 0;
  }

  // The sizes themselves or the next larger ones, so many steps up at most, that have a free block
  // which was of use lately.
  SizeClass* nearest_with_free(SizeClass* sizes, Index steps) {
    SizeClass* end = std::min(sizes + steps + 1, classes_.data() + classes_.size());
    SizeClass* found = std::find_if(sizes, end, [this](const SizeClass& s) {
      return !s.free.empty() && !is_left_behind(s.free.back());
    });
    return found == end ? sizes : found;
  }

  // The list of free blocks gets its room here, where failing is possible: giving back is not
  // allowed to fail.
  Buffer::Header* from_system(Index bytes, SizeClass& sizes) {
    const Index most = std::max(bound_, live_blocks_bytes_ + bytes) + most_spare;
    while (use_.pooled_bytes > 0 && live_blocks_bytes_ + use_.pooled_bytes + bytes > most) {
      SizeClass& oldest = longest_idle();
      to_system(oldest, oldest.free.begin());
    }
    if (sizes.free.capacity() <= sizes.blocks) sizes.free.reserve(2 * sizes.blocks + 1);
    void* block = std::aligned_alloc(64, bytes);
    if (!block && use_.pooled_bytes > 0) {
      release_all();
      block = std::aligned_alloc(64, bytes);
    }
    if (!block) throw OutOfMemory(bytes, "buffer", "a block");
    ++sizes.blocks;
    ++use_.system_allocations;
    auto* header = new (block) Buffer::Header;
    header->bytes = bytes;
    return header;
  }

  // Of the free blocks, of which there must be one, the first of these sizes is idle for longest.
  SizeClass& longest_idle() {
    return *std::min_element(
        classes_.begin(), classes_.end(), [](const SizeClass& a, const SizeClass& b) {
          return !a.free.empty() &&
                 (b.free.empty() || a.free.front()->given_back < b.free.front()->given_back);
        });
  }

  // Gives one block back to the system: the one that has been idle for longest or, when all have
  // been of use lately, the latest of `just_used`, as all others would be asked for again first.
  void evict(SizeClass& just_used) {
    SizeClass& oldest = longest_idle();
    if (is_left_behind(oldest.free.front())) {
      to_system(oldest, oldest.free.begin());
    } else {
      to_system(just_used, just_used.free.end() - 1);
      crowded_at_ = bound_;
    }
  }

  void to_system(SizeClass& sizes, std::vector<Buffer::Header*>::iterator block) {
    use_.pooled_bytes -= (*block)->bytes;
    std::free(*block);
    sizes.free.erase(block);
    --sizes.blocks;
  }

  void release_all() {
    for (SizeClass& sizes : classes_)
      while (!sizes.free.empty()) to_system(sizes, sizes.free.end() - 1);
  }

  std::mutex mutex_;
  MemoryUse use_;
  Index live_blocks_bytes_ = 0;  // of whole blocks: no less than live_bytes
  Index bound_ = 0;              // the most that they have ever been: no more are kept free
  // The bound when a block had to go that was of use. Until the bound grows, free blocks are lent
  // in the place of smaller ones: a step whose sizes are not live together, and are more than the
  // bound in all, would otherwise ask the system for some of them again and again.
  Index crowded_at_ = -1;
  std::uint64_t given_back_ = 0;
  std::array<SizeClass, 64 * steps_per_octave> classes_;  // by size_class()
};

Buffer::Buffer(Index count) {
  static_assert(sizeof(Header) == header_bytes);
  if (count < 0 || count > Shape::max_size)
    fail("buffer", count, " elements asked for, expected 0 to ", Shape::max_size);
  const Index bytes = static_cast<Index>(sizeof(Header) + sizeof(Real) * std::max<Index>(count, 1));
  header_ = BufferPool::instance().take(rounded_up(bytes));
  header_->handles.store(1, std::memory_order_relaxed);
}

Buffer::Buffer(const Buffer& other) : header_(other.header_) {
  if (header_) header_->handles.fetch_add(1, std::memory_order_relaxed);
}

Buffer::~Buffer() {
  if (header_ && header_->handles.fetch_sub(1, std::memory_order_acq_rel) == 1)
    BufferPool::instance().give_back(header_);
}

bool Buffer::shared() const { return header_->handles.load(std::memory_order_acquire) > 1; }

MemoryUse memory_use() { return BufferPool::instance().use(); }
void reset_peak_bytes() { BufferPool::instance().reset_peak(); }
void release_pooled_buffers() { BufferPool::instance().release(); }

}  // namespace backflow::inline BACKFLOW_PRECISION
