// SPDX-License-Identifier: MIT
/// \file
/// SongUNet: the DDPM++ U-Net (Song et al., arXiv 2011.13456) on the times (t, h), h = t - r, as
/// the CIFAR-10 recipe of Mean Flows uses it. Parameter names and layouts are those of the public
/// PyTorch checkpoints.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <meanflow/autodiff/recomputed.hpp>
#include <meanflow/nn/condition.hpp>
#include <meanflow/nn/conv.hpp>
#include <meanflow/nn/linear.hpp>
#include <meanflow/nn/net_checks.hpp>
#include <meanflow/nn/self_attention.hpp>
#include <meanflow/nn/time_embedding.hpp>
#include <meanflow/ops/broadcast.hpp>
#include <meanflow/ops/concat.hpp>
#include <meanflow/ops/dropout.hpp>
#include <meanflow/ops/elementwise.hpp>
#include <meanflow/ops/embedding.hpp>
#include <meanflow/ops/residual.hpp>

namespace meanflow {

/// The defaults are the CIFAR-10 configuration.
struct SongUNetSettings {
  std::size_t resolution = 32;  ///< height and width of the images
  std::size_t in_channels = 3, out_channels = 3;
  std::size_t augmentation = 0;  ///< numbers that say what was done to an image
  std::size_t classes = 0;       ///< the null class is one more; 0 for a net without classes
  double dropout = 0;            ///< rate in training, in [0, 1); the CIFAR-10 recipe's is 0.2
  std::size_t model_channels = 128;
  std::vector<std::size_t> channel_mult = {2, 2, 2};  ///< channels of each level
  std::size_t channel_mult_emb = 4;                   ///< width of the condition
  std::size_t channel_mult_noise = 2;                 ///< width of the embedding of each time
  std::size_t blocks = 4;                             ///< residual blocks per level of the encoder
  std::vector<std::size_t> attention_resolutions = {16};
  std::vector<double> resample_filter = {1, 3, 3, 1};
  bool recompute = false;  ///< computes blocks again in the backward pass instead of keeping them
  std::uint64_t seed = 0;

  static constexpr void fields(auto f, auto&... s) {
    f("resolution", s.resolution...);
    f("in_channels", s.in_channels...);
    f("out_channels", s.out_channels...);
    f("augmentation", s.augmentation...);
    f("classes", s.classes...);
    f("dropout", s.dropout...);
    f("model_channels", s.model_channels...);
    f("channel_mult", s.channel_mult...);
    f("channel_mult_emb", s.channel_mult_emb...);
    f("channel_mult_noise", s.channel_mult_noise...);
    f("blocks", s.blocks...);
    f("attention_resolutions", s.attention_resolutions...);
    f("resample_filter", s.resample_filter...);
    f("recompute", s.recompute...);
    f("seed", s.seed...);
  }

  /// Throws SettingError if no net can be built from these.
  void check() const {
    detail::check_positive("SongUNet", {{"resolution", resolution},
                                        {"in_channels", in_channels},
                                        {"out_channels", out_channels},
                                        {"model_channels", model_channels},
                                        {"channel_mult", channel_mult.size()},
                                        {"channel_mult_emb", channel_mult_emb},
                                        {"channel_mult_noise", channel_mult_noise},
                                        {"blocks", blocks}});
    for (const std::size_t multiplier : channel_mult)
      detail::check_positive("SongUNet", {{"a channel_mult", multiplier}});
    detail::check_embedding("SongUNet", model_channels * channel_mult_noise);
    if (!(dropout >= 0 && dropout < 1))
      throw SettingError("SongUNet: dropout is " + std::to_string(dropout) +
                         ", but must be in [0, 1)");
    const std::size_t divisor = std::size_t{1} << (channel_mult.size() - 1);
    if (resolution % divisor != 0)
      throw SettingError("SongUNet: resolution is " + std::to_string(resolution) +
                         ", but must be divisible by " + std::to_string(divisor) + " for " +
                         std::to_string(channel_mult.size()) + " levels");
    for (const std::size_t wanted : attention_resolutions) check_attention(wanted);
  }

