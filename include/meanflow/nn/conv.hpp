// SPDX-License-Identifier: MIT
/// \file
/// The convolution and group-normalisation layers.
#pragma once

#include <algorithm>
#include <optional>
#include <string>

#include <meanflow/nn/initializers.hpp>
#include <meanflow/ops/broadcast.hpp>
#include <meanflow/ops/conv.hpp>
#include <meanflow/ops/norm.hpp>

namespace meanflow {

struct ConvSettings {
  HeightWidth kernel = 3;  ///< one number, or {height, width}
  std::size_t stride = 1;
  std::optional<HeightWidth> padding{};  ///< on each side; kernel / 2 if it is not given
  bool bias = true;
  Initializer weight_init{};
  Initializer bias_init{};
};

/// y = x * W + b on images (B, H, W, in), padded so that stride 1 keeps their size unless the
/// settings say otherwise; parameters NAME.weight (out, in, k, l) and NAME.bias (out).
template <class T = float, class Device = Cpu>
class Conv2d {
 public:
  Conv2d(Parameters<T, Device>& parameters, const std::string& name, std::size_t in,
         std::size_t out, const ConvSettings& settings = {})
      : weight(parameters.add(name + ".weight",
                              {out, in, settings.kernel.height, settings.kernel.width})),
        stride_(settings.stride),
        padding_(settings.padding.value_or(
            HeightWidth(settings.kernel.height / 2, settings.kernel.width / 2))) {
    initialize(weight, settings.weight_init);
    if (!settings.bias) return;
    bias = parameters.add(name + ".bias", {out});
    initialize(bias, settings.bias_init, weight.shape().row_size(), out);
  }

  template <Differentiable X>
  [[nodiscard]] X operator()(const X& x) const {
    return conv2d(x, weight, bias, stride_, padding_);
  }
  /// x * W, for what adds the bias on its way.
  template <Differentiable X>
  [[nodiscard]] X without_bias(const X& x) const {
    return conv2d(x, weight, {}, stride_, padding_);
  }

  Parameter<T, Device> weight;
  Parameter<T, Device> bias;

 private:
  std::size_t stride_;
  HeightWidth padding_;
};

/// The field's usual number of groups: 32, but at least 4 channels in each.
[[nodiscard]] constexpr std::size_t group_count(std::size_t channels) {
  return std::max<std::size_t>(1, std::min<std::size_t>(32, channels / 4));
}

/// Group normalisation into `group_count` groups, with parameters NAME.weight and NAME.bias (C).
template <class T = float, class Device = Cpu>
class GroupNorm {
 public:
  GroupNorm(Parameters<T, Device>& parameters, const std::string& name, std::size_t channels,
            double epsilon = 1e-5)
      : weight(parameters.add(name + ".weight", {channels})),
        bias(parameters.add(name + ".bias", {channels})),
        groups_(group_count(channels)),
        epsilon_(epsilon) {
    if (channels % groups_ != 0)
      throw SettingError(name + ": " + std::to_string(channels) + " channels cannot be cut into " +
                         std::to_string(groups_) + " equal groups");
    initialize(weight, {Distribution::ones});
  }

  /// f(norm(x)), x (B, ..., C).
  template <Differentiable X, class F = Identity>
  [[nodiscard]] X operator()(const X& x, F f = {}) const {
    return group_norm(x, weight, bias, groups_, epsilon_, f);
  }
  /// f(norm(x + added)), added (B, C).
  template <Differentiable X, class F = Identity>
  [[nodiscard]] X of_sum(const X& x, const X& added, F f = {}) const {
    return group_norm_of_sum(x, added, weight, bias, groups_, epsilon_, f);
  }

  /// f(norm(x) (1 + scale) + shift), with scale and shift (B, C): adaptive group normalisation.
  template <Differentiable X, class F = Identity>
  [[nodiscard]] X operator()(const X& x, const X& scale, const X& shift, F f = {}) const {
    const X factor = scale + 1;
    return group_norm(x, broadcast_rows(weight, x) * factor,
                      broadcast_rows(bias, x) * factor + shift, groups_, epsilon_, f);
  }

  Parameter<T, Device> weight;
  Parameter<T, Device> bias;

 private:
  std::size_t groups_;
  double epsilon_;
};

}  // namespace meanflow
