// SPDX-License-Identifier: MIT
/// \file
/// AttentionUNet: a U-Net with a 7 x 7 stem, an additive condition, attention of several heads on
/// every level, and strided 4 x 4 convolutions between them.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <meanflow/autodiff/recomputed.hpp>
#include <meanflow/nn/class_embedding.hpp>
#include <meanflow/nn/condition.hpp>
#include <meanflow/nn/conv.hpp>
#include <meanflow/nn/linear.hpp>
#include <meanflow/nn/net_checks.hpp>
#include <meanflow/nn/self_attention.hpp>
#include <meanflow/nn/time_embedding.hpp>
#include <meanflow/ops/broadcast.hpp>
#include <meanflow/ops/concat.hpp>
#include <meanflow/ops/elementwise.hpp>
#include <meanflow/ops/embedding.hpp>
#include <meanflow/ops/reshape.hpp>
#include <meanflow/ops/residual.hpp>

namespace meanflow {

/// The defaults are those of a public JAX reproduction of Mean Flows on CIFAR-10.
struct AttentionUNetSettings {
  std::size_t channels = 3;
  std::size_t dimension = 128;                          ///< channels of the first level
  std::vector<std::size_t> multipliers = {1, 2, 2, 2};  ///< channels of each level, of dimension
  std::size_t blocks = 2;   ///< residual blocks per level of the encoder
  std::size_t heads = 4;    ///< of attention
  std::size_t classes = 0;  ///< the null class is one more; 0 for a net without classes
  bool recompute = false;   ///< computes blocks again in the backward pass instead of keeping them
  std::uint64_t seed = 0;

  static constexpr void fields(auto f, auto&... s) {
    f("channels", s.channels...);
    f("dimension", s.dimension...);
    f("multipliers", s.multipliers...);
    f("blocks", s.blocks...);
    f("heads", s.heads...);
    f("classes", s.classes...);
    f("recompute", s.recompute...);
    f("seed", s.seed...);
  }

  /// Throws SettingError if no net can be built from these.
  void check() const {
    detail::check_positive("AttentionUNet", {{"channels", channels},
                                             {"dimension", dimension},
                                             {"multipliers", multipliers.size()},
                                             {"blocks", blocks},
                                             {"heads", heads}});
    detail::check_embedding("AttentionUNet", dimension);
    for (const std::size_t multiplier : multipliers) {
      detail::check_positive("AttentionUNet", {{"a multiplier", multiplier}});
      if (dimension * multiplier % heads != 0)
        throw SettingError("AttentionUNet: a level has " + std::to_string(dimension * multiplier) +
                           " channels, but they must be divisible by heads, which is " +
                           std::to_string(heads));
    }
  }
};

/// y = skip(x) + conv2(silu(norm2(conv1(silu(norm1(x))) + W c))), and attention among all pixels
/// after it where `attends`.
template <class T = float, class Device = Cpu>
class AdditiveResidualBlock {
 public:
  AdditiveResidualBlock(Parameters<T, Device>& parameters, const std::string& name, std::size_t in,
                        std::size_t out, std::size_t condition, std::size_t heads, bool attends)
      : norm1_(parameters, name + ".norm1", in),
        conv1_(parameters, name + ".conv1", in, out),
        condition_(parameters, name + ".condition", condition, out),
        norm2_(parameters, name + ".norm2", out),
        conv2_(parameters, name + ".conv2", out, out) {
    if (in != out) skip_.emplace(parameters, name + ".skip", in, out, ConvSettings{.kernel = 1});
    if (attends)
      attention_.emplace(parameters, name + ".attention", name + ".attention.norm", out,
                         SelfAttentionSettings{.heads = heads});
  }

  /// x (B, H, W, in), c (B, condition)
  template <Differentiable X>
  [[nodiscard]] X operator()(const X& x, const X& c) const {
    const X shift = add_bias(condition_(c), conv1_.bias);  // (B, out)
    const X h = norm2_.of_sum(conv1_.without_bias(norm1_(x, Silu{})), shift, Silu{});
    const X y = scaled_sum(conv2_.without_bias(h), skip_ ? (*skip_)(x) : x, 1, conv2_.bias);
    return attention_ ? (*attention_)(y) : y;
  }

 private:
  GroupNorm<T, Device> norm1_;
  Conv2d<T, Device> conv1_;
  Linear<T, Device> condition_;
  GroupNorm<T, Device> norm2_;
  Conv2d<T, Device> conv2_;
  std::optional<Conv2d<T, Device>> skip_;
  std::optional<SelfAttention<T, Device>> attention_;
};

/// u(z, r, t | class) of images z (B, H, W, channels), H and W divisible by 2^(levels - 1).
/// `ImageCondition::labels` gives the classes; without labels every row has the null class.
///
/// The public code of this net keeps nine feature maps of its encoder and takes twelve in its
/// decoder. Here the encoder keeps as many as the decoder takes: the stem, every block and every
/// downsampling, with the defaults twelve; the decoder has one block more per level than the
/// encoder, and each takes one.
template <class T = float, class Device = Cpu>
class AttentionUNet {
 public:
  using value_type = T;
  using device_type = Device;
  using condition_type = ImageCondition<T, Device>;

