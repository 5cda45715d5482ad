// SPDX-License-Identifier: MIT
/// \file
/// Counter-based random numbers: a draw is a function of (seed, purpose, step, row) and of its
/// place in that stream, never of what was drawn elsewhere. So a batch may be split over threads,
/// devices or processes in any way and still receive the same numbers.
///
/// The generator is Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
/// SC 2011) from the Random123 library. Key: the two halves of the seed, low half first. Counter:
/// (step, row, purpose, block), where block counts the stream's groups of four 32-bit words.
#pragma once

#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numbers>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <Random123/philox.h>

#include <meanflow/config.hpp>
#include <meanflow/error.hpp>

namespace meanflow {

/// What numbers are drawn for. Streams of different purposes are independent, so that, for example,
/// turning dropout on leaves the noise of every step as it was. The values are part of the format:
/// new purposes are appended.
enum class Purpose : std::uint32_t {
  initialisation,
  data,
  noise,
  times,
  labels,
  dropout,
  augmentation,
  permutation,
  sampling,
  user,
  directions,
  guidance,
  objective,
};

/// One stream of random numbers. Cheap to create (no state is shared or seeded): make one per row.
///
/// Steps and rows up to 2^32 - 1 fill one counter word each. The 12 bits above, of either, go into
/// the purpose's word, so streams stay distinct below 2^44; beyond that they repeat. A stream holds
/// 2^34 words and then starts again.
///
/// Integers and uniform numbers are the same bits everywhere. Normal numbers are the same up to the
/// rounding of the logarithm, sine and cosine of the machine or device.
///
/// Also a `std::uniform_random_bit_generator`.
class RandomStream {
 public:
  using result_type = std::uint32_t;

  MEANFLOW_HOST_DEVICE RandomStream(std::uint64_t seed, Purpose purpose, std::uint64_t step = 0,
                                    std::uint64_t row = 0) {
    key_.v[0] = static_cast<std::uint32_t>(seed);
    key_.v[1] = static_cast<std::uint32_t>(seed >> 32);
    counter_.v[0] = static_cast<std::uint32_t>(step);
    counter_.v[1] = static_cast<std::uint32_t>(row);
    counter_.v[2] = static_cast<std::uint32_t>(purpose) |
                    (static_cast<std::uint32_t>(step >> 32) & 0xfffU) << 8 |
                    (static_cast<std::uint32_t>(row >> 32) & 0xfffU) << 20;
    counter_.v[3] = 0;
  }

  [[nodiscard]] static constexpr result_type min() { return 0; }
  [[nodiscard]] static constexpr result_type max() { return 0xffffffffU; }
  MEANFLOW_HOST_DEVICE result_type operator()() { return bits(); }

  /// Seeks to word 4 * block: parts of a stream that are far apart serve as streams of their own.
  MEANFLOW_HOST_DEVICE void seek(std::uint32_t block) {
    counter_.v[3] = block;
    used_ = 4;
    spare_size_ = 0;
  }

  /// The next 32 random bits.
  MEANFLOW_HOST_DEVICE std::uint32_t bits() {
    if (used_ == 4) {
      words_ = philox4x32_R(10, counter_, key_);
      ++counter_.v[3];
      used_ = 0;
    }
    return words_.v[used_++];
  }

  /// The next 64 random bits: two words, the low one first.
  MEANFLOW_HOST_DEVICE std::uint64_t bits64() {
    const std::uint64_t low = bits();
    return low | static_cast<std::uint64_t>(bits()) << 32;
  }

  /// Uniform in [0, 1): multiples of 2^-24 (float, one word) or 2^-53 (double, two words).
  template <std::floating_point T>
  MEANFLOW_HOST_DEVICE T uniform() {
    if constexpr (sizeof(T) == sizeof(float)) {
      return static_cast<T>(bits() >> 8) * T(0x1p-24);
    } else {
      return static_cast<T>(bits64() >> 11) * T(0x1p-53);
    }
  }

  /// Uniform in (0, 1), symmetric about 1/2: odd multiples of 2^-24 (float) or 2^-53 (double).
  template <std::floating_point T>
  MEANFLOW_HOST_DEVICE T uniform_open() {
    if constexpr (sizeof(T) == sizeof(float)) {
      return static_cast<T>((bits() >> 8) | 1U) * T(0x1p-24);
    } else {
      return static_cast<T>((bits64() >> 11) | 1U) * T(0x1p-53);
    }
  }

  /// Standard normal, by Box and Muller: r cos(a) and then r sin(a), with r^2 = -2 log u and u in
  /// (0, 1], a uniform in [0, 2 pi). Sizes reach 6.76 (float) or 8.65 (double). Asking the same
  /// stream for another type discards the cached sine.
  template <std::floating_point T>
  MEANFLOW_HOST_DEVICE T normal() {
    if (spare_size_ == sizeof(T)) {
      spare_size_ = 0;
      return static_cast<T>(spare_);
    }
    const NormalPair<T> pair = normal_pair<T>();
    spare_ = pair.second;
    spare_size_ = sizeof(T);
    return pair.first;
  }

