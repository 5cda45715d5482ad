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
#include <meanflow/ops/broadcast.hpp>
#include <meanflow/ops/concat.hpp>

namespace meanflow {

struct MlpSettings {
  std::size_t dimension = 2;     ///< of the data
  std::size_t hidden = 256;      ///< width of the hidden layers
  std::size_t layers = 4;        ///< number of hidden layers
  std::size_t condition = 0;     ///< numbers that the net is told about each row; 0: none
  TimeEmbeddingSettings time{};  ///< how r and t enter
  std::uint64_t seed = 0;        ///< of the initial values
};

/// u(z, r, t | c) = W_L f(... f(W_0 [z, times, c] + b_0) ...) + b_L with an activation f;
/// parameters layers.I.weight and layers.I.bias. z (B, dimension), r and t (B, 1). With `condition`
/// > 0 the net is told `VectorCondition::values`, c (B, condition); zeros, or no values, tell it
/// nothing.
template <class T = float, class Device = Cpu, class Activation = Silu>
class Mlp {
 public:
  using value_type = T;
  using device_type = Device;
  using condition_type = VectorCondition<T, Device>;

  explicit Mlp(const MlpSettings& settings = {})
      : settings_(settings), parameters_(settings.seed), time_(settings.time, settings.seed) {
    if (settings.dimension == 0 || settings.hidden == 0)
      throw SettingError("Mlp: dimension and hidden must be at least 1");
    std::size_t width = settings.dimension + time_.width();
    width += settings.condition;
    for (std::size_t i = 0; i <= settings.layers; ++i) {
      const std::size_t out = i == settings.layers ? settings.dimension : settings.hidden;
      layers_.emplace_back(parameters_, "layers." + std::to_string(i), width, out);
      width = out;
    }
  }

  [[nodiscard]] const MlpSettings& settings() const { return settings_; }
  [[nodiscard]] const Parameters<T, Device>& parameters() const { return parameters_; }

  /// The null condition, one row. Throws SettingError if the net takes no condition.
  [[nodiscard]] condition_type null_condition() const {
    if (settings_.condition == 0)
      throw SettingError("Mlp: condition is 0, so there is no null condition");
    return {Tensor<T, Device>::zeros({1, settings_.condition})};
  }

  template <Differentiable X>
  [[nodiscard]] X operator()(const X& z, const X& r, const X& t,
                             const condition_type& given = {}) const {
    X x = concat(z, time_(r, t));  // (B, dimension + times)
    if (settings_.condition > 0)
      x = concat(x, constant_like(x, values_of(given, z.rows())));
    else if (!given.values.empty())
      throw ShapeError("Mlp: its condition is 0, but values were given");
    for (std::size_t i = 0; i + 1 < layers_.size(); ++i) x = layers_[i](x, Activation{});
    return layers_.back()(x);
  }

 private:
  [[nodiscard]] Tensor<T, Device> values_of(const condition_type& given, std::size_t rows) const {
    const Shape shape{rows, settings_.condition};
    if (given.values.empty()) return Tensor<T, Device>::zeros(shape);
    if (!(given.values.shape() == shape))
      throw_shape_error("Mlp", given.values.shape(), shape, "the condition's values");
    return given.values;
  }

  MlpSettings settings_;
  Parameters<T, Device> parameters_;
  TimeEmbedding<T, Device> time_;
  std::vector<Linear<T, Device>> layers_;
};

}  // namespace meanflow
