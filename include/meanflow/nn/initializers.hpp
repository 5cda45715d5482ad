// SPDX-License-Identifier: MIT
/// \file
/// Initial values of parameters, under the names that the field uses.
#pragma once

#include <cmath>
#include <cstddef>

#include <meanflow/autodiff/parameters.hpp>
#include <meanflow/random/philox.hpp>

namespace meanflow {

/// fan_in and fan_out are those of the weight (out, in, ...): the elements of a row, and the rows
/// times the elements beyond the second extent.
enum class Distribution {
  zeros,
  ones,
  uniform,          ///< U(-gain, gain)
  normal,           ///< N(0, gain^2)
  xavier_uniform,   ///< U(-a, a), a = gain sqrt(6 / (fan_in + fan_out))
  xavier_normal,    ///< N(0, gain^2 2 / (fan_in + fan_out))
  kaiming_uniform,  ///< U(-a, a), a = gain sqrt(3 / fan_in)
  kaiming_normal,   ///< N(0, gain^2 / fan_in)
  fan_in_uniform,   ///< U(-a, a), a = gain / sqrt(fan_in): PyTorch's default for linear layers
};

struct Initializer {
  Distribution distribution = Distribution::fan_in_uniform;
  double gain = 1;
};

/// Draws the values of `parameter`. The numbers depend on the seed of its buffer and on its place
/// in it. `fan_in` and `fan_out` replace those of its shape if given (a bias has the layer's).
template <class T, class Device>
void initialize(const Parameter<T, Device>& parameter, const Initializer& initializer,
                std::size_t fan_in = 0, std::size_t fan_out = 0) {
  if (detail::undrawn()) return;
  const Shape& shape = parameter.shape();
  if (fan_in == 0) fan_in = shape.row_size();
  if (fan_out == 0)
    fan_out = shape.rank() < 2 ? shape.rows() : shape.rows() * (shape.row_size() / shape[1]);
  const double in = static_cast<double>(fan_in), both = in + static_cast<double>(fan_out);
  RandomStream stream(parameter.seed(), Purpose::initialisation, 0, parameter.index());
  const double gain = initializer.gain;
  const auto uniform = [&](double bound) {
    return [&stream, bound] { return bound * (2 * stream.uniform<double>() - 1); };
  };
  const auto normal = [&](double deviation) {
    return [&stream, deviation] { return deviation * stream.normal<double>(); };
  };
  const auto set = [&parameter](auto draw) {
    Tensor<T> values(parameter.shape());
    for (T& value : values.span()) value = static_cast<T>(draw());
    device_traits<Device>::from_host(values.size() * sizeof(T), values.data(), parameter.data());
  };
  switch (initializer.distribution) {
    case Distribution::zeros:
      return set([] { return 0.0; });
    case Distribution::ones:
      return set([] { return 1.0; });
    case Distribution::uniform:
      return set(uniform(gain));
    case Distribution::normal:
      return set(normal(gain));
    case Distribution::xavier_uniform:
      return set(uniform(gain * std::sqrt(6 / both)));
    case Distribution::xavier_normal:
      return set(normal(gain * std::sqrt(2 / both)));
    case Distribution::kaiming_uniform:
      return set(uniform(gain * std::sqrt(3 / in)));
    case Distribution::kaiming_normal:
      return set(normal(gain / std::sqrt(in)));
    case Distribution::fan_in_uniform:
      return set(uniform(gain / std::sqrt(in)));
  }
}

}  // namespace meanflow
