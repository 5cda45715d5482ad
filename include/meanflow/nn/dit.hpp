// SPDX-License-Identifier: MIT
/// \file
/// DiT: the transformer with adaptive layer normalisation (Peebles and Xie, arXiv 2212.09748) on
/// the times (t, h), h = t - r, as Mean Flows use it on latents. Parameter names and layouts are
/// those of the public checkpoints.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <meanflow/autodiff/recomputed.hpp>
#include <meanflow/nn/class_embedding.hpp>
#include <meanflow/nn/condition.hpp>
#include <meanflow/nn/position.hpp>
#include <meanflow/nn/token_layers.hpp>
#include <meanflow/ops/attention.hpp>
#include <meanflow/ops/broadcast.hpp>
#include <meanflow/ops/concat.hpp>
#include <meanflow/ops/elementwise.hpp>
#include <meanflow/ops/gate.hpp>

namespace meanflow {

/// The defaults are DiT-B/4 on latents of 32 x 32 x 4.
struct DiTSettings {
  std::size_t input_size = 32;  ///< height and width
  std::size_t patch_size = 4;
  std::size_t in_channels = 4;
  std::size_t hidden_size = 768;
  std::size_t depth = 12;
  std::size_t heads = 12;
  double mlp_ratio = 4;        ///< width of the hidden layer of a block, of hidden_size
  std::size_t classes = 1000;  ///< the null class is one more; 0 for a net without classes
  double time_scale = 1;       ///< multiplies the times before they are embedded
  bool recompute = false;  ///< computes blocks again in the backward pass instead of keeping them
  std::uint64_t seed = 0;

  static constexpr void fields(auto f, auto&... s) {
    f("input_size", s.input_size...);
    f("patch_size", s.patch_size...);
    f("in_channels", s.in_channels...);
    f("hidden_size", s.hidden_size...);
    f("depth", s.depth...);
    f("heads", s.heads...);
    f("mlp_ratio", s.mlp_ratio...);
    f("classes", s.classes...);
    f("time_scale", s.time_scale...);
    f("recompute", s.recompute...);
    f("seed", s.seed...);
  }

  [[nodiscard]] PatchGrid grid() const { return {input_size, patch_size, in_channels}; }

  /// Throws SettingError if no net can be built from these.
  void check() const {
    grid().check("DiT");
    detail::check_factor("DiT", "mlp_ratio", mlp_ratio);
    detail::check_positive(
        "DiT", {{"hidden_size", hidden_size},
                {"depth", depth},
                {"mlp_ratio times hidden_size", detail::inner_width(hidden_size, mlp_ratio)}});
    detail::check_heads("DiT", hidden_size, heads, 1);
    detail::check_factor("DiT", "time_scale", time_scale);
    if (hidden_size % 4 != 0)
      throw SettingError("DiT: hidden_size is " + std::to_string(hidden_size) +
                         ", but must be divisible by 4 for the table of positions");
  }
};

/// The published sizes: 12 x 384, 12 x 768, 16 x 1024, 24 x 1024 and 28 x 1152.
enum class DiTSize { S, B, M, L, XL };

/// The settings of a published size, for example DiT-XL/2: dit_settings(DiTSize::XL, 2).
[[nodiscard]] inline DiTSettings dit_settings(DiTSize size, std::size_t patch_size) {
  const auto of = [&](std::size_t depth, std::size_t hidden, std::size_t heads) {
    DiTSettings s;
    s.patch_size = patch_size;
    s.depth = depth;
    s.hidden_size = hidden;
    s.heads = heads;
    return s;
  };
  switch (size) {
    case DiTSize::S:
      return of(12, 384, 6);
    case DiTSize::M:
      return of(16, 1024, 16);
    case DiTSize::L:
      return of(24, 1024, 16);
    case DiTSize::XL:
      return of(28, 1152, 16);
    case DiTSize::B:
      break;
  }
  return of(12, 768, 12);
}

/// A block of DiT, modulated by a condition c, (shift, scale, gate) of each half from Linear(c):
///   x' = x + gate_1 proj(attention(qkv(norm(x) (1 + scale_1) + shift_1))),
///   x'' = x' + gate_2 fc2(gelu(fc1(norm(x') (1 + scale_2) + shift_2))).
template <class T = float, class Device = Cpu>
class DiTBlock {
 public:
  DiTBlock(Parameters<T, Device>& parameters, const std::string& name, const DiTSettings& s)
      : heads_(s.heads),
        qkv_(parameters, name + ".attn.qkv", s.hidden_size, 3 * s.hidden_size, plain()),
        projection_(parameters, name + ".attn.proj", s.hidden_size, s.hidden_size, plain()),
        first_(parameters, name + ".mlp.fc1", s.hidden_size, inner(s), plain()),
        second_(parameters, name + ".mlp.fc2", inner(s), s.hidden_size, plain()),
        modulation_(parameters, name + ".adaLN_modulation.1", s.hidden_size, 6 * s.hidden_size,
                    zeros()) {}

