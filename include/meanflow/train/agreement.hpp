// SPDX-License-Identifier: MIT
/// \file
/// How the processes of one training run stay together when one of them fails or wants to stop.
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <exception>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <meanflow/error.hpp>

namespace meanflow {

/// Another process of the training run has failed, and this one ends with it.
struct OtherProcessError : Error {
  using Error::Error;
};

namespace detail {

/// The lowest rank of those that say yes; size() if none does.
template <class C>
[[nodiscard]] std::size_t first_of(C& communicator, bool yes) {
  std::vector<double> said(communicator.size(), 0);  // 0 and 1 are exact
  said[communicator.rank()] = yes ? 1 : 0;
  communicator.all_reduce(std::span<double>(said));
  return static_cast<std::size_t>(std::find(said.begin(), said.end(), 1) - said.begin());
}

/// The text of the process with that rank.
template <class C>
[[nodiscard]] std::string text_of(C& communicator, std::size_t rank, std::string text) {
  std::size_t size = text.size();
  communicator.broadcast({reinterpret_cast<char*>(&size), sizeof size}, rank);
  text.resize(size);
  communicator.broadcast(text, rank);
  return text;
}

/// What the exception in flight says.
[[nodiscard]] inline std::string message_in_flight() {
  try {
    throw;
  } catch (const std::exception& failure) {
    return failure.what();
  } catch (...) {
    return "an exception that is not a std::exception";
  }
}

/// What the processes of one training run tell each other between its parts: a few numbers, in
/// messages of one size with a place for a failure, so that what one fails in all of them hear of
/// the next time that they meet, whatever each is then about to tell. What has been heard is known
/// to all agreements of a thread, one of which may be within another.
class Agreement {
 public:
  /// f(), after which all processes go on together; whether one of them wants to stop, which f
  /// tells if it returns a bool. What f throws in one ends all: the others throw OtherProcessError.
  template <class C, class F>
  bool operator()(C& communicator, F f) {
    const auto wants_to_stop = [&]() -> bool {
      if constexpr (std::same_as<decltype(f()), bool>)
        return f();
      else
        return f(), false;
    };
    if (communicator.size() == 1) return wants_to_stop();
    return meet(communicator, [&] {
      double votes = wants_to_stop() ? 1 : 0;
      add_up(communicator, {&votes, 1});
      return votes > 0;
    });
  }

  /// f(), in which the processes meet; a failure that they have not heard of they are told.
  /// `before` is called first in the process that tells it.
  template <class C, class F, class Before>
  auto meet(C& communicator, F f, Before before) {
    const Part part;
    try {
      return f();
    } catch (...) {
      if (!std::exchange(known_, true)) {
        const std::string why = message_in_flight();
        before();
        tell(communicator, why);
      }
      throw;
    }
  }
  template <class C, class F>
  auto meet(C& communicator, F f) {
    return meet(communicator, std::move(f), [] {});
  }

  /// Replaces numbers by their sums over all processes. Throws OtherProcessError if one failed.
  template <class C>
  void add_up(C& communicator, std::span<double> numbers) {
    for (std::size_t first = 0; first < numbers.size(); first += of_a_message) {
      const std::size_t count = std::min(of_a_message, numbers.size() - first);
      Message message{};
      std::copy_n(numbers.data() + first, count, message.data());
      communicator.all_reduce(std::span<double>(message));
      if (message.back() > 0) end(communicator);
      std::copy_n(message.data(), count, numbers.data() + first);
    }
  }

  /// What is about to be thrown is thrown by all that meet.
  void all_throw() { known_ = depth_ > 0; }

 private:
  static constexpr std::size_t of_a_message = 15;
  using Message = std::array<double, of_a_message + 1>;  // the last: how many have failed

  /// A part of a training run, maybe of another part.
  class Part {
   public:
    Part() { ++depth_; }
    Part(const Part&) = delete;
    Part& operator=(const Part&) = delete;
    ~Part() {
      if (--depth_ == 0) known_ = false;
    }
  };

  template <class C>
  static void tell(C& communicator, const std::string& why) {
    Message message{};
    message.back() = 1;
    communicator.all_reduce(std::span<double>(message));
    (void)text_of(communicator, first_of(communicator, true), why);
  }

  template <class C>
  [[noreturn]] void end(C& communicator) {
    const std::size_t first = first_of(communicator, false);
    const std::string why = text_of(communicator, first, "");
    known_ = true;
    throw OtherProcessError("process " + std::to_string(first) + " of " +
                            std::to_string(communicator.size()) + " failed: " + why);
  }

  inline static thread_local std::size_t depth_ = 0;  // of parts within parts
  inline static thread_local bool known_ = false;     // the failure in flight, to all processes
};

}  // namespace detail

/// f(), in all processes, each of which calls this. What it throws in one reaches that one's
/// caller; then the others throw OtherProcessError.
template <class C, class F>
void in_all(C& communicator, F f) {
  detail::Agreement{}(communicator, [&] { f(); });
}

/// f(), by the root alone, for which the others wait. All processes call this. What it throws
/// reaches the root's caller; then the others throw OtherProcessError.
template <class C, class F>
void by_root(C& communicator, F f) {
  in_all(communicator, [&] {
    if (communicator.rank() == 0) f();
  });
}

/// The root's text, in all processes. All of them call this.
template <class C>
[[nodiscard]] std::string text_of_root(C& communicator, std::string text) {
  return communicator.size() == 1 ? text : detail::text_of(communicator, 0, std::move(text));
}

/// Throws SettingError in the processes whose `value` is not that of the root, named `name` in its
/// message, and OtherProcessError in the others. All processes call this.
template <class C>
void check_same(C& communicator, const std::string& name, const std::string& value) {
  if (communicator.size() == 1) return;
  const std::string root = text_of_root(communicator, value);
  in_all(communicator, [&] {
    if (value != root)
      throw SettingError(name + " is \"" + value + "\", but \"" + root + "\" in the root");
  });
}

}  // namespace meanflow
