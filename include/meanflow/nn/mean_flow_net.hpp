// SPDX-License-Identifier: MIT
/// \file
/// MeanFlowNet: a U-Net with adaptive group normalisation, conditioned on r, t and a class.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <meanflow/autodiff/recomputed.hpp>
#include <meanflow/nn/class_embedding.hpp>
#include <meanflow/nn/condition.hpp>
#include <meanflow/nn/conv.hpp>
#include <meanflow/nn/linear.hpp>
#include <meanflow/nn/net_checks.hpp>
#include <meanflow/nn/self_attention.hpp>
#include <meanflow/nn/time_embedding.hpp>
#include <meanflow/ops/concat.hpp>
#include <meanflow/ops/elementwise.hpp>
#include <meanflow/ops/embedding.hpp>
#include <meanflow/ops/residual.hpp>
#include <meanflow/ops/swap_axes.hpp>

namespace meanflow {

struct MeanFlowNetSettings {
  std::size_t channels = 3;    ///< of the images
  std::size_t patch_size = 1;  ///< pixels of one side of what level 0 works on
  std::size_t base = 64;       ///< channels of the first level
  std::vector<std::size_t> multipliers = {1, 2, 4};  ///< channels of each level, in units of `base`
  std::size_t blocks = 2;                            ///< residual blocks per level of the encoder
  std::size_t classes = 10;                          ///< the null class is one more
  std::size_t embedding = 128;                       ///< width of the embeddings of r, t and class
  std::size_t condition = 256;                       ///< width of the condition
  /// Levels whose residual blocks are followed by self-attention: level i works on images of
  /// 1 / 2^i of the height and width, so that {1} means 16 x 16 for images of 32 x 32 (of patches).
  std::vector<std::size_t> attention_levels = {};
  bool recompute = false;  ///< computes blocks again in the backward pass instead of keeping them
  std::uint64_t seed = 0;

  static constexpr void fields(auto f, auto&... s) {
    f("channels", s.channels...);
    f("patch_size", s.patch_size...);
    f("base", s.base...);
    f("multipliers", s.multipliers...);
    f("blocks", s.blocks...);
    f("classes", s.classes...);
    f("embedding", s.embedding...);
    f("condition", s.condition...);
    f("attention_levels", s.attention_levels...);
    f("recompute", s.recompute...);
    f("seed", s.seed...);
  }

  /// Throws SettingError if no net can be built from these.
  void check() const {
    detail::check_positive("MeanFlowNet", {{"channels", channels},
                                           {"patch_size", patch_size},
                                           {"base", base},
                                           {"multipliers", multipliers.size()},
                                           {"blocks", blocks},
                                           {"condition", condition}});
    for (const std::size_t multiplier : multipliers)
      detail::check_positive("MeanFlowNet", {{"a multiplier", multiplier}});
    for (const std::size_t level : attention_levels)
      if (level >= multipliers.size())
        throw SettingError("MeanFlowNet: attention_levels has " + std::to_string(level) +
                           ", but there are " + std::to_string(multipliers.size()) +
                           " levels, counted from 0");
    detail::check_embedding("MeanFlowNet", embedding);
  }

  /// Values of one patch.
  [[nodiscard]] std::size_t patch() const { return patch_size * patch_size * channels; }
};

/// y = skip(x) + conv2(silu(norm2(conv1(silu(norm1(x)))) (1 + scale) + shift)), where scale and
/// shift are linear in the condition. Images (B, H, W, in) to (B, H, W, out).
template <class T = float, class Device = Cpu>
class AdaptiveResidualBlock {
 public:
  AdaptiveResidualBlock(Parameters<T, Device>& parameters, const std::string& name, std::size_t in,
                        std::size_t out, std::size_t condition, bool attends = false)
      : norm1_(parameters, name + ".norm1", in),
        conv1_(parameters, name + ".conv1", in, out),
        affine_(parameters, name + ".affine", condition, 2 * out),
        norm2_(parameters, name + ".norm2", out),
        conv2_(parameters, name + ".conv2", out, out) {
    if (in != out) skip_.emplace(parameters, name + ".skip", in, out, ConvSettings{.kernel = 1});
    if (attends) attention_.emplace(parameters, name + ".attention", name + ".attention.norm", out);
  }