 private:
  void check_attention(std::size_t wanted) const {
    std::string all;
    for (std::size_t level = 0; level < channel_mult.size(); ++level) {
      if (wanted == resolution >> level) return;
      all += (level == 0 ? "" : ", ") + std::to_string(resolution >> level);
    }
    throw SettingError("SongUNet: attention_resolutions lists " + std::to_string(wanted) +
                       ", but the resolutions of this net are " + all);
  }
};

/// A residual block with an additive condition, and optionally resampling and attention:
///   y = conv1(dropout(silu(norm1(conv0(silu(norm0(x))) + affine(c))))),
///   x' = (y + skip(x)) / sqrt(2),
///   x'' = (x' + proj(attention(qkv(norm2(x'))))) / sqrt(2).
template <class T = float, class Device = Cpu>
class SongBlock {
 public:
  SongBlock(Parameters<T, Device>& parameters, const std::string& name, std::size_t in,
            std::size_t out, const SongUNetSettings& settings,
            std::optional<Resampling> direction = {}, bool attends = false)
      : in_(in),
        dropout_(settings.dropout),
        direction_(direction),
        norm0_(parameters, name + ".norm0", in, 1e-6),
        conv0_(parameters, name + ".conv0", in, out, conv(3)),
        affine_(parameters, name + ".affine", settings.model_channels * settings.channel_mult_emb,
                out, {.weight_init = {Distribution::xavier_uniform}, .bias_init = zeros()}),
        norm1_(parameters, name + ".norm1", out, 1e-6),
        conv1_(parameters, name + ".conv1", out, out, conv(3, 1e-5)) {
    if (direction) filter_ = resampling_filter<T, Device>(*direction, settings.resample_filter);
    if (direction || in != out) skip_.emplace(parameters, name + ".skip", in, out, conv(1));
    if (attends)
      attention_.emplace(
          parameters, name, name + ".norm2", out,
          SelfAttentionSettings{.epsilon = 1e-6,
                                .scale = half_,
                                .qkv_init = {Distribution::xavier_uniform, std::sqrt(0.2)},
                                .projection_init = {Distribution::xavier_uniform, 1e-5}});
  }

  [[nodiscard]] std::size_t in_channels() const { return in_; }

  template <Differentiable X>
  [[nodiscard]] X operator()(const X& x, const X& condition, const RowDraws<Device>& draw) const {
    // What is added to all pixels of an image is added where the next pass reads them.
    const X shift = add_bias(affine_(condition), conv0_.bias);  // (B, out)
    const X h = conv0_.without_bias(resampled(norm0_(x, Silu{})));
    const X a = norm1_.of_sum(h, shift, Silu{});
    const X y = conv1_.without_bias(dropout(a, dropout_, draw, conv1_.weight.index()));
    const X z = scaled_sum(y, skip_ ? (*skip_)(resampled(x)) : x, half_, conv1_.bias);
    return attention_ ? (*attention_)(z) : z;
  }

  static ConvSettings conv(std::size_t kernel, double gain = 1) {
    return {.kernel = kernel,
            .weight_init = {Distribution::xavier_uniform, gain},
            .bias_init = zeros()};
  }

 private:
  static constexpr double half_ = 0.70710678118654752440;  // sqrt(1/2)
  static constexpr Initializer zeros() { return {Distribution::zeros}; }

  template <class X>
  [[nodiscard]] X resampled(const X& x) const {
    return direction_ ? resample(x, *direction_, filter_) : x;
  }

