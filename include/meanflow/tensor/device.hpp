// SPDX-License-Identifier: MIT
/// \file
/// Devices are types, and `device_traits` says what tensors need to know of them. They live in the
/// namespace of the kernels, so that `gemm(Device{}, ...)` finds the kernels of whichever device a
/// program includes. docs/kernels.md explains how to write one.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>

#include <meanflow/tensor/memory.hpp>

namespace meanflow {

namespace kernels {

/// The processor: vectorised kernels on all of its cores.
struct Cpu {
  static constexpr const char* name = "cpu";
};

/// Plain loops over any scalar type: the oracle that the other devices are tested against.
struct Reference {
  static constexpr const char* name = "reference";
};

/// The recorder of a device that cannot record its work; `kernels/recording.hpp` says what one
/// does.
struct NoRecorder {
  static constexpr bool records = false;
  struct Recording {
    void replay() {}
    [[nodiscard]] std::size_t nodes() const { return 0; }
  };
  template <class F>
  void run(F&& f) {
    f();
  }
  void release() {}
};

}  // namespace kernels

using kernels::Cpu;
using kernels::Reference;

/// What the library knows of a device beside its kernels: whose memory it works on, how numbers get
/// there and back, and how it records work. These are the traits of a device that works on the
/// host's memory; one with memory of its own specialises them with the same members.
template <class Device>
struct device_traits {
  /// Whether the host's own code may read and write the device's memory.
  static constexpr bool on_host = true;
  /// Shared ownership of memory: `Storage(bytes)`, `data()`, `unique()`.
  using Storage = detail::Storage;
  /// `kernels/recording.hpp` says what a recorder has.
  using Recorder = kernels::NoRecorder;

  /// Returns when `from` may be overwritten. Sizes are in bytes.
  static void from_host(std::size_t bytes, const void* from, void* to) {
    if (bytes > 0) std::memcpy(to, from, bytes);
  }
  /// Returns when the numbers are there.
  static void to_host(std::size_t bytes, const void* from, void* to) { from_host(bytes, from, to); }
  static void copy(std::size_t bytes, const void* from, void* to) { from_host(bytes, from, to); }
  static void zero(std::size_t bytes, void* to) {
    if (bytes > 0) std::memset(to, 0, bytes);
  }
  /// `count` numbers.
  template <class T>
  static void fill(std::size_t count, T value, T* to) {
    std::fill_n(to, count, value);
  }
};

/// Whether a device works on memory that the host's own code may read and write.
template <class Device>
inline constexpr bool on_host = device_traits<Device>::on_host;

}  // namespace meanflow