  explicit AttentionUNet(const AttentionUNetSettings& settings = {})
      : settings_((settings.check(), settings)),
        parameters_(settings.seed),
        frequencies_(sinusoid_frequencies<T, Device>(settings.dimension)),
        time0_(parameters_, "time.0", 2 * settings.dimension, width()),
        time2_(parameters_, "time.2", width(), width()),
        in_(parameters_, "stem", settings.channels, settings.dimension, {.kernel = 7}) {
    if (settings.classes > 0)
      classes_.emplace(parameters_, "class_embed.weight", settings.classes, width(), 0.02);
    std::vector<std::size_t> skips{settings.dimension};
    std::size_t channels = build_down(skips);
    for (std::size_t i = 0; i < 2; ++i)
      middle_.push_back(block("mid." + std::to_string(i), channels, channels, i == 0));
    channels = build_up(channels, skips);
    norm_out_.emplace(parameters_, "norm_out", channels);
    out_.emplace(
        parameters_, "conv_out", channels, settings.channels,
        ConvSettings{.weight_init = {Distribution::zeros}, .bias_init = {Distribution::zeros}});
  }

  [[nodiscard]] const AttentionUNetSettings& settings() const { return settings_; }
  [[nodiscard]] const Parameters<T, Device>& parameters() const { return parameters_; }
  /// The label of rows without a class, if the net knows classes.
  [[nodiscard]] std::optional<std::int32_t> null_class() const {
    if (!classes_) return std::nullopt;
    return classes_->null_class();
  }

  template <Differentiable X>
  [[nodiscard]] X operator()(const X& z, const X& r, const X& t,
                             const condition_type& given) const {
    detail::check_images("AttentionUNet", z.shape(), settings_.channels,
                         std::size_t{1} << (settings_.multipliers.size() - 1));
    if (!given.augmentation.empty())
      throw ShapeError("AttentionUNet: it takes labels only, but augmentation was given");
    if (!classes_ && !given.labels.empty())
      throw ShapeError("AttentionUNet: its classes are 0, but labels were given");
    const X c = embed(r, t, given);  // (B, width)
    X x = in_(z);                    // (B, H, W, dimension)
    std::vector<X> skips{x};
    for (const Level& level : down_) {
      for (const auto& block : level.blocks) skips.push_back(x = through(block, x, c));
      if (level.resample) skips.push_back(x = (*level.resample)(x));
    }
    for (const auto& block : middle_) x = through(block, x, c);
    for (const Level& level : up_) {
      if (!level.up.empty()) x = conv_transpose2d(x, level.up, level.up_bias, 2, 1);
      for (const auto& block : level.blocks) {
        x = through(block, concat(x, skips.back()), c);
        skips.pop_back();
      }
    }
    return (*out_)((*norm_out_)(x, Silu{}));
  }

 private:
  using Block = AdditiveResidualBlock<T, Device>;
  struct Level {
    std::vector<Block> blocks{};
    std::optional<Conv2d<T, Device>> resample{};
    Parameter<T, Device> up{}, up_bias{};
  };

  [[nodiscard]] std::size_t width() const { return 4 * settings_.dimension; }
  [[nodiscard]] std::size_t channels_of(std::size_t level) const {
    return settings_.dimension * settings_.multipliers[level];
  }

  template <class X>
  [[nodiscard]] X through(const Block& block, const X& x, const X& c) const {
    return settings_.recompute ? recomputed(std::cref(block), x, c) : block(x, c);
  }

  template <class X>
  [[nodiscard]] X embed(const X& r, const X& t, const condition_type& given) const {
    const X features = concat(sinusoid(t, frequencies_), sinusoid(t - r, frequencies_));
    const X c = time2_(time0_(features, Silu{}));
    return silu(classes_ ? c + (*classes_)(given.labels, t) : c);
  }

  [[nodiscard]] Block block(const std::string& name, std::size_t in, std::size_t out,
                            bool attends) {
    return Block(parameters_, name, in, out, width(), settings_.heads, attends);
  }

  /// Attention comes after the last block of a level.
  std::size_t build_down(std::vector<std::size_t>& skips) {
    std::size_t channels = settings_.dimension;
    const std::size_t levels = settings_.multipliers.size();
    for (std::size_t i = 0; i < levels; ++i) {
      const std::string name = "down." + std::to_string(i);
      Level level;
      for (std::size_t j = 0; j < settings_.blocks; ++j) {
        const std::string block_name = name + ".blocks." + std::to_string(j);
        level.blocks.push_back(
            block(block_name, channels, channels_of(i), j + 1 == settings_.blocks));
        skips.push_back(channels = channels_of(i));
      }
      if (i + 1 < levels) {
        level.resample.emplace(parameters_, name + ".resample", channels, channels,
                               ConvSettings{.kernel = 4, .stride = 2, .padding = 1});
        skips.push_back(channels);
      }
      down_.push_back(std::move(level));
    }
    return channels;
  }

  std::size_t build_up(std::size_t channels, std::vector<std::size_t>& skips) {
    const std::size_t levels = settings_.multipliers.size();
    for (std::size_t k = 0; k < levels; ++k) {
      const std::string name = "up." + std::to_string(k);
      Level level;
      if (k > 0) {
        level.up = parameters_.add(name + ".resample.weight", {channels, channels, 4, 4});
        initialize(level.up, {});
        level.up_bias = parameters_.add(name + ".resample.bias", {channels});
      }
      const std::size_t out = channels_of(levels - 1 - k);
      for (std::size_t j = 0; j <= settings_.blocks; ++j) {
        level.blocks.push_back(block(name + ".blocks." + std::to_string(j), channels + skips.back(),
                                     out, j == settings_.blocks));
        skips.pop_back();
        channels = out;
      }
      up_.push_back(std::move(level));
    }
    return channels;
  }

  AttentionUNetSettings settings_;
  Parameters<T, Device> parameters_;
  Tensor<T, Device> frequencies_;
  Linear<T, Device> time0_, time2_;
  Conv2d<T, Device> in_;
  std::optional<ClassEmbedding<T, Device>> classes_;
  std::vector<Level> down_, up_;
  std::vector<Block> middle_;
  std::optional<GroupNorm<T, Device>> norm_out_;
  std::optional<Conv2d<T, Device>> out_;
};

}  // namespace meanflow
