// SPDX-License-Identifier: MIT
/// \file
/// A multi-layer perceptron for low-dimensional data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <meanflow/nn/condition.hpp>
#include <meanflow/nn/linear.hpp>
#include <meanflow/nn/time_embedding.hpp>
#include <meanflow/ops/concat.hpp>

namespace meanflow {

struct MlpSettings {
  std::size_t dimension = 2;     ///< of the data
  std::size_t hidden = 256;      ///< width of the hidden layers
  std::size_t layers = 4;        ///< number of hidden layers
  TimeEmbeddingSettings time{};  ///< how r and t enter
  std::uint64_t seed = 0;        ///< of the initial values
};

/// u(z, r, t) = W_L f(... f(W_0 [z, times] + b_0) ...) + b_L with an activation f; parameters
/// layers.I.weight and layers.I.bias. z (B, dimension), r and t (B, 1).
template <class T = float, class Device = Cpu, class Activation = Silu>
class Mlp {
 public:
  using value_type = T;
  using device_type = Device;

  explicit Mlp(const MlpSettings& settings = {})
      : settings_(settings), parameters_(settings.seed), time_(settings.time, settings.seed) {
    if (settings.dimension == 0 || settings.hidden == 0)
      throw SettingError("Mlp: dimension and hidden must be at least 1");
    std::size_t width = settings.dimension + time_.width();
    for (std::size_t i = 0; i <= settings.layers; ++i) {
      const std::size_t out = i == settings.layers ? settings.dimension : settings.hidden;
      layers_.emplace_back(parameters_, "layers." + std::to_string(i), width, out);
      width = out;
    }
  }

  [[nodiscard]] const MlpSettings& settings() const { return settings_; }
  [[nodiscard]] const Parameters<T, Device>& parameters() const { return parameters_; }

  template <Differentiable X>
  [[nodiscard]] X operator()(const X& z, const X& r, const X& t) const {
    X x = concat(z, time_(r, t));  // (B, dimension + times)
    for (std::size_t i = 0; i + 1 < layers_.size(); ++i) x = layers_[i](x, Activation{});
    return layers_.back()(x);
  }

 private:
  MlpSettings settings_;
  Parameters<T, Device> parameters_;
  TimeEmbedding<T, Device> time_;
  std::vector<Linear<T, Device>> layers_;
};

}  // namespace meanflow