  template <Differentiable X>
  [[nodiscard]] X operator()(const X& x, const X& condition) const {
    const auto [scale, shift] = split<2>(affine_(condition));  // (B, out)
    const X y = conv2_.without_bias(norm2_(conv1_(norm1_(x, Silu{})), scale, shift, Silu{}));
    const X z = scaled_sum(y, skip_ ? (*skip_)(x) : x, 1, conv2_.bias);
    return attention_ ? (*attention_)(z) : z;
  }

 private:
  GroupNorm<T, Device> norm1_;
  Conv2d<T, Device> conv1_;
  Linear<T, Device> affine_;
  GroupNorm<T, Device> norm2_;
  Conv2d<T, Device> conv2_;
  std::optional<Conv2d<T, Device>> skip_;
  std::optional<SelfAttention<T, Device>> attention_;
};

/// u(z, r, t | class) of images z (B, H, W, channels), H and W divisible by
/// patch_size 2^(levels - 1). With a `patch_size` p, the U-Net works on H/p x W/p patches of p x p
/// pixels: p^2 times less work for the same width (Hoogeboom et al. 2023, arXiv 2301.11093, 2.3).
/// `ImageCondition::labels` gives the classes; without labels every row has the null class.
template <class T = float, class Device = Cpu>
class MeanFlowNet {
 public:
  using value_type = T;
  using device_type = Device;
  using condition_type = ImageCondition<T, Device>;

  explicit MeanFlowNet(const MeanFlowNetSettings& settings = {})
      : settings_((settings.check(), settings)),
        parameters_(settings.seed),
        frequencies_(sinusoid_frequencies<T, Device>(settings.embedding)),
        classes_(parameters_, "class_embed.weight", settings.classes, settings.embedding, 1),
        condition0_(parameters_, "cond_mlp.0", 3 * settings.embedding, settings.condition),
        condition2_(parameters_, "cond_mlp.2", settings.condition, settings.condition),
        in_(parameters_, "conv_in", settings.patch(), settings.base) {
    std::vector<std::size_t> skips{settings.base};
    std::size_t width = build_down(skips);
    for (std::size_t i = 0; i < 2; ++i)
      middle_.emplace_back(parameters_, "mid." + std::to_string(i), width, width,
                           settings.condition, attends(settings.multipliers.size() - 1));
    width = build_up(width, skips);
    norm_out_.emplace(parameters_, "norm_out", width);
    out_.emplace(
        parameters_, "conv_out", width, settings.patch(),
        ConvSettings{.weight_init = {Distribution::zeros}, .bias_init = {Distribution::zeros}});
  }

  [[nodiscard]] const MeanFlowNetSettings& settings() const { return settings_; }
  [[nodiscard]] const Parameters<T, Device>& parameters() const { return parameters_; }
  /// The label of rows without a class.
  [[nodiscard]] std::int32_t null_class() const { return classes_.null_class(); }

