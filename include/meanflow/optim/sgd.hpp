// SPDX-License-Identifier: MIT
/// \file
/// Stochastic gradient descent with momentum.
#pragma once

#include <array>
#include <string>

#include <meanflow/error.hpp>
#include <meanflow/kernels/element.hpp>
#include <meanflow/optim/optimizer.hpp>

namespace meanflow {

/// b = momentum b + g + weight_decay p;  p -= rate b, or rate (g + momentum b) with `nesterov`
/// (Sutskever et al., 2013, as PyTorch has it).
struct Sgd {
  double momentum = 0.9;
  double weight_decay = 0;
  bool nesterov = false;

  static constexpr std::array state{"velocity"};
  static constexpr void fields(auto f, auto&... o) {
    f("momentum", o.momentum...);
    f("weight_decay", o.weight_decay...);
    f("nesterov", o.nesterov...);
  }

  /// Throws SettingError if a number is out of range.
  void check() const {
    if (!(momentum >= 0 && momentum < 1))
      throw SettingError("Sgd: momentum is " + std::to_string(momentum) +
                         ", but must be in [0, 1)");
    if (!(weight_decay >= 0))
      throw SettingError("Sgd: weight_decay is " + std::to_string(weight_decay) +
                         ", but must be at least 0");
  }

  template <class T>
  struct Numbers {
    T rate, momentum, weight_decay, of_gradient, of_velocity;
  };

  template <class T>
  [[nodiscard]] Numbers<T> numbers(const StepRates& rates) const {
    return {.rate = T(rates.learning_rate),
            .momentum = T(momentum),
            .weight_decay = T(weight_decay * rates.decay_scale),
            .of_gradient = T(nesterov ? 1 : 0),
            .of_velocity = T(nesterov ? momentum : 1)};
  }

  template <class T, class V>
  MEANFLOW_HOST_DEVICE static void update(const Numbers<T>& n, const V& gradient, V& p, V& b) {
    const V g = fused(V(n.weight_decay), p, gradient);
    b = fused(V(n.momentum), b, g);
    p = p - n.rate * fused(V(n.of_velocity), b, n.of_gradient * g);
  }
};

}  // namespace meanflow
