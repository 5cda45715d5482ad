// SPDX-License-Identifier: MIT
/// \file
/// The layers that transformers share: patches, embeddings of numbers, and the RMS norm.
#pragma once

#include <cstddef>
#include <string>

#include <meanflow/nn/conv.hpp>
#include <meanflow/nn/linear.hpp>
#include <meanflow/nn/net_checks.hpp>
#include <meanflow/nn/time_embedding.hpp>
#include <meanflow/ops/reshape.hpp>
#include <meanflow/ops/row_norm.hpp>
#include <meanflow/ops/swap_axes.hpp>

namespace meanflow {

/// Square images cut into square patches.
struct PatchGrid {
  std::size_t input_size, patch_size, channels;

  [[nodiscard]] constexpr std::size_t side() const { return input_size / patch_size; }
  [[nodiscard]] constexpr std::size_t tokens() const { return side() * side(); }
  /// The numbers of a patch.
  [[nodiscard]] constexpr std::size_t patch() const { return patch_size * patch_size * channels; }

  /// Throws SettingError, naming the net, if the images cannot be cut.
  void check(const char* net) const {
    detail::check_positive(
        net, {{"input_size", input_size}, {"patch_size", patch_size}, {"in_channels", channels}});
    if (input_size % patch_size != 0)
      throw SettingError(std::string(net) + ": input_size is " + std::to_string(input_size) +
                         ", but must be divisible by patch_size, which is " +
                         std::to_string(patch_size));
  }
  /// Throws ShapeError, naming the net, unless z is (B, input_size, input_size, channels).
  void check_images(const char* net, const Shape& z) const {
    if (z == Shape{z.rows(), input_size, input_size, channels}) return;
    throw ShapeError(std::string(net) + ": z has shape " + to_string(z) + ", but must be (B, " +
                     std::to_string(input_size) + ", " + std::to_string(input_size) + ", " +
                     std::to_string(channels) + ")");
  }
};

namespace detail {

/// Throws SettingError unless the heads divide the width into channels divisible by `divisor`.
inline void check_heads(const char* net, std::size_t width, std::size_t heads,
                        std::size_t divisor) {
  if (heads == 0 || width % heads != 0)
    throw SettingError(std::string(net) + ": hidden_size is " + std::to_string(width) +
                       ", but must be divisible by heads, which is " + std::to_string(heads));
  if (width / heads % divisor != 0)
    throw SettingError(std::string(net) + ": a head has " + std::to_string(width / heads) +
                       " channels, but they must be divisible by " + std::to_string(divisor));
}

/// hidden ratio, rounded down as in the published nets.
[[nodiscard]] inline std::size_t inner_width(std::size_t hidden, double ratio) {
  return static_cast<std::size_t>(static_cast<double>(hidden) * ratio);
}

}  // namespace detail

/// Images (B, H, W, C) to tokens (B, patches, hidden) by a convolution whose stride is the patch;
/// parameters NAME.proj.weight (hidden, C, patch, patch) and NAME.proj.bias.
template <class T = float, class Device = Cpu>
class PatchEmbedding {
 public:
  PatchEmbedding(Parameters<T, Device>& parameters, const std::string& name, const PatchGrid& grid,
                 std::size_t hidden)
      : grid_(grid),
        projection_(parameters, name + ".proj", grid.channels, hidden,
                    {.kernel = grid.patch_size,
                     .stride = grid.patch_size,
                     .padding = 0,
                     .bias_init = {Distribution::zeros}}) {
    initialize(projection_.weight, {Distribution::xavier_uniform}, grid.patch(), hidden);
  }

  template <Differentiable X>
  [[nodiscard]] X operator()(const X& z) const {
    const X x = projection_(z);  // (B, side, side, hidden)
    return reshape(x, {z.rows(), grid_.tokens(), x.shape().last()});
  }

 private:
  PatchGrid grid_;
  Conv2d<T, Device> projection_;
};

/// A number (B, 1) to (B, hidden): its sinusoids, 256 of them, through Linear, SiLU, Linear;
/// parameters NAME.mlp.0 and NAME.mlp.2.
template <class T = float, class Device = Cpu>
class NumberEmbedding {
 public:
  static constexpr std::size_t sinusoids = 256;

  /// The weights of both layers are drawn by `init`.
  NumberEmbedding(Parameters<T, Device>& parameters, const std::string& name, std::size_t hidden,
                  const Initializer& init, double scale = 1)
      : scale_(scale),
        frequencies_(sinusoid_frequencies<T, Device>(sinusoids)),
        first_(parameters, name + ".mlp.0", sinusoids, hidden, layer(init)),
        second_(parameters, name + ".mlp.2", hidden, hidden, layer(init)) {}

  template <Differentiable X>
  [[nodiscard]] X operator()(const X& number) const {
    const X scaled = scale_ == 1 ? number : number * scale_;
    return second_(first_(sinusoid(scaled, frequencies_), Silu{}));
  }

 private:
  [[nodiscard]] static LinearSettings layer(const Initializer& init) {
    return {.weight_init = init, .bias_init = {Distribution::zeros}};
  }

  double scale_;
  Tensor<T, Device> frequencies_;
  Linear<T, Device> first_, second_;
};

/// x w / sqrt(mean(x^2) + eps) over the last axis, with the parameter NAME.weight.
template <class T = float, class Device = Cpu>
class RmsNorm {
 public:
  RmsNorm(Parameters<T, Device>& parameters, const std::string& name, std::size_t width)
      : weight(parameters.add(name + ".weight", {width})) {
    initialize(weight, {Distribution::ones});
  }

  template <Differentiable X>
  [[nodiscard]] X operator()(const X& x) const {
    return rms_norm(x, weight);
  }

  Parameter<T, Device> weight;
};

}  // namespace meanflow
