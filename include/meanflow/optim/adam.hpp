// SPDX-License-Identifier: MIT
/// \file
/// Adam and AdamW over flat buffers. Settings and state are two types.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

#include <meanflow/error.hpp>
#include <meanflow/kernels/reference.hpp>
#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

/// Settings of Adam (arXiv 1412.6980) and, with `decoupled`, of AdamW (arXiv 1711.05101).
struct Adam {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;
  bool decoupled = true;  ///< AdamW: p -= lr * weight_decay * p; otherwise g += weight_decay * p

  /// \throws SettingError if a number is out of range.
  void check() const {
    const auto share = [](const char* name, double value) {
      if (!(value >= 0 && value < 1))
        throw SettingError("Adam: " + std::string(name) + " is " + std::to_string(value) +
                           ", but must be in [0, 1)");
    };
    share("beta1", beta1);
    share("beta2", beta2);
    if (!(epsilon > 0)) throw SettingError("Adam: epsilon must be greater than 0");
    if (!(weight_decay >= 0))
      throw SettingError("Adam: weight_decay is " + std::to_string(weight_decay) +
                         ", but must be at least 0");
  }
};

/// The moments of Adam for a flat buffer of parameters.
template <class T = float, class Device = Cpu>
struct AdamState {
  Tensor<T, Device> first;   ///< running mean of g
  Tensor<T, Device> second;  ///< running mean of g^2
  std::uint64_t count = 0;   ///< steps done

  AdamState() = default;
  explicit AdamState(std::size_t size)
      : first(Tensor<T, Device>::zeros({size})), second(Tensor<T, Device>::zeros({size})) {}
};

/// The numbers of step `count` (from 1), for the kernel.
[[nodiscard]] inline AdamCoefficients adam_coefficients(const Adam& adam, double learning_rate,
                                                        std::uint64_t count,
                                                        double gradient_scale = 1) {
  return {.learning_rate = learning_rate,
          .beta1 = adam.beta1,
          .beta2 = adam.beta2,
          .epsilon = adam.epsilon,
          .correction1 = 1 - std::pow(adam.beta1, static_cast<double>(count)),
          .correction2 = 1 - std::pow(adam.beta2, static_cast<double>(count)),
          .weight_decay = adam.decoupled ? adam.weight_decay : 0,
          .l2 = adam.decoupled ? 0 : adam.weight_decay,
          .gradient_scale = gradient_scale};
}

/// One step over the whole buffer; the trainer does the same in pieces.
template <class T, class Device>
void step(const Adam& settings, AdamState<T, Device>& state, double learning_rate,
          const Tensor<T, Device>& gradient, const Tensor<T, Device>& parameters) {
  const AdamCoefficients c = adam_coefficients(settings, learning_rate, ++state.count);
  adam(Device{}, parameters.size(), c, static_cast<const T*>(gradient.data()), state.first.data(),
       state.second.data(), parameters.data());
}

}  // namespace meanflow
