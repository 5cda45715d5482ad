// SPDX-License-Identifier: MIT
/// \file
/// Settings, plain structs that list their members by `fields`, as JSON.
#pragma once

#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include <nlohmann/json.hpp>

#include <meanflow/error.hpp>

namespace meanflow {

namespace detail {

struct AnySetting {
  void operator()(const char* /*name*/, const auto& /*value*/) const {}
};

}  // namespace detail

namespace detail {

/// Whether a number has the form that a member asks for: the reader of JSON would make 2 of 2.7,
/// and a huge number of -1.
template <class V>
[[nodiscard]] bool may_hold(const nlohmann::json& value) {
  if constexpr (std::is_same_v<V, bool>)
    return value.is_boolean();
  else if constexpr (std::is_unsigned_v<V> || std::is_enum_v<V>)
    return value.is_number_integer() && value >= 0;
  else if constexpr (std::is_integral_v<V>)
    return value.is_number_integer();
  else
    return true;
}

}  // namespace detail

/// Settings that can be written to a file: `S::fields(f, settings...)` calls f(name, member...) for
/// every member.
template <class S>
concept ListedSettings =
    std::is_class_v<S> && requires(S& settings) { S::fields(detail::AnySetting{}, settings); };

/// {"hidden": 256, "time": {...}, ...}; enumerators are their numbers.
template <ListedSettings S>
[[nodiscard]] nlohmann::json settings_to_json(const S& settings) {
  auto json = nlohmann::json::object();
  S::fields(
      [&](const char* name, const auto& value) {
        using V = std::remove_cvref_t<decltype(value)>;
        if constexpr (ListedSettings<V>)
          json[name] = settings_to_json(value);
        else if constexpr (std::is_enum_v<V>)
          json[name] = static_cast<std::underlying_type_t<V>>(value);
        else
          json[name] = value;
      },
      settings);
  return json;
}

/// The settings that `settings_to_json` has written. Throws SettingError, naming the member, if one
/// is missing, is of another type, or is not known. `where` names the member that holds them.
template <ListedSettings S>
[[nodiscard]] S settings_from_json(const nlohmann::json& json, const std::string& where = "") {
  S settings{};
  std::size_t known = 0;
  if (!json.is_object())
    throw SettingError((where.empty() ? "the settings are" : "setting " + where + " is") +
                       " not a JSON object");
  S::fields(
      [&](const char* name, auto& value) {
        using V = std::remove_cvref_t<decltype(value)>;
        const std::string path = where + (where.empty() ? "" : ".") + name;
        const auto found = json.find(name);
        if (found == json.end()) throw SettingError("setting " + path + " is missing");
        ++known;
        const auto wrong_type = [&] {
          return SettingError("setting " + path + " is " + found->dump() +
                              ", which is of another type");
        };
        if (!detail::may_hold<V>(*found)) throw wrong_type();
        try {
          if constexpr (ListedSettings<V>)
            value = settings_from_json<V>(*found, path);
          else if constexpr (std::is_enum_v<V>)
            value = static_cast<V>(found->template get<std::underlying_type_t<V>>());
          else
            value = found->template get<V>();
        } catch (const nlohmann::json::exception&) {
          throw wrong_type();
        }
      },
      settings);
  if (known == json.size()) return settings;
  for (const auto& item : json.items()) {
    const std::string& name = item.key();
    bool mine = false;
    S::fields([&](const char* own, const auto&) { mine = mine || name == own; }, settings);
    if (!mine)
      throw SettingError("setting " + where + (where.empty() ? "" : ".") + name +
                         " is not known to this version");
  }
  return settings;
}

}  // namespace meanflow
