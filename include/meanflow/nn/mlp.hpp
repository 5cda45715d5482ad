// SPDX-License-Identifier: MIT
/// \file
/// A multi-layer perceptron for low-dimensional data.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <meanflow/nn/condition.hpp>
#include <meanflow/nn/linear.hpp>
#include <meanflow/nn/time_embedding.hpp>
#include <meanflow/ops/broadcast.hpp>
#include <meanflow/ops/concat.hpp>
#include <meanflow/ops/elementwise.hpp>
#include <meanflow/ops/embedding.hpp>
#include <meanflow/tensor/transfer.hpp>

namespace meanflow {

struct MlpSettings {
  std::size_t dimension = 2;  ///< of the data
  std::size_t hidden = 256;   ///< width of the hidden layers
  std::size_t layers = 4;     ///< number of hidden layers
  /// Each number of z is also seen as cos(w z), sin(w z), cos(2 w z), ... of so many octaves, so
  /// that fine details of a distribution are learnt (Fourier features, arXiv 2006.10739); 0: z
  /// alone.
  std::size_t octaves = 0;
  double frequency = 1.5;        ///< w, in radians per unit of z
  bool residual = false;         ///< x + W f(x) + b instead of f(W x + b) between first and last
  std::size_t condition = 0;     ///< numbers that the net is told about each row; 0: none
  TimeEmbeddingSettings time{};  ///< how r and t enter
  std::uint64_t seed = 0;        ///< of the initial values

  static constexpr void fields(auto f, auto&... s) {
    f("dimension", s.dimension...);
    f("hidden", s.hidden...);
    f("layers", s.layers...);
    f("octaves", s.octaves...);
    f("frequency", s.frequency...);
    f("residual", s.residual...);
    f("condition", s.condition...);
    f("time", s.time...);
    f("seed", s.seed...);
  }
};

/// u(z, r, t | c) = W_L f(... f(W_0 [z, times, sinusoids of z, c] + b_0) ...) + b_L with an
/// activation f, or with `residual` hidden layers x + W_i f(x) + b_i, which deep nets learn more
/// easily through; parameters layers.I.weight and layers.I.bias. z (B, dimension), r and t (B, 1).
/// With `condition` > 0 the net is told `VectorCondition::values`, c (B, condition); zeros, or no
/// values, tell it nothing.
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
    if (settings.octaves > 0 && !(settings.frequency > 0))
      throw SettingError("Mlp: frequency is " + std::to_string(settings.frequency) +
                         ", but must be greater than 0");
    Tensor<T> frequencies({settings.octaves});
    for (std::size_t i = 0; i < settings.octaves; ++i)
      frequencies[i] = static_cast<T>(std::ldexp(settings.frequency, static_cast<int>(i)));
    frequencies_ = to_device<Device>(frequencies);
    std::size_t width = settings.dimension * (1 + 2 * settings.octaves) + time_.width();
    width += settings.condition;
    for (std::size_t i = 0; i <= settings.layers; ++i) {
      const std::size_t out = i == settings.layers ? settings.dimension : settings.hidden;
      layers_.emplace_back(parameters_, "layers." + std::to_string(i), width, out);
      width = out;
    }
  }

  [[nodiscard]] const MlpSettings& settings() const { return settings_; }
  [[nodiscard]] const Parameters<T, Device>& parameters() const { return parameters_; }

  /// The shape of a row of z.
  [[nodiscard]] Shape row_shape() const { return {settings_.dimension}; }

  /// The null condition, one row. Throws SettingError if the net takes no condition.
  [[nodiscard]] condition_type null_condition() const {
    if (settings_.condition == 0)
      throw SettingError("Mlp: condition is 0, so there is no null condition");
    return {Tensor<T, Device>::zeros({1, settings_.condition})};
  }

  template <Differentiable X>
  [[nodiscard]] X operator()(const X& z, const X& r, const X& t,
                             const condition_type& given = {}) const {
    if (const auto shape = z.shape(); shape.rank() != 2 || shape[1] != settings_.dimension)
      throw ShapeError("Mlp: z has shape " + to_string(shape) + ", but must be (B, " +
                       std::to_string(settings_.dimension) +
                       "): the net's dimension is the number of columns of the data");
    X x = concat(z, time_(r, t));  // (B, dimension + times)
    if (settings_.octaves > 0) x = concat(x, sinusoid(z, frequencies_));
    if (settings_.condition > 0)
      x = concat(x, constant_like(x, values_of(given, z.rows())));
    else if (!given.values.empty())
      throw ShapeError("Mlp: its condition is 0, but values were given");
    if (settings_.residual && layers_.size() > 1) return residual(x);
    for (std::size_t i = 0; i + 1 < layers_.size(); ++i) x = layers_[i](x, Activation{});
    return layers_.back()(x);
  }

 private:
  template <Differentiable X>
  [[nodiscard]] X residual(const X& inputs) const {
    X x = layers_.front()(inputs);
    for (std::size_t i = 1; i + 1 < layers_.size(); ++i) x = x + layers_[i](unary(Activation{}, x));
    return layers_.back()(unary(Activation{}, x));
  }

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
  Tensor<T, Device> frequencies_;  // (octaves)
  std::vector<Linear<T, Device>> layers_;
};

}  // namespace meanflow
