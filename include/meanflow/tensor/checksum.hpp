// SPDX-License-Identifier: MIT
/// \file
/// Texts by which sets of numbers are told apart.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace meanflow::detail {

/// A hash of the bytes of numbers, the same in programs of the same build.
template <class T>
  requires std::is_arithmetic_v<T>
[[nodiscard]] std::string checksum(std::span<const T> numbers) {
  const std::string_view bytes(reinterpret_cast<const char*>(numbers.data()),
                               numbers.size() * sizeof(T));
  return std::to_string(std::hash<std::string_view>{}(bytes));
}

}  // namespace meanflow::detail
