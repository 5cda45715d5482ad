// SPDX-License-Identifier: MIT
/// \file
/// Adam and AdamW.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <string>

#include <meanflow/error.hpp>
#include <meanflow/kernels/element.hpp>
#include <meanflow/optim/optimizer.hpp>

namespace meanflow {

/// Adam (arXiv 1412.6980) and, with `decoupled`, AdamW (arXiv 1711.05101):
///   m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2,
///   p -= rate (m / (1 - beta1^n)) / (sqrt(v / (1 - beta2^n)) + epsilon)
struct Adam {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;
  bool decoupled = true;  ///< AdamW: p -= rate * weight_decay * p; otherwise g += weight_decay * p

  static constexpr std::array state{"first", "second"};  ///< running means of g and of g^2
  static constexpr void fields(auto f, auto&... o) {
    f("beta1", o.beta1...);
    f("beta2", o.beta2...);
    f("epsilon", o.epsilon...);
    f("weight_decay", o.weight_decay...);
    f("decoupled", o.decoupled...);
  }

  /// Throws SettingError if a number is out of range.
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

  template <class T>
  struct Numbers {
    T l2, beta1, rest1, beta2, rest2, root, epsilon, decay, rate;
  };

  template <class T>
  [[nodiscard]] Numbers<T> numbers(const StepRates& rates) const {
    const double n = static_cast<double>(rates.count);
    const double weight = weight_decay * rates.decay_scale;
    return {.l2 = T(decoupled ? 0 : weight),
            .beta1 = T(beta1),
            .rest1 = T(1 - beta1),
            .beta2 = T(beta2),
            .rest2 = T(1 - beta2),
            .root = T(1 / std::sqrt(1 - std::pow(beta2, n))),
            .epsilon = T(epsilon),
            .decay = T(1 - rates.learning_rate * (decoupled ? weight : 0)),
            .rate = T(rates.learning_rate / (1 - std::pow(beta1, n)))};
  }

  template <class T, class V>
  MEANFLOW_HOST_DEVICE static void update(const Numbers<T>& n, const V& gradient, V& p, V& m,
                                          V& v) {
    using std::sqrt;
    const V g = gradient + n.l2 * p;
    m = fused(V(n.beta1), m, n.rest1 * g);
    v = fused(n.rest2 * g, g, n.beta2 * v);
    const V denominator = fused(V(sqrt(v)), V(n.root), V(n.epsilon));
    p = p * n.decay - n.rate * m / denominator;
  }
};

}  // namespace meanflow