  template <Differentiable X>
  [[nodiscard]] X operator()(const X& z, const X& r, const X& t,
                             const condition_type& given) const {
    detail::check_images("MeanFlowNet", z.shape(), settings_.channels,
                         settings_.patch_size << (settings_.multipliers.size() - 1));
    if (!given.augmentation.empty())
      throw ShapeError("MeanFlowNet: it takes labels only, but augmentation was given");
    const std::size_t patch = settings_.patch_size;
    const X condition = embed(r, t, given);          // (B, condition)
    X x = in_(patch == 1 ? z : patchify(z, patch));  // (B, H/p, W/p, base)
    std::vector<X> skips{x};
    for (const Level& level : down_) {
      for (const auto& block : level.blocks) skips.push_back(x = through(block, x, condition));
      if (level.resample) skips.push_back(x = (*level.resample)(x));
    }
    for (const auto& block : middle_) x = through(block, x, condition);
    for (const Level& level : up_) {
      if (level.resample) x = (*level.resample)(upsample_nearest(x));
      for (const auto& block : level.blocks) {
        x = through(block, concat(x, skips.back()), condition);
        skips.pop_back();
      }
    }
    const X y = (*out_)((*norm_out_)(x, Silu{}));  // (B, H/p, W/p, p p channels)
    return patch == 1 ? y : unpatchify(y, patch);
  }

 private:
  struct Level {
    std::vector<AdaptiveResidualBlock<T, Device>> blocks;
    std::optional<Conv2d<T, Device>> resample;
  };

  template <class X>
  [[nodiscard]] X through(const AdaptiveResidualBlock<T, Device>& block, const X& x,
                          const X& condition) const {
    return settings_.recompute ? recomputed(std::cref(block), x, condition) : block(x, condition);
  }

  template <class X>
  [[nodiscard]] X embed(const X& r, const X& t, const condition_type& given) const {
    const X features =
        concat(sinusoid(r, frequencies_), sinusoid(t, frequencies_), classes_(given.labels, t));
    return condition2_(condition0_(features, Silu{}), Silu{});
  }

  [[nodiscard]] bool attends(std::size_t level) const {
    const auto& all = settings_.attention_levels;
    return std::find(all.begin(), all.end(), level) != all.end();
  }

  std::size_t build_down(std::vector<std::size_t>& skips) {
    std::size_t width = settings_.base;
    for (std::size_t i = 0; i < settings_.multipliers.size(); ++i) {
      const std::string name = "down." + std::to_string(i);
      Level level;
      for (std::size_t j = 0; j < settings_.blocks; ++j) {
        const std::size_t out = settings_.base * settings_.multipliers[i];
        level.blocks.emplace_back(parameters_, name + ".blocks." + std::to_string(j), width, out,
                                  settings_.condition, attends(i));
        skips.push_back(width = out);
      }
      if (i + 1 < settings_.multipliers.size()) {
        level.resample.emplace(parameters_, name + ".resample", width, width,
                               ConvSettings{.stride = 2});
        skips.push_back(width);
      }
      down_.push_back(std::move(level));
    }
    return width;
  }

  std::size_t build_up(std::size_t width, std::vector<std::size_t>& skips) {
    const std::size_t levels = settings_.multipliers.size();
    for (std::size_t k = 0; k < levels; ++k) {
      const std::string name = "up." + std::to_string(k);
      Level level;
      if (k > 0) level.resample.emplace(parameters_, name + ".resample", width, width);
      for (std::size_t j = 0; j <= settings_.blocks; ++j) {
        const std::size_t out = settings_.base * settings_.multipliers[levels - 1 - k];
        level.blocks.emplace_back(parameters_, name + ".blocks." + std::to_string(j),
                                  width + skips.back(), out, settings_.condition,
                                  attends(levels - 1 - k));
        skips.pop_back();
        width = out;
      }
      up_.push_back(std::move(level));
    }
    return width;
  }

  MeanFlowNetSettings settings_;
  Parameters<T, Device> parameters_;
  Tensor<T, Device> frequencies_;
  ClassEmbedding<T, Device> classes_;
  Linear<T, Device> condition0_, condition2_;
  Conv2d<T, Device> in_;
  std::vector<Level> down_, up_;
  std::vector<AdaptiveResidualBlock<T, Device>> middle_;
  std::optional<GroupNorm<T, Device>> norm_out_;
  std::optional<Conv2d<T, Device>> out_;
};

}  // namespace meanflow
