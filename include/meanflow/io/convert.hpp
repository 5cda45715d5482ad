// SPDX-License-Identifier: MIT
/// \file
/// Values between the types found in files and the types of a program: floats are rounded to the
/// nearest, every other conversion must be exact.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <meanflow/error.hpp>
#include <meanflow/io/file.hpp>

namespace meanflow {

/// What a file's numbers can be read as: float, double and the integers of fixed width.
template <class T>
concept FileNumber = std::same_as<T, float> || std::same_as<T, double> ||
                     (std::integral<T> && !std::same_as<T, bool> && !std::same_as<T, char> &&
                      !std::same_as<T, wchar_t> && !std::same_as<T, char8_t> &&
                      !std::same_as<T, char16_t> && !std::same_as<T, char32_t>);

namespace detail {

static_assert(std::endian::native == std::endian::little,
              "meanflow reads and writes files on little-endian machines only");

struct Float16 {
  std::uint16_t bits;
};
struct BFloat16 {
  std::uint16_t bits;
};

template <FileNumber T>
[[nodiscard]] constexpr T widened(T value) {
  return value;
}

[[nodiscard]] constexpr float widened(BFloat16 value) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16);
}

[[nodiscard]] inline float widened(Float16 value) {
  const std::uint32_t sign = static_cast<std::uint32_t>(value.bits & 0x8000U) << 16;
  const std::uint32_t exponent = (value.bits >> 10) & 0x1fU, fraction = value.bits & 0x3ffU;
  if (exponent == 0) {  // zero or subnormal: fraction * 2^-24, exact in float
    return std::bit_cast<float>(
        sign | std::bit_cast<std::uint32_t>(static_cast<float>(fraction) * 0x1p-24F));
  }
  const std::uint32_t wide = exponent == 0x1f ? 0xffU : exponent + (127 - 15);
  return std::bit_cast<float>(sign | wide << 23 | fraction << 13);
}

/// Writes the value to `to` and says whether that loses nothing but a float's last bits.
template <FileNumber To, FileNumber From>
[[nodiscard]] bool convert(From from, To& to) {
  if constexpr (std::integral<From> && std::integral<To>) {
    if (!std::in_range<To>(from)) return false;
  } else if constexpr (std::floating_point<From> && std::integral<To>) {
    const From limit = std::ldexp(From(1), std::numeric_limits<To>::digits);
    const bool in_range = from < limit && from >= (std::signed_integral<To> ? -limit : From(0));
    if (!in_range || std::trunc(from) != from) return false;
  } else if constexpr (std::integral<From>) {
    std::uint64_t size = static_cast<std::uint64_t>(from);
    if (std::signed_integral<From> && from < From(0)) size = 0 - size;
    if (size != 0 &&
        std::bit_width(size >> std::countr_zero(size)) > std::numeric_limits<To>::digits) {
      return false;
    }
  }
  to = static_cast<To>(from);
  if constexpr (std::floating_point<From> && std::floating_point<To>) {
    return std::isfinite(from) == std::isfinite(to);
  }
  return true;
}

template <class T>
void swap_bytes(std::span<T> values) {
  for (T& value : values) {
    const auto bytes = std::as_writable_bytes(std::span(&value, 1));
    std::ranges::reverse(bytes);
  }
}

template <FileNumber T>
[[nodiscard]] constexpr const char* type_name() {
  if constexpr (std::same_as<T, float>) return "a float";
  if constexpr (std::same_as<T, double>) return "a double";
  constexpr bool is_signed = std::signed_integral<T>;
  switch (sizeof(T)) {
    case 1:
      return is_signed ? "a signed 8-bit integer" : "an unsigned 8-bit integer";
    case 2:
      return is_signed ? "a signed 16-bit integer" : "an unsigned 16-bit integer";
    case 4:
      return is_signed ? "a signed 32-bit integer" : "an unsigned 32-bit integer";
    default:
      return is_signed ? "a signed 64-bit integer" : "an unsigned 64-bit integer";
  }
}

/// Reads values of type From, which lie in the file from `offset` on, as values of type To. `what`
/// names them in an error, as in "tensor 'a'".
template <class From, FileNumber To>
void read_values(const FileReader& file, std::uint64_t offset, std::span<To> values,
                 const std::string& what, bool swapped = false) {
  if constexpr (std::same_as<From, To>) {
    file.read_at(offset, std::as_writable_bytes(values));
    if (swapped) swap_bytes(values);
  } else {
    const std::size_t chunk = 1 << 16;
    std::vector<From> buffer(std::min(chunk, values.size()));
    for (std::size_t begin = 0; begin < values.size(); begin += chunk) {
      const std::span<From> part(buffer.data(), std::min(chunk, values.size() - begin));
      file.read_at(offset + begin * sizeof(From), std::as_writable_bytes(part));
      if (swapped) swap_bytes(part);
      for (std::size_t i = 0; i < part.size(); ++i) {
        const auto value = widened(part[i]);
        if (convert(value, values[begin + i])) continue;
        throw FileError(quoted(file.path()) + ": element " + std::to_string(begin + i) + " of " +
                        what + " is " + std::to_string(value) + ", which " + type_name<To>() +
                        " cannot hold.");
      }
    }
  }
}

}  // namespace detail

}  // namespace meanflow
