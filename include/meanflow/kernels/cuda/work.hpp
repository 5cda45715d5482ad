// SPDX-License-Identifier: MIT
/// \file
/// How much work a device is given. Where Thrust runs on the host the counts are those of a GPU, so
/// that what a training step will ask of one can be known without it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace meanflow::kernels::cuda {

/// What the calling thread has asked the device for so far.
struct Work {
  std::uint64_t launches = 0;      ///< of this library's own kernels
  std::uint64_t elements = 0;      ///< that those were launched for
  double moved = 0;                ///< bytes that they read and write, as far as they say so
  std::uint64_t products = 0;      ///< calls of cuBLAS
  std::uint64_t convolutions = 0;  ///< calls of cuDNN
  std::uint64_t copies = 0;        ///< and fills, of memory within the device
  std::uint64_t transfers = 0;     ///< from and to the host
  std::uint64_t bytes = 0;         ///< of copies and transfers
  double multiply_adds = 0;        ///< of products and convolutions

  void launch(std::size_t n, std::size_t bytes_moved = 0) {
    if (replaced_ || n == 0) return;
    ++launches;
    elements += n;
    moved += static_cast<double>(bytes_moved);
  }
  /// Bytes of a launch that is counted otherwise.
  void move(std::size_t bytes_moved) {
    if (!replaced_) moved += static_cast<double>(bytes_moved);
  }
  /// Elements that the threads of a launch have beyond one each.
  void more(std::size_t n) {
    if (!replaced_) elements += n;
  }
  void copy(std::size_t size) {
    if (replaced_ || size == 0) return;
    ++copies;
    bytes += size;
  }
  void transfer(std::size_t size) {
    ++transfers;
    bytes += size;
  }
  void product(double count) {
    if (replaced_) return;
    ++products;
    multiply_adds += count;
  }
  void convolution(double count) {
    ++convolutions;
    multiply_adds += count;
  }

 private:
  friend class InPlaceOfOneCall;
  bool replaced_ = false;
};

[[nodiscard]] inline Work& work() {
  thread_local Work of_thread;
  return of_thread;
}

/// While in scope, what is done in place of one call of a library is not counted.
class InPlaceOfOneCall {
 public:
  InPlaceOfOneCall() { work().replaced_ = true; }
  InPlaceOfOneCall(const InPlaceOfOneCall&) = delete;
  InPlaceOfOneCall& operator=(const InPlaceOfOneCall&) = delete;
  ~InPlaceOfOneCall() { work().replaced_ = false; }
};

}  // namespace meanflow::kernels::cuda
