// SPDX-License-Identifier: MIT
/// \file
/// What a net is told besides z, r and t. The net defines it, as an aggregate of tensors; trainer,
/// samplers and sources carry it without knowing what it says.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>

#include <meanflow/error.hpp>
#include <meanflow/ops/dropout.hpp>
#include <meanflow/tensor/tensor.hpp>
#include <meanflow/tensor/transfer.hpp>

namespace meanflow {

namespace detail {

struct AnyField {
  void operator()(const char* /*name*/, const auto&... /*tensors*/) const {}
};

}  // namespace detail

/// Parts of a batch's condition, row by row; a part that is empty is not given.
///
/// Syntax: `C::fields(f, conditions...)` calls f(name, part of each condition) for every part, a
/// `Tensor` of B rows. Optional: a member `dropout`, a `RowDraws`, for nets with dropout.
/// A template over <T, Device> can be moved between devices.
template <class C>
concept Condition = std::default_initializable<C> && std::copyable<C> &&
                    requires(C& a, const C& b) { C::fields(detail::AnyField{}, a, b); };

/// For nets without a condition.
template <class T = float, class Device = Cpu>
struct NoCondition {
  static constexpr void fields(auto /*f*/, auto&... /*c*/) {}
};

/// For nets that are told a class.
template <class T = float, class Device = Cpu>
struct LabelCondition {
  Tensor<std::int32_t, Device> labels{};  ///< (B)

  static constexpr void fields(auto f, auto&... c) { f("labels", c.labels...); }
};

/// For nets that are told numbers: what a policy observes, what a simulation starts from.
template <class T = float, class Device = Cpu>
struct VectorCondition {
  Tensor<T, Device> values{};  ///< (B, C)

  static constexpr void fields(auto f, auto&... c) { f("values", c.values...); }
};

/// For nets that are told a class and how much to be guided towards it.
template <class T = float, class Device = Cpu>
struct GuidanceCondition {
  Tensor<std::int32_t, Device> labels{};  ///< (B) classes; the null class is their number
  Tensor<T, Device> omega{};              ///< (B, 1) guidance scale, at least 1; empty for 1
  Tensor<T, Device> t_min{}, t_max{};     ///< (B, 1) where it guides; empty for [0, 1]

  static constexpr void fields(auto f, auto&... c) {
    f("labels", c.labels...);
    f("omega", c.omega...);
    f("t_min", c.t_min...);
    f("t_max", c.t_max...);
  }
};

/// A condition that holds a guidance scale and an interval, as `GuidanceCondition` does.
template <class C>
concept TellsGuidance = Condition<C> && requires(C& c) {
  c.omega.data();
  c.t_min.data();
  c.t_max.data();
};

/// For the image nets.
template <class T = float, class Device = Cpu>
struct ImageCondition {
  Tensor<std::int32_t, Device> labels{};  ///< (B) classes; the null class is their number
  Tensor<T, Device> augmentation{};       ///< (B, A) what was done to the image
  RowDraws<Device> dropout{};             ///< set in training; empty in sampling

