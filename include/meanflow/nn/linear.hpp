// SPDX-License-Identifier: MIT
/// \file
/// The linear layer.
#pragma once

#include <string>

#include <meanflow/nn/initializers.hpp>
#include <meanflow/ops/linear.hpp>

namespace meanflow {

struct LinearSettings {
  bool bias = true;
  Initializer weight_init{};
  Initializer bias_init{};
};

/// y = f(x W^T + b), with parameters NAME.weight (out, in) and NAME.bias (out).
template <class T = float, class Device = Cpu>
class Linear {
 public:
  Linear(Parameters<T, Device>& parameters, const std::string& name, std::size_t in,
         std::size_t out, const LinearSettings& settings = {})
      : weight(parameters.add(name + ".weight", {out, in})) {
    initialize(weight, settings.weight_init);
    if (!settings.bias) return;
    bias = parameters.add(name + ".bias", {out});
    initialize(bias, settings.bias_init, in, out);
  }

  /// x (..., in) to (..., out); `f` is an activation applied in the same pass, none by default.
  template <Differentiable X, class F = Identity>
  [[nodiscard]] X operator()(const X& x, F f = {}) const {
    return linear(x, weight, bias, f);
  }

  Parameter<T, Device> weight;
  Parameter<T, Device> bias;
};

}  // namespace meanflow