  /// Uniform in 0 .. n-1, without bias (Lemire, "Fast random integer generation in an interval",
  /// 2019; rejection under a mask for n > 2^32). n = 0 gives 0.
  MEANFLOW_HOST_DEVICE std::uint64_t below(std::uint64_t n) {
    return n >> 32 ? below_large(n) : below_small(static_cast<std::uint32_t>(n));
  }

  /// True with the probability given; one word. Probabilities are kept to 2^-24.
  MEANFLOW_HOST_DEVICE bool bernoulli(double probability) {
    return uniform<float>() < static_cast<float>(probability);
  }

  /// x >= 0 rounded down or up by chance, so that the mean is x. A whole number, up to rounding
  /// errors of the last bits, stays itself and draws nothing.
  MEANFLOW_HOST_DEVICE std::uint64_t round_by_chance(double x) {
    const auto whole = static_cast<std::uint64_t>(x);
    const double part = x - static_cast<double>(whole);
    if (part < 1e-9) return whole;
    if (part > 1 - 1e-9) return whole + 1;
    return whole + (uniform<double>() < part);
  }

 private:
  template <class T>
  struct NormalPair {
    T first, second;
  };

  template <class T>
  MEANFLOW_HOST_DEVICE NormalPair<T> normal_pair() {
    using std::cos;
    using std::log;
    using std::sin;
    using std::sqrt;
    T u;
    if constexpr (sizeof(T) == sizeof(float)) {
      u = static_cast<T>(bits()) * T(0x1p-32) + T(0x1p-33);  // all 32 bits, for the tails
    } else {
      u = static_cast<T>(bits64() >> 11) * T(0x1p-53) + T(0x1p-54);
    }
    const T radius = sqrt(T(-2) * log(u));
    const T angle = T(2) * std::numbers::pi_v<T> * uniform<T>();
    return {radius * cos(angle), radius * sin(angle)};
  }

  MEANFLOW_HOST_DEVICE std::uint64_t below_small(std::uint32_t n) {
    std::uint64_t product = static_cast<std::uint64_t>(bits()) * n;
    if (static_cast<std::uint32_t>(product) < n) {
      const std::uint32_t threshold = (0U - n) % n;
      while (static_cast<std::uint32_t>(product) < threshold) {
        product = static_cast<std::uint64_t>(bits()) * n;
      }
    }
    return product >> 32;
  }

  MEANFLOW_HOST_DEVICE std::uint64_t below_large(std::uint64_t n) {
    std::uint64_t mask = n - 1;
    for (int shift = 1; shift < 64; shift *= 2) mask |= mask >> shift;
    std::uint64_t value = bits64() & mask;
    while (value >= n) value = bits64() & mask;
    return value;
  }

  philox4x32_key_t key_;
  philox4x32_ctr_t counter_;
  philox4x32_ctr_t words_;
  std::uint32_t used_ = 4;
  std::uint32_t spare_size_ = 0;
  double spare_ = 0;
};

/// Fills `values` with the stream's standard normal numbers, in order.
template <std::floating_point T>
void fill_normal(std::span<T> values, RandomStream stream) {
  for (T& value : values) value = stream.normal<T>();
}

/// Fills `values` with numbers uniform in [low, high) from the stream, in order. Rounding may give
/// `high` itself.
template <std::floating_point T>
void fill_uniform(std::span<T> values, T low, T high, RandomStream stream) {
  for (T& value : values) value = low + (high - low) * stream.uniform<T>();
}

/// Fills the rows of `values` (N, row_size) with standard normal numbers, each row from its own
/// stream RandomStream(seed, purpose, step, first_row + i): splitting a batch changes nothing.
/// Throws ShapeError if the values are not a whole number of rows.
template <std::floating_point T>
void fill_normal_rows(std::span<T> values, std::size_t row_size, std::uint64_t seed,
                      Purpose purpose, std::uint64_t step, std::uint64_t first_row = 0) {
  if (row_size == 0 ? !values.empty() : values.size() % row_size != 0) {
    throw ShapeError("fill_normal_rows: " + std::to_string(values.size()) +
                     " values are not a whole number of rows of " + std::to_string(row_size) + ".");
  }
  const std::size_t rows = row_size == 0 ? 0 : values.size() / row_size;
  for (std::size_t i = 0; i < rows; ++i) {
    fill_normal(values.subspan(i * row_size, row_size),
                RandomStream(seed, purpose, step, first_row + i));
  }
}

/// The numbers 0 .. n-1 in a random order that depends on the seed and the epoch alone (Fisher and
/// Yates, from RandomStream(seed, Purpose::permutation, epoch)).
/// Throws SettingError if n numbers do not fit the index type.
template <std::unsigned_integral Index = std::size_t>
[[nodiscard]] std::vector<Index> permutation(std::size_t n, std::uint64_t seed,
                                             std::uint64_t epoch = 0) {
  if (n > 0 && n - 1 > std::numeric_limits<Index>::max()) {
    throw SettingError("permutation: " + std::to_string(n) +
                       " numbers do not fit an index type of " +
                       std::to_string(std::numeric_limits<Index>::digits) + " bits.");
  }
  std::vector<Index> order(n);
  std::iota(order.begin(), order.end(), Index(0));
  RandomStream stream(seed, Purpose::permutation, epoch);
  for (std::size_t i = n; i > 1; --i) std::swap(order[i - 1], order[stream.below(i)]);
  return order;
}

}  // namespace meanflow
