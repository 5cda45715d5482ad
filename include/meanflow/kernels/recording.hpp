// SPDX-License-Identifier: MIT
/// \file
/// Work that a device is asked for again and again: recorded once, and then asked for as one.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace meanflow::kernels {

/// Of a device that cannot record.
struct NoRecorder {
  template <class F>
  [[nodiscard]] bool record(F&&) {
    return false;
  }
  void replay() {}
  void forget() {}
};

/// How a device records; devices that can specialise it. A recorder has `record(f)`, which writes
/// down what f() asks of the device, which does nothing yet, and tells whether that could be done;
/// `replay()`, which has the device do it; and `forget()`.
template <class Device>
struct RecorderFor {
  using type = NoRecorder;
};
template <class Device>
using RecorderOf = typename RecorderFor<Device>::type;

/// Does the same work again and again, after some rounds by replaying it.
template <class Recorder>
class RepeatedWork {
 public:
  /// Work is recorded when it has been done this often in a row: by then the libraries of the
  /// device have made their plans, and work that changes by chance has changed.
  static constexpr int rounds_before = 3;

  RepeatedWork() = default;
  explicit RepeatedWork(Recorder recorder) : recorder_(std::move(recorder)) {}

  /// f(), which asks a device for the same work as long as `key` is the same.
  template <class F>
  void run(const std::vector<std::uintptr_t>& key, F f) {
    if (key != key_) {
      if (recorded_) recorder_.forget();
      key_ = key;
      rounds_ = 0;
      recorded_ = false;
    }
    if (!recorded_ && rounds_ == rounds_before && can_) {
      recorded_ = recorder_.record(f);
      can_ = recorded_;
    }
    if (recorded_) return recorder_.replay();
    f();
    if (rounds_ < rounds_before) ++rounds_;
  }

 private:
  Recorder recorder_;
  std::vector<std::uintptr_t> key_;
  int rounds_ = 0;
  bool recorded_ = false, can_ = true;
};

}  // namespace meanflow::kernels
