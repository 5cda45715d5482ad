// SPDX-License-Identifier: MIT
/// \file
/// What a convolution on the device is planned for, and what a plan does.
#pragma once

#include <atomic>
#include <cstddef>
#include <string>

#include <meanflow/kernels/conv_shape.hpp>
#include <meanflow/kernels/precision.hpp>

namespace meanflow::kernels::cuda {

enum class Direction { forward, backward_data, backward_weights };

/// What a convolution is planned for.
struct ConvolutionKey {
  ConvShape shape;
  Direction direction;
  Precision precision;

  friend bool operator==(const ConvolutionKey&, const ConvolutionKey&) = default;
};

[[nodiscard]] inline std::string to_string(const ConvolutionKey& key) {
  const auto n = [](std::size_t value) { return std::to_string(value); };
  const ConvShape& s = key.shape;
  return "the convolution of (" + n(s.rows) + ", " + n(s.height) + ", " + n(s.width) + ", " +
         n(s.in) + ") to " + n(s.out) + " channels" +
         (key.direction == Direction::forward         ? ""
          : key.direction == Direction::backward_data ? ", to its input"
                                                      : ", to its weights") +
         (key.precision == Precision::float32 ? " in float32"
          : key.precision == Precision::tf32  ? " in TF32"
                                              : " in bfloat16");
}

/// A way to compute a convolution in one of its directions.
class ConvolutionPlan {
 public:
  ConvolutionPlan() = default;
  ConvolutionPlan(const ConvolutionPlan&) = delete;
  ConvolutionPlan& operator=(const ConvolutionPlan&) = delete;
  virtual ~ConvolutionPlan() = default;

  /// Images at both ends and weights with channels last, in the type of the precision (gradients of
  /// weights in float32); writes to what the direction leads to. False if it does not work after
  /// all.
  [[nodiscard]] virtual bool run(void* x, void* y, void* weights) const = 0;
};

/// Whether plans that are made from now on, in any thread, time the ways there are to compute a
/// convolution the first time that they run, and keep the fastest. Two runs of a program may then
/// add in different orders, and a resumed one differ from one that was not interrupted; so it is
/// off unless it is asked for, and the first way that cuDNN's heuristics name is taken.
[[nodiscard]] inline std::atomic<bool>& times_convolutions() {
  static std::atomic<bool> times = false;
  return times;
}

}  // namespace meanflow::kernels::cuda
