// SPDX-License-Identifier: MIT
/// \file
/// How the times (r, t) enter a net.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>

#include <meanflow/ops/concat.hpp>
#include <meanflow/ops/elementwise.hpp>
#include <meanflow/ops/embedding.hpp>
#include <meanflow/random/philox.hpp>
#include <meanflow/tensor/transfer.hpp>

namespace meanflow {

/// Which times a net sees, h = t - r (Table 1c of arXiv 2505.13447).
enum class TimeInputs { t_r, t_h, t_r_h, h };

/// How a net sees a time x: as it is, as sinusoids of geometrically spaced frequencies, or as
/// sinusoids of frequencies drawn from a normal distribution (random Fourier features).
enum class TimeEncoding { raw, sinusoidal, fourier };

struct TimeEmbeddingSettings {
  TimeInputs inputs = TimeInputs::t_h;
  TimeEncoding encoding = TimeEncoding::raw;
  std::size_t dimension = 64;  ///< of each embedded time; even
  double scale = 1;            ///< multiplies each time first
  double max_period = 10000;   ///< sinusoidal: frequencies max_period^(-i / half)
  bool endpoint = false;       ///< sinusoidal: frequencies max_period^(-i / (half - 1))
  SinusoidOrder order = SinusoidOrder::cosines_first;
  double fourier_deviation = 1;  ///< fourier: frequencies 2 pi N(0, deviation^2)

  static constexpr void fields(auto f, auto&... s) {
    f("inputs", s.inputs...);
    f("encoding", s.encoding...);
    f("dimension", s.dimension...);
    f("scale", s.scale...);
    f("max_period", s.max_period...);
    f("endpoint", s.endpoint...);
    f("order", s.order...);
    f("fourier_deviation", s.fourier_deviation...);
  }
};

/// Random Fourier features of few and low frequencies, for nets of points in few dimensions.
[[nodiscard]] inline TimeEmbeddingSettings low_frequencies(TimeInputs inputs = TimeInputs::t_h) {
  return {.inputs = inputs,
          .encoding = TimeEncoding::fourier,
          .dimension = 16,
          .fourier_deviation = 0.5};
}

/// The frequencies of a sinusoidal embedding, (dimension / 2).
template <class T, class Device = Cpu>
[[nodiscard]] Tensor<T, Device> sinusoid_frequencies(std::size_t dimension,
                                                     double max_period = 10000,
                                                     bool endpoint = false) {
  const std::size_t half = dimension / 2;
  const double last = static_cast<double>(endpoint ? half - 1 : half);
  Tensor<T> frequencies({half});
  for (std::size_t i = 0; i < half; ++i)
    frequencies[i] = static_cast<T>(std::pow(max_period, -static_cast<double>(i) / last));
  return to_device<Device>(frequencies);
}

/// The frequencies of random Fourier features, (dimension / 2): the same ones for the same seed.
template <class T, class Device = Cpu>
[[nodiscard]] Tensor<T, Device> fourier_frequencies(std::size_t dimension, double deviation,
                                                    std::uint64_t seed) {
  Tensor<T> frequencies({dimension / 2});
  RandomStream stream(seed, Purpose::initialisation, 1);
  for (T& frequency : frequencies.span())
    frequency = static_cast<T>(2 * std::numbers::pi * deviation * stream.normal<double>());
  return to_device<Device>(frequencies);
}

/// Turns r and t, (B, 1) each, into features (B, width()).
template <class T = float, class Device = Cpu>
class TimeEmbedding {
 public:
  explicit TimeEmbedding(const TimeEmbeddingSettings& settings, std::uint64_t seed = 0)
      : settings_(settings) {
    if (settings.encoding == TimeEncoding::raw) return;
    if (settings.dimension < 4 || settings.dimension % 2 != 0)
      throw SettingError("TimeEmbedding: dimension is " + std::to_string(settings.dimension) +
                         ", but must be even and at least 4");
    frequencies_ =
        settings.encoding == TimeEncoding::sinusoidal
            ? sinusoid_frequencies<T, Device>(settings.dimension, settings.max_period,
                                              settings.endpoint)
            : fourier_frequencies<T, Device>(settings.dimension, settings.fourier_deviation, seed);
  }

  [[nodiscard]] std::size_t width() const {
    const std::size_t each = settings_.encoding == TimeEncoding::raw ? 1 : settings_.dimension;
    switch (settings_.inputs) {
      case TimeInputs::h:
        return each;
      case TimeInputs::t_r_h:
        return 3 * each;
      default:
        return 2 * each;
    }
  }

  template <Differentiable X>
  [[nodiscard]] X operator()(const X& r, const X& t) const {
    switch (settings_.inputs) {
      case TimeInputs::t_r:
        return concat(encode(t), encode(r));
      case TimeInputs::t_h:
        return concat(encode(t), encode(t - r));
      case TimeInputs::t_r_h:
        return concat(encode(t), encode(r), encode(t - r));
      case TimeInputs::h:
        break;
    }
    return encode(t - r);
  }

 private:
  template <class X>
  [[nodiscard]] X encode(const X& time) const {
    const X scaled = settings_.scale == 1 ? time : time * settings_.scale;
    if (settings_.encoding == TimeEncoding::raw) return scaled;
    return sinusoid(scaled, frequencies_, settings_.order);
  }

  TimeEmbeddingSettings settings_;
  Tensor<T, Device> frequencies_;
};

}  // namespace meanflow
