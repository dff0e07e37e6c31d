#include "backflow/ops/random.h"

#include <cmath>
#include <numbers>
#include <numeric>

#include "backflow/engine/parallel.h"

namespace backflow::inline BACKFLOW_PRECISION {

// One of ten rounds: two 32x32 -> 64 bit products, halves crossed and mixed with the key.
static PhiloxBlock philox_round(const PhiloxBlock& c, std::uint32_t key0, std::uint32_t key1) {
  const std::uint64_t product0 = std::uint64_t{0xD2511F53} * c[0];
  const std::uint64_t product1 = std::uint64_t{0xCD9E8D57} * c[2];
  return {static_cast<std::uint32_t>(product1 >> 32) ^ c[1] ^ key0,
          static_cast<std::uint32_t>(product1),
          static_cast<std::uint32_t>(product0 >> 32) ^ c[3] ^ key1,
          static_cast<std::uint32_t>(product0)};
}

PhiloxBlock philox(PhiloxBlock counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    counter = philox_round(counter, key[0], key[1]);
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

// Four numbers in [0, 1) from one block, two in double: with every bit that Real can hold.
#ifdef BACKFLOW_DOUBLE
static constexpr int reals_per_block = 2;
static std::array<Real, 2> to_uniform(const PhiloxBlock& b) {
  const auto both = [](std::uint32_t high, std::uint32_t low) {
    return static_cast<double>((std::uint64_t{high} << 32 | low) >> 11) * 0x1p-53;
  };
  return {both(b[0], b[1]), both(b[2], b[3])};
}
#else
static constexpr int reals_per_block = 4;
static std::array<Real, 4> to_uniform(const PhiloxBlock& b) {
  const auto one = [](std::uint32_t bits) { return static_cast<float>(bits >> 8) * 0x1p-24f; };
  return {one(b[0]), one(b[1]), one(b[2]), one(b[3])};
}
#endif

// The seed of a stream is a block of Philox that no purpose asks for, so far apart from other seeds
// as random 64-bit numbers are.
Random Random::stream(std::uint32_t k) const {
  constexpr std::uint32_t no_purpose = ~0u;
  const std::array key{static_cast<std::uint32_t>(seed_), static_cast<std::uint32_t>(seed_ >> 32)};
  const PhiloxBlock block = philox({k, 0, 0, no_purpose}, key);
  return Random(std::uint64_t{block[1]} << 32 | block[0], purpose_, epoch_);
}

void Random::uniform(std::uint32_t example, std::span<Real> out) const {
  const std::array key{static_cast<std::uint32_t>(seed_), static_cast<std::uint32_t>(seed_ >> 32)};
  const auto block = [&](std::size_t i) {
    return to_uniform(philox(
        {static_cast<std::uint32_t>(i), example, epoch_, static_cast<std::uint32_t>(purpose_)},
        key));
  };
  const std::size_t whole = out.size() / reals_per_block;
  for (std::size_t i = 0; i < whole; ++i) {
    const auto numbers = block(i);
    for (int k = 0; k < reals_per_block; ++k) out[i * reals_per_block + k] = numbers[k];
  }
  if (const std::size_t rest = out.size() % reals_per_block) {
    const auto numbers = block(whole);
    for (std::size_t k = 0; k < rest; ++k) out[whole * reals_per_block + k] = numbers[k];
  }
}

void Random::normal(std::uint32_t example, std::span<Real> out) const {
  std::vector<Real> u((out.size() + 1) / 2 * 2);
  uniform(example, u);
  for (std::size_t i = 0; i < out.size(); i += 2) {
    const Real radius = std::sqrt(-2 * std::log(1 - u[i]));  // 1 - u is in (0, 1]
    const Real angle = 2 * std::numbers::pi_v<Real> * u[i + 1];
    out[i] = radius * std::cos(angle);
    if (i + 1 < out.size()) out[i + 1] = radius * std::sin(angle);
  }
}

template <class Fill>
static Tensor by_rows(const Shape& shape, std::uint32_t first, Fill fill) {
  Tensor out = Tensor::empty(shape);  // before the next check: no memory is the likelier reason
  const Index rows = shape.rank() ? shape[0] : 1;
  if (constexpr Index examples = Index{1} << 32; rows > examples - first)
    fail("random", "the rows of ", shape, " from example ", first, " on, expected at most ",
         examples, " examples; the numbers would repeat");
  Real* y = out.mutable_data();
  const Index width = rows ? shape.size() / rows : 0;
  parallel_for(rows, std::max<Index>(1, elements_per_chunk / std::max<Index>(width, 1)),
               [&](Index row, Index end) {
                 for (; row < end; ++row)
                   fill(first + static_cast<std::uint32_t>(row),
                        std::span(y + row * width, static_cast<std::size_t>(width)));
               });
  return out;
}

Tensor Random::uniform(const Shape& shape, std::uint32_t first) const {
  return by_rows(shape, first, [this](auto example, auto row) { uniform(example, row); });
}

Tensor Random::normal(const Shape& shape, std::uint32_t first) const {
  return by_rows(shape, first, [this](auto example, auto row) { normal(example, row); });
}

std::vector<std::uint32_t> Random::permutation(std::uint32_t n) const {
  std::vector<std::uint32_t> order(n);
  std::iota(order.begin(), order.end(), 0u);
  const std::array key{static_cast<std::uint32_t>(seed_), static_cast<std::uint32_t>(seed_ >> 32)};
  for (std::uint32_t i = n; i > 1; --i) {
    const auto block = philox({i, 0, epoch_, static_cast<std::uint32_t>(purpose_)}, key);
    std::swap(order[i - 1], order[(std::uint64_t{block[0]} * i) >> 32]);
  }
  return order;
}

}  // namespace backflow::inline BACKFLOW_PRECISION