  /// x (B, tokens, hidden), c (B, hidden).
  template <Differentiable X>
  [[nodiscard]] X operator()(const X& x, const X& c) const {
    const auto [shift1, scale1, gate1, shift2, scale2, gate2] = split<6>(modulation_(c));
    const X a = self_attention(qkv_(modulated_layer_norm(x, shift1, scale1)), {.heads = heads_});
    const X y = add_gated(x, gate1, projection_(a));
    return add_gated(y, gate2,
                     second_(first_(modulated_layer_norm(y, shift2, scale2), GeluTanh{})));
  }

  /// Layers that begin at zero, so that a net begins as the identity.
  [[nodiscard]] static LinearSettings zeros() {
    return {.weight_init = {Distribution::zeros}, .bias_init = {Distribution::zeros}};
  }

 private:
  [[nodiscard]] static LinearSettings plain() {
    return {.weight_init = {Distribution::xavier_uniform}, .bias_init = {Distribution::zeros}};
  }
  [[nodiscard]] static std::size_t inner(const DiTSettings& s) {
    return detail::inner_width(s.hidden_size, s.mlp_ratio);
  }

  std::size_t heads_;
  Linear<T, Device> qkv_, projection_, first_, second_, modulation_;
};

/// u(z, r, t | class) of images or latents z (B, input_size, input_size, in_channels).
/// `LabelCondition::labels` gives the classes; without labels every row has the null class.
template <class T = float, class Device = Cpu>
class DiT {
 public:
  using value_type = T;
  using device_type = Device;
  using condition_type = LabelCondition<T, Device>;

  explicit DiT(const DiTSettings& settings = {})
      : settings_((settings.check(), settings)),
        parameters_(settings.seed),
        patches_(parameters_, "x_embedder", settings.grid(), settings.hidden_size),
        t_(parameters_, "t_embedder", settings.hidden_size, time_init(), settings.time_scale),
        h_(parameters_, "h_embedder", settings.hidden_size, time_init(), settings.time_scale),
        positions_(sine_table_2d<T, Device>(settings.grid().side(), settings.grid().side(),
                                            settings.hidden_size)) {
    if (settings.classes > 0)
      classes_.emplace(parameters_, "y_embedder.embedding_table.weight", settings.classes,
                       settings.hidden_size, 0.02);
    for (std::size_t i = 0; i < settings.depth; ++i)
      blocks_.emplace_back(parameters_, "blocks." + std::to_string(i), settings);
    out_.emplace(parameters_, "final_layer.linear", settings.hidden_size, settings.grid().patch(),
                 DiTBlock<T, Device>::zeros());
    modulation_.emplace(parameters_, "final_layer.adaLN_modulation.1", settings.hidden_size,
                        2 * settings.hidden_size, DiTBlock<T, Device>::zeros());
  }

  [[nodiscard]] const DiTSettings& settings() const { return settings_; }
  [[nodiscard]] const Parameters<T, Device>& parameters() const { return parameters_; }
  /// The label of rows without a class, if the net knows classes.
  [[nodiscard]] std::optional<std::int32_t> null_class() const {
    if (!classes_) return std::nullopt;
    return classes_->null_class();
  }

  template <Differentiable X>
  [[nodiscard]] X operator()(const X& z, const X& r, const X& t,
                             const condition_type& given) const {
    const PatchGrid grid = settings_.grid();
    grid.check_images("DiT", z.shape());
    if (!classes_ && !given.labels.empty())
      throw ShapeError("DiT: its classes are 0, but labels were given");
    X times = t_(t) + h_(t - r);
    if (classes_) times = times + (*classes_)(given.labels, t);
    const X c = silu(times);                   // (B, hidden)
    X x = add_table(patches_(z), positions_);  // (B, tokens, hidden)
    for (const auto& block : blocks_)
      x = settings_.recompute ? recomputed(std::cref(block), x, c) : block(x, c);
    const auto [shift, scale] = split<2>((*modulation_)(c));
    return unpatchify((*out_)(modulated_layer_norm(x, shift, scale)), grid.side(), grid.side(),
                      grid.patch_size);
  }

 private:
  [[nodiscard]] static constexpr Initializer time_init() { return {Distribution::normal, 0.02}; }

  DiTSettings settings_;
  Parameters<T, Device> parameters_;
  PatchEmbedding<T, Device> patches_;
  NumberEmbedding<T, Device> t_, h_;
  Tensor<T, Device> positions_;  // (tokens, hidden)
  std::optional<ClassEmbedding<T, Device>> classes_;
  std::vector<DiTBlock<T, Device>> blocks_;
  std::optional<Linear<T, Device>> out_, modulation_;
};

}  // namespace meanflow
