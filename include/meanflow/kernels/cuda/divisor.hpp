// SPDX-License-Identifier: MIT
/// \file
/// Division by an invariant number, which otherwise takes a GPU some twenty instructions: most
/// kernels find their row and column by one.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include <meanflow/config.hpp>

namespace meanflow::kernels::cuda {

/// i / d and i % d, as of the number itself. For i < 2^31 the quotient is that of Granlund and
/// Montgomery ("Division by invariant integers using multiplication", 1994):
///   q = (high(i m) + i) / 2^s,  s = ceil(log2 d),  m = floor(2^32 (2^s - d) / d) + 1.
class Divisor {
 public:
  Divisor() : Divisor(1) {}
  explicit Divisor(std::size_t divisor) : divisor_(divisor) {
    if (divisor == 0 || divisor >> 31) return;
    shift_ = static_cast<std::uint32_t>(std::bit_width(divisor - 1));
    const std::uint64_t rest = (std::uint64_t{1} << shift_) - divisor;
    multiplier_ = static_cast<std::uint32_t>((rest << 32) / divisor + 1);
  }

  [[nodiscard]] MEANFLOW_HOST_DEVICE std::size_t value() const { return divisor_; }

  friend MEANFLOW_HOST_DEVICE std::size_t operator/(std::size_t i, const Divisor& d) {
    if (i >> 31 || d.divisor_ >> 31) return i / d.divisor_;
    const auto low = static_cast<std::uint32_t>(i);
    const auto high = static_cast<std::uint32_t>(std::uint64_t{low} * d.multiplier_ >> 32);
    return (high + low) >> d.shift_;
  }
  friend MEANFLOW_HOST_DEVICE std::size_t operator%(std::size_t i, const Divisor& d) {
    return i - i / d * d.divisor_;
  }
  /// Of numbers of 32 bits, without a look at them: i and d have to be below 2^31.
  friend MEANFLOW_HOST_DEVICE std::uint32_t operator/(std::uint32_t i, const Divisor& d) {
    const auto high = static_cast<std::uint32_t>(std::uint64_t{i} * d.multiplier_ >> 32);
    return (high + i) >> d.shift_;
  }
  friend MEANFLOW_HOST_DEVICE std::uint32_t operator%(std::uint32_t i, const Divisor& d) {
    return i - i / d * static_cast<std::uint32_t>(d.divisor_);
  }

 private:
  std::size_t divisor_;
  std::uint32_t multiplier_ = 0, shift_ = 0;
};

}  // namespace meanflow::kernels::cuda
