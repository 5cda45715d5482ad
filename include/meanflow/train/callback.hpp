// SPDX-License-Identifier: MIT
/// \file
/// The contract of callbacks, and how they are called.
#pragma once

#include <concepts>
#include <type_traits>
#include <utility>

#include <meanflow/train/report.hpp>

namespace meanflow {

/// An observer of a training run: an object with any of `on_begin(trainer)`,
/// `on_step(trainer, report)` and `on_end(trainer)`, or a function of the report. One whose step
/// returns true stops training.
///
/// Of several processes each notifies its own, but those with a member `static constexpr bool
/// root_only = true`, such as what writes files or to the terminal, only by that of rank 0.
template <class C, class Trainer>
concept TrainingCallback =
    requires(C& callback, Trainer& trainer) { callback.on_begin(trainer); } ||
    requires(C& callback, Trainer& trainer, const StepReport& report) {
      callback.on_step(trainer, report);
    } || requires(C& callback, Trainer& trainer) { callback.on_end(trainer); } ||
    requires(C& callback, const StepReport& report) { callback(report); };

namespace detail {

/// A member that exists but cannot be called as required is a mistake, not an absence.
template <class C, class Trainer>
consteval void check_callback() {
  if constexpr (requires { &C::on_begin; })
    static_assert(
        requires(C& c, Trainer& t) { c.on_begin(t); },
        "a callback's on_begin must accept (trainer)");
  if constexpr (requires { &C::on_step; })
    static_assert(
        requires(C& c, Trainer& t, const StepReport& r) { c.on_step(t, r); },
        "a callback's on_step must accept (trainer, const StepReport&)");
  if constexpr (requires { &C::on_end; })
    static_assert(
        requires(C& c, Trainer& t) { c.on_end(t); }, "a callback's on_end must accept (trainer)");
}

/// Whether only the root notifies the callback.
template <class C>
inline constexpr bool root_only = [] {
  if constexpr (requires { std::remove_cvref_t<C>::root_only; })
    return bool(std::remove_cvref_t<C>::root_only);
  else
    return false;
}();

template <class C, class Trainer>
void notify_begin(C& callback, Trainer& trainer) {
  if constexpr (requires { callback.on_begin(trainer); }) callback.on_begin(trainer);
}
template <class C, class Trainer>
[[nodiscard]] bool notify_step(C& callback, Trainer& trainer, const StepReport& report) {
  const auto stops = [](auto&& call) {
    if constexpr (std::same_as<decltype(call()), bool>) return call();
    call();
    return false;
  };
  if constexpr (requires { callback.on_step(trainer, report); })
    return stops([&] { return callback.on_step(trainer, report); });
  else if constexpr (requires { callback(report); })
    return stops([&] { return callback(report); });
  else
    return false;
}
template <class C, class Trainer>
void notify_end(C& callback, Trainer& trainer) {
  if constexpr (requires { callback.on_end(trainer); }) callback.on_end(trainer);
}

/// Like `notify_end`, for a run that an exception ends: that one is reported, not another.
template <class C, class Trainer>
void notify_failed_end(C& callback, Trainer& trainer) {
  try {
    notify_end(callback, trainer);
  } catch (...) {
  }
}

/// f() when a scope is left, whichever way.
template <class F>
class AtExit {
 public:
  explicit AtExit(F f) : f_(std::move(f)) {}
  AtExit(const AtExit&) = delete;
  AtExit& operator=(const AtExit&) = delete;
  ~AtExit() { f_(); }

 private:
  F f_;
};

}  // namespace detail

}  // namespace meanflow