  static constexpr void fields(auto f, auto&... c) {
    f("labels", c.labels...);
    f("augmentation", c.augmentation...);
  }
};

namespace detail {

template <class N>
struct ConditionOf {
  using type = NoCondition<typename N::value_type, typename N::device_type>;
};
template <class N>
  requires requires { typename N::condition_type; }
struct ConditionOf<N> {
  using type = typename N::condition_type;
};

/// The condition that a source gives: its `condition_type`, or that of the net.
template <class S, class C>
struct SourceCondition {
  using type = C;
};
template <class S, class C>
  requires requires { typename S::condition_type; }
struct SourceCondition<S, C> {
  using type = typename S::condition_type;
};

template <class C, class Device>
struct OnDevice {
  using type = C;  // of one device alone
};
template <template <class, class> class C, class T, class From, class Device>
struct OnDevice<C<T, From>, Device> {
  using type = C<T, Device>;
};

}  // namespace detail

/// What a net is told: its `condition_type`, or `NoCondition`.
template <class N>
using ConditionOf = typename detail::ConditionOf<N>::type;

/// A condition with its parts on another device.
template <class C, class Device>
using OnDevice = typename detail::OnDevice<C, Device>::type;

/// The condition with f(part) in place of each part that is given.
template <Condition C, class F>
[[nodiscard]] C map_parts(C condition, F f) {
  C::fields(
      [&](const char*, auto& part) {
        if (!part.empty()) part = f(part);
      },
      condition);
  return condition;
}

/// The conditions of rows [first, last).
template <Condition C>
[[nodiscard]] C condition_rows(const C& all, std::size_t first, std::size_t last) {
  const auto cut = [=](const auto& tensor) { return tensor.rows(first, last); };
  C part = map_parts(all, cut);
  if constexpr (requires { part.dropout.rows; })
    if (!part.dropout.rows.empty()) part.dropout.rows = cut(part.dropout.rows);
  return part;
}

/// The same condition with dropout switched off.
template <Condition C>
[[nodiscard]] C without_dropout(C condition) {
  if constexpr (requires { condition.dropout.rows; }) condition.dropout = {};
  return condition;
}

/// The parts of a host's condition in the memory of a device.
template <class Device, Condition C>
[[nodiscard]] OnDevice<C, Device> to_device(const C& condition) {
  static_assert(
      std::is_same_v<Device, Cpu> || !std::is_same_v<OnDevice<C, Device>, C>,
      "a condition for devices other than Cpu must be a template <class T, class Device>");
  OnDevice<C, Device> there;
  C::fields([](const char*, const auto& from, auto& to) { to = meanflow::to_device<Device>(from); },
            condition, there);
  return there;
}

/// The parts of a device's condition where the host can read them.
template <Condition C>
[[nodiscard]] OnDevice<C, Cpu> condition_to_host(const C& condition) {
  OnDevice<C, Cpu> here;
  C::fields([](const char*, const auto& from, auto& to) { to = to_host(from); }, condition, here);
  return here;
}

namespace detail {

/// Throws ShapeError, naming `who`, unless every given part of the condition has `rows` rows.
template <Condition C>
void check_condition(const std::string& who, const C& condition, std::size_t rows) {
  const auto check = [&](const char* name, const auto& part) {
    if (!part.empty() && part.rows() != rows)
      throw ShapeError(who + ": " + name + " of shape " + to_string(part.shape()) +
                       " for a batch of " + std::to_string(rows) + " rows");
  };
  C::fields(check, condition);
  if constexpr (requires { condition.dropout.rows; }) check("dropout rows", condition.dropout.rows);
}

/// The names of a condition's parts: "labels, augmentation", or "nothing".
template <Condition C>
[[nodiscard]] std::string field_names() {
  std::string names;
  const C none{};
  C::fields(
      [&](const char* name, const auto&) {
        if (!names.empty()) names += ", ";
        names += name;
      },
      none);
  return names.empty() ? "nothing" : names;
}

/// Sets the part of that name to `given`; false if there is none with numbers of that type.
template <Condition C, class Part>
[[nodiscard]] bool set_part(C& condition, const std::string& name, const Part& given) {
  bool taken = false;
  C::fields(
      [&](const char* other, auto& part) {
        if constexpr (std::is_same_v<std::remove_cvref_t<decltype(part)>, Part>)
          if (name == other) {
            part = given;
            taken = true;
          }
      },
      condition);
  return taken;
}

/// What `from` gives, as the condition `To`: parts are matched by name. Throws SettingError if a
/// part is given that `To` does not have.
template <Condition To, Condition From>
[[nodiscard]] To convey(const From& from) {
  To to{};
  From::fields(
      [&](const char* name, const auto& given) {
        if (!given.empty() && !set_part(to, name, given))
          throw SettingError("the data provide " + std::string(name) + ", but the net takes " +
                             field_names<To>() +
                             " (parts are matched by name and by the type of their numbers)");
      },
      from);
  return to;
}

}  // namespace detail

}  // namespace meanflow