  std::size_t in_;
  double dropout_;
  std::optional<Resampling> direction_;
  Tensor<T, Device> filter_;
  GroupNorm<T, Device> norm0_;
  Conv2d<T, Device> conv0_;
  Linear<T, Device> affine_;
  GroupNorm<T, Device> norm1_;
  Conv2d<T, Device> conv1_;
  std::optional<Conv2d<T, Device>> skip_;
  std::optional<SelfAttention<T, Device>> attention_;
};

/// u(z, r, t) of images z (B, resolution, resolution, in_channels). With `augmentation` > 0,
/// `ImageCondition::augmentation` (B, augmentation) says what was done to the images; empty for
/// nothing. With `classes` > 0, `ImageCondition::labels` gives the classes; without labels every
/// row has the null class. `ImageCondition::dropout` draws the masks of dropout; empty in sampling.
template <class T = float, class Device = Cpu>
class SongUNet {
 public:
  using value_type = T;
  using device_type = Device;
  using condition_type = ImageCondition<T, Device>;

  explicit SongUNet(const SongUNetSettings& settings = {})
      : settings_((settings.check(), settings)),
        parameters_(settings.seed),
        frequencies_(sinusoid_frequencies<T, Device>(noise_channels(), 10000, true)) {
    const LinearSettings plain{.weight_init = {Distribution::xavier_uniform},
                               .bias_init = {Distribution::zeros}};
    const std::size_t width = settings.model_channels * settings.channel_mult_emb;
    if (settings.classes > 0)
      label_.emplace(parameters_, "map_label", settings.classes, 2 * noise_channels(), plain);
    if (settings.augmentation > 0)
      augment_.emplace(parameters_, "map_augment", settings.augmentation, 2 * noise_channels(),
                       LinearSettings{.bias = false, .weight_init = plain.weight_init});
    map0_.emplace(parameters_, "map_layer0", 2 * noise_channels(), width, plain);
    map1_.emplace(parameters_, "map_layer1", width, width, plain);
    std::vector<std::size_t> skips;
    build_decoder(build_encoder(skips), skips);
  }

  [[nodiscard]] const SongUNetSettings& settings() const { return settings_; }
  [[nodiscard]] const Parameters<T, Device>& parameters() const { return parameters_; }
  /// The label of rows without a class, if the net knows classes.
  [[nodiscard]] std::optional<std::int32_t> null_class() const {
    if (settings_.classes == 0) return std::nullopt;
    return static_cast<std::int32_t>(settings_.classes);
  }

  template <Differentiable X>
  [[nodiscard]] X operator()(const X& z, const X& r, const X& t,
                             const condition_type& given) const {
    detail::check_images("SongUNet", z.shape(), settings_.in_channels,
                         std::size_t{1} << (settings_.channel_mult.size() - 1));
    if (!label_ && !given.labels.empty())
      throw ShapeError("SongUNet: its classes are 0, but labels were given");
    if (!augment_ && !given.augmentation.empty())
      throw ShapeError("SongUNet: its augmentation is 0, but augmentation was given");
    const X condition = embed(r, t, given);
    X x = (*in_)(z);
    std::vector<X> skips{x};
    for (const auto& block : encoder_)
      skips.push_back(x = through(block, x, condition, given.dropout));
    for (const auto& block : decoder_) {
      if (x.shape().last() != block.in_channels()) {
        x = concat(x, skips.back());
        skips.pop_back();
      }
      x = through(block, x, condition, given.dropout);
    }
    return (*out_)((*norm_out_)(x, Silu{}));
  }

 private:
  [[nodiscard]] std::size_t noise_channels() const {
    return settings_.model_channels * settings_.channel_mult_noise;
  }

  /// A block with the masks of its dropout, to be called again.
  struct Masked {
    const SongBlock<T, Device>* block;
    RowDraws<Device> draw;
    template <class X>
    [[nodiscard]] X operator()(const X& x, const X& condition) const {
      return (*block)(x, condition, draw);
    }
  };
  template <class X>
  [[nodiscard]] X through(const SongBlock<T, Device>& block, const X& x, const X& condition,
                          const RowDraws<Device>& draw) const {
    const Masked masked{&block, draw};
    return settings_.recompute ? recomputed(masked, x, condition) : masked(x, condition);
  }

