// SPDX-License-Identifier: MIT
/// \file
/// Gradients that travel as bfloat16, in half the bytes.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <mpi.h>

namespace meanflow::detail {

/// The upper half of a float, rounded to nearest, ties to even; NaN stays NaN.
[[nodiscard]] inline std::uint16_t to_bfloat16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if (x != x) return static_cast<std::uint16_t>(bits >> 16 | 0x40);
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
[[nodiscard]] inline float from_bfloat16(std::uint16_t half) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(half) << 16);
}

[[nodiscard]] inline std::vector<std::uint16_t> to_bfloat16(std::span<const float> numbers) {
  std::vector<std::uint16_t> halves(numbers.size());
  for (std::size_t i = 0; i < halves.size(); ++i) halves[i] = to_bfloat16(numbers[i]);
  return halves;
}
inline void from_bfloat16(std::span<const std::uint16_t> halves, std::span<float> numbers) {
  for (std::size_t i = 0; i < halves.size(); ++i) numbers[i] = from_bfloat16(halves[i]);
}

/// MPI's reduction of numbers in bfloat16, each sum rounded.
inline void sum_bfloat16(void* in, void* in_out, int* count, MPI_Datatype* /*type*/) {
  const auto* const from = static_cast<const std::uint16_t*>(in);
  auto* const to = static_cast<std::uint16_t*>(in_out);
  for (int i = 0; i < *count; ++i)
    to[i] = to_bfloat16(from_bfloat16(from[i]) + from_bfloat16(to[i]));
}

}  // namespace meanflow::detail
