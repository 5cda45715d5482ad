// SPDX-License-Identifier: MIT
/// \file
/// The smallest nets: what is left of a result when the net is linear in its input.
#pragma once

#include <cstdint>
#include <vector>

#include <meanflow/nn/linear.hpp>
#include <meanflow/nn/time_embedding.hpp>
#include <meanflow/ops/concat.hpp>

namespace meanflow {

struct AffineNetSettings {
  std::size_t dimension = 2;
  std::size_t rank = 0;          ///< of the linear map; 0 for full rank
  TimeEmbeddingSettings time{};  ///< how r and t enter
  std::uint64_t seed = 0;

  static constexpr void fields(auto f, auto&... s) {
    f("dimension", s.dimension...);
    f("rank", s.rank...);
    f("time", s.time...);
    f("seed", s.seed...);
  }
};

/// u(z, r, t) = W [z, times] + b. With rank k > 0, W = U V with U (dimension, k): the low-rank
/// baseline. One step of it generates a Gaussian, so any net should beat it.
template <class T = float, class Device = Cpu>
class AffineNet {
 public:
  using value_type = T;
  using device_type = Device;

  explicit AffineNet(const AffineNetSettings& settings = {})
      : settings_(settings), parameters_(settings.seed), time_(settings.time, settings.seed) {
    const std::size_t in = settings.dimension + time_.width();
    if (settings.rank == 0) {
      layers_.emplace_back(parameters_, "linear", in, settings.dimension);
      return;
    }
    layers_.emplace_back(parameters_, "down", in, settings.rank, LinearSettings{.bias = false});
    layers_.emplace_back(parameters_, "up", settings.rank, settings.dimension);
  }

  [[nodiscard]] const AffineNetSettings& settings() const { return settings_; }
  [[nodiscard]] const Parameters<T, Device>& parameters() const { return parameters_; }
  /// The shape of a row of z.
  [[nodiscard]] Shape row_shape() const { return {settings_.dimension}; }

  template <Differentiable X>
  [[nodiscard]] X operator()(const X& z, const X& r, const X& t) const {
    X x = concat(z, time_(r, t));
    for (const auto& layer : layers_) x = layer(x);
    return x;
  }

 private:
  AffineNetSettings settings_;
  Parameters<T, Device> parameters_;
  TimeEmbedding<T, Device> time_;
  std::vector<Linear<T, Device>> layers_;
};

}  // namespace meanflow