  template <class X>
  [[nodiscard]] X embed(const X& r, const X& t, const condition_type& given) const {
    constexpr auto order = SinusoidOrder::sines_first;
    X features = concat(sinusoid(t, frequencies_, order), sinusoid(t - r, frequencies_, order));
    if (label_) features = features + (*label_)(one_of_classes(given.labels, features));
    if (augment_ && !given.augmentation.empty())
      features = features + (*augment_)(constant_like(features, given.augmentation));
    return (*map1_)((*map0_)(features, Silu{}), Silu{});
  }

  /// sqrt(classes) at the class of a row, zeros for the null class, (B, classes).
  template <class X>
  [[nodiscard]] X one_of_classes(const Tensor<std::int32_t, Device>& labels, const X& like) const {
    const std::size_t classes = settings_.classes;
    if (labels.empty())
      return constant_like(like, Tensor<T, Device>::zeros({like.rows(), classes}));
    return one_hot(labels, classes, std::sqrt(static_cast<T>(classes)), like);
  }

  [[nodiscard]] bool attends(std::size_t resolution) const {
    const auto& all = settings_.attention_resolutions;
    return std::find(all.begin(), all.end(), resolution) != all.end();
  }

  [[nodiscard]] static std::string level_name(const std::string& part, std::size_t resolution) {
    const std::string size = std::to_string(resolution);
    return part + "." + size + "x" + size + "_";
  }

  std::size_t build_encoder(std::vector<std::size_t>& skips) {
    std::size_t width = settings_.model_channels;
    in_.emplace(parameters_, level_name("enc", settings_.resolution) + "conv",
                settings_.in_channels, width, SongBlock<T, Device>::conv(3));
    skips.push_back(width);
    for (std::size_t level = 0; level < settings_.channel_mult.size(); ++level) {
      const std::size_t resolution = settings_.resolution >> level;
      const std::string name = level_name("enc", resolution);
      if (level > 0) {
        encoder_.emplace_back(parameters_, name + "down", width, width, settings_,
                              Resampling::down);
        skips.push_back(width);
      }
      for (std::size_t i = 0; i < settings_.blocks; ++i) {
        const std::size_t out = settings_.model_channels * settings_.channel_mult[level];
        encoder_.emplace_back(parameters_, name + "block" + std::to_string(i), width, out,
                              settings_, std::nullopt, attends(resolution));
        skips.push_back(width = out);
      }
    }
    return width;
  }

  void build_decoder(std::size_t width, std::vector<std::size_t>& skips) {
    for (std::size_t level = settings_.channel_mult.size(); level-- > 0;) {
      const std::size_t resolution = settings_.resolution >> level;
      const std::string name = level_name("dec", resolution);
      if (level + 1 == settings_.channel_mult.size()) {
        decoder_.emplace_back(parameters_, name + "in0", width, width, settings_, std::nullopt,
                              true);
        decoder_.emplace_back(parameters_, name + "in1", width, width, settings_);
      } else {
        decoder_.emplace_back(parameters_, name + "up", width, width, settings_, Resampling::up);
      }
      for (std::size_t i = 0; i <= settings_.blocks; ++i) {
        const std::size_t out = settings_.model_channels * settings_.channel_mult[level];
        const bool attention = i == settings_.blocks && attends(resolution);
        decoder_.emplace_back(parameters_, name + "block" + std::to_string(i), width + skips.back(),
                              out, settings_, std::nullopt, attention);
        skips.pop_back();
        width = out;
      }
    }
    const std::string name = level_name("dec", settings_.resolution);
    norm_out_.emplace(parameters_, name + "aux_norm", width, 1e-6);
    out_.emplace(parameters_, name + "aux_conv", width, settings_.out_channels,
                 SongBlock<T, Device>::conv(3, 1e-5));
  }

  SongUNetSettings settings_;
  Parameters<T, Device> parameters_;
  Tensor<T, Device> frequencies_;
  std::optional<Linear<T, Device>> label_, augment_, map0_, map1_;
  std::optional<Conv2d<T, Device>> in_;
  std::vector<SongBlock<T, Device>> encoder_, decoder_;
  std::optional<GroupNorm<T, Device>> norm_out_;
  std::optional<Conv2d<T, Device>> out_;
};

}  // namespace meanflow
