// SPDX-License-Identifier: MIT
/// \file
/// The slots of a recipe as text, so that a checkpoint can be told from one of another recipe.
#pragma once

#include <charconv>
#include <concepts>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <typeinfo>
#include <variant>

#include <cxxabi.h>

namespace meanflow::detail {

/// The name of a type as it is written in C++, without this library's namespace.
template <class Slot>
[[nodiscard]] std::string cpp_name() {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> demangled(
      abi::__cxa_demangle(typeid(Slot).name(), nullptr, nullptr, &status), &std::free);
  std::string name = status == 0 ? demangled.get() : typeid(Slot).name();
  const std::string own = "meanflow::";
  for (std::size_t at; (at = name.find(own)) != std::string::npos;) name.erase(at, own.size());
  return name;
}

[[nodiscard]] inline std::string describe_number(double value) {
  char text[32];
  return std::string(text, std::to_chars(text, text + sizeof text, value).ptr);
}

template <class Slot>
[[nodiscard]] std::string describe(const Slot& slot);

template <class Slot>
[[nodiscard]] std::string describe(const std::optional<Slot>& slot) {
  return slot ? describe(*slot) : "none";
}

template <class... Slots>
[[nodiscard]] std::string describe(const std::variant<Slots...>& slot) {
  return std::visit([](const auto& chosen) { return describe(chosen); }, slot);
}

/// "AdaptiveWeighting{p: 1, epsilon: 0.01, reduction: 0}": the type, and what `Slot::fields` calls
/// its function with, or what `slot.description()` says. A slot without either is identified by its
/// type alone.
template <class Slot>
[[nodiscard]] std::string describe(const Slot& slot) {
  if constexpr (requires {
                  { slot.description() } -> std::convertible_to<std::string>;
                }) {
    return slot.description();
  } else if constexpr (std::is_enum_v<Slot> || std::is_arithmetic_v<Slot>) {
    return describe_number(static_cast<double>(slot));
  } else if constexpr (requires { Slot::fields([](const char*, const auto&) {}, slot); }) {
    std::string text;
    Slot::fields(
        [&](const char* name, const auto& value) {
          text += (text.empty() ? "" : ", ") + std::string(name) + ": " + describe(value);
        },
        slot);
    return cpp_name<Slot>() + "{" + text + "}";
  } else {
    return cpp_name<Slot>();
  }
}

}  // namespace meanflow::detail
