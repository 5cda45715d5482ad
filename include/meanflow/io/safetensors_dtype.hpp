// SPDX-License-Identifier: MIT
/// \file
/// The element types of safetensors files.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include <meanflow/io/convert.hpp>

namespace meanflow {

/// The element types of safetensors files that this library knows.
enum class DType { f64, f32, f16, bf16, i64, i32, i16, i8, u64, u32, u16, u8, boolean };

namespace detail {

struct DTypeEntry {
  DType dtype;
  std::string_view name;
  std::size_t size;
};

inline constexpr std::array<DTypeEntry, 13> dtype_entries{{{DType::f64, "F64", 8},
                                                           {DType::f32, "F32", 4},
                                                           {DType::f16, "F16", 2},
                                                           {DType::bf16, "BF16", 2},
                                                           {DType::i64, "I64", 8},
                                                           {DType::i32, "I32", 4},
                                                           {DType::i16, "I16", 2},
                                                           {DType::i8, "I8", 1},
                                                           {DType::u64, "U64", 8},
                                                           {DType::u32, "U32", 4},
                                                           {DType::u16, "U16", 2},
                                                           {DType::u8, "U8", 1},
                                                           {DType::boolean, "BOOL", 1}}};

}  // namespace detail

/// Bytes per element.
[[nodiscard]] constexpr std::size_t size_of(DType dtype) {
  return detail::dtype_entries[static_cast<std::size_t>(dtype)].size;
}

/// The name used in files, such as "F32".
[[nodiscard]] constexpr std::string_view name_of(DType dtype) {
  return detail::dtype_entries[static_cast<std::size_t>(dtype)].name;
}

/// The element type that holds values of the C++ type T.
template <class T>
  requires FileNumber<T> || std::same_as<T, bool>
[[nodiscard]] constexpr DType dtype_of() {
  if constexpr (std::same_as<T, double>) return DType::f64;
  if constexpr (std::same_as<T, float>) return DType::f32;
  if constexpr (std::same_as<T, bool>) return DType::boolean;
  constexpr bool is_signed = std::is_signed_v<T>;
  switch (sizeof(T)) {
    case 1:
      return is_signed ? DType::i8 : DType::u8;
    case 2:
      return is_signed ? DType::i16 : DType::u16;
    case 4:
      return is_signed ? DType::i32 : DType::u32;
    default:
      return is_signed ? DType::i64 : DType::u64;
  }
}

}  // namespace meanflow
