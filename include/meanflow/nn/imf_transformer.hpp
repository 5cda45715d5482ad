// SPDX-License-Identifier: MIT
/// \file
/// ImfTransformer: the net of improved Mean Flows (arXiv 2512.02012), whose condition enters as
/// tokens in front of the image, with a head for the average velocity u and one for the velocity v.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <meanflow/autodiff/recomputed.hpp>
#include <meanflow/nn/class_embedding.hpp>
#include <meanflow/nn/condition.hpp>
#include <meanflow/nn/imf_net.hpp>
#include <meanflow/nn/position.hpp>
#include <meanflow/nn/token_layers.hpp>
#include <meanflow/ops/attention.hpp>
#include <meanflow/ops/broadcast.hpp>
#include <meanflow/ops/concat.hpp>
#include <meanflow/ops/elementwise.hpp>
#include <meanflow/ops/gate.hpp>

namespace meanflow {

/// The defaults are iMF-B/2 on latents of 32 x 32 x 4.
struct ImfTransformerSettings {
  std::size_t input_size = 32;  ///< height and width
  std::size_t patch_size = 2;
  std::size_t in_channels = 4;
  std::size_t hidden_size = 768;
  std::size_t depth = 12;      ///< blocks from input to output, those of a head among them
  std::size_t head_depth = 8;  ///< blocks of each head
  std::size_t heads = 12;      ///< of attention
  double mlp_ratio = 8.0 / 3;  ///< width of the hidden layer of a block, of hidden_size
  std::size_t classes = 1000;  ///< the null class is one more
  std::size_t class_tokens = 8, omega_tokens = 4, interval_tokens = 2, time_tokens = 4;
  /// Multiplies 1 - 1 / omega, t_min and t_max before they are embedded, as
  /// `DiTSettings::time_scale` does times. 1 as published, where all of [0, 1] looks nearly the
  /// same to sinusoids, so that a small net in a short training run learns one guidance for all
  /// scales; 20 tells them apart (docs/transformers.md).
  double guidance_frequency = 1;
  bool v_head = true;      ///< which training needs, and sampling does not
  bool recompute = false;  ///< computes blocks again in the backward pass instead of keeping them
  std::uint64_t seed = 0;

  static constexpr void fields(auto f, auto&... s) {
    f("input_size", s.input_size...);
    f("patch_size", s.patch_size...);
    f("in_channels", s.in_channels...);
    f("hidden_size", s.hidden_size...);
    f("depth", s.depth...);
    f("head_depth", s.head_depth...);
    f("heads", s.heads...);
    f("mlp_ratio", s.mlp_ratio...);
    f("classes", s.classes...);
    f("class_tokens", s.class_tokens...);
    f("omega_tokens", s.omega_tokens...);
    f("interval_tokens", s.interval_tokens...);
    f("time_tokens", s.time_tokens...);
    f("guidance_frequency", s.guidance_frequency...);
    f("v_head", s.v_head...);
    f("recompute", s.recompute...);
    f("seed", s.seed...);
  }

  [[nodiscard]] PatchGrid grid() const { return {input_size, patch_size, in_channels}; }
  /// The tokens in front of the image.
  [[nodiscard]] std::size_t prefix() const {
    return class_tokens + omega_tokens + 2 * interval_tokens + time_tokens;
  }
  [[nodiscard]] std::size_t tokens() const { return prefix() + grid().tokens(); }

  /// Throws SettingError if no net can be built from these.
  void check() const {
    grid().check("ImfTransformer");
    detail::check_factor("ImfTransformer", "mlp_ratio", mlp_ratio);
    detail::check_positive("ImfTransformer", {{"hidden_size", hidden_size},
                                              {"depth", depth},
                                              {"classes", classes},
                                              {"class_tokens", class_tokens},
                                              {"omega_tokens", omega_tokens},
                                              {"interval_tokens", interval_tokens},
                                              {"time_tokens", time_tokens},
                                              {"mlp_ratio times hidden_size",
                                               detail::inner_width(hidden_size, mlp_ratio)}});
    detail::check_heads("ImfTransformer", hidden_size, heads, 2);
    detail::check_factor("ImfTransformer", "guidance_frequency", guidance_frequency);
    if (head_depth > depth)
      throw SettingError("ImfTransformer: head_depth is " + std::to_string(head_depth) +
                         ", but must be at most depth, which is " + std::to_string(depth));
  }
};

/// The published sizes: 12 x 768, 24 x 768, 32 x 1024 and 48 x 1024.
enum class ImfSize { B, M, L, XL };

/// The settings of a published size.
[[nodiscard]] inline ImfTransformerSettings imf_settings(ImfSize size) {
  const auto of = [](std::size_t depth, std::size_t hidden, std::size_t heads) {
    ImfTransformerSettings s;
    s.depth = depth;
    s.hidden_size = hidden;
    s.heads = heads;
    return s;
  };
  switch (size) {
    case ImfSize::M:
      return of(24, 768, 12);
    case ImfSize::L:
      return of(32, 1024, 16);
    case ImfSize::XL:
      return of(48, 1024, 16);
    case ImfSize::B:
      break;
  }
  return of(12, 768, 12);
}

/// A block, with RMS norms, rotary positions of queries and keys, and gates that begin at zero:
///   x' = x + g_1 out(attention(rope(norm(q)), rope(norm(k)), v)), q, k, v linear in norm_1(x),
///   x'' = x' + g_2 w2(silu(w1(y)) w3(y)), y = norm_2(x').
template <class T = float, class Device = Cpu>
class ImfBlock {
 public:
  ImfBlock(Parameters<T, Device>& parameters, const std::string& name,
           const ImfTransformerSettings& s, RopeAngles<T, Device> angles)
      : heads_(s.heads),
        angles_(std::move(angles)),
        norm1_(parameters, name + ".norm1", s.hidden_size),
        q_(parameters, name + ".attn.q_proj", s.hidden_size, s.hidden_size, scaled()),
        k_(parameters, name + ".attn.k_proj", s.hidden_size, s.hidden_size, scaled()),
        v_(parameters, name + ".attn.v_proj", s.hidden_size, s.hidden_size, scaled()),
        out_(parameters, name + ".attn.out_proj", s.hidden_size, s.hidden_size, scaled()),
        q_norm_(parameters, name + ".attn.q_norm", s.hidden_size / s.heads),
        k_norm_(parameters, name + ".attn.k_norm", s.hidden_size / s.heads),
        norm2_(parameters, name + ".norm2", s.hidden_size),
        w1_(parameters, name + ".mlp.w1", s.hidden_size, inner(s), scaled()),
        w2_(parameters, name + ".mlp.w2", inner(s), s.hidden_size, scaled()),
        w3_(parameters, name + ".mlp.w3", s.hidden_size, inner(s), scaled()),
        attention_gate_(parameters.add(name + ".attn_scale", {s.hidden_size})),
        mlp_gate_(parameters.add(name + ".mlp_scale", {s.hidden_size})) {}

  /// x (B, tokens, hidden)
  template <Differentiable X>
  [[nodiscard]] X operator()(const X& x) const {
    const X n = norm1_(x);
    const X a = attention(placed(q_(n), q_norm_), placed(k_(n), k_norm_), v_(n), {.heads = heads_});
    const X y = add_gated(x, attention_gate_, out_(a));
    const X m = norm2_(y);
    return add_gated(y, mlp_gate_, w2_(swiglu(w1_(m), w3_(m))));
  }

 private:
  [[nodiscard]] static LinearSettings scaled() {
    return {.bias = false, .weight_init = {Distribution::kaiming_normal, 0.32}};
  }
  [[nodiscard]] static std::size_t inner(const ImfTransformerSettings& s) {
    return detail::inner_width(s.hidden_size, s.mlp_ratio);
  }

  /// Each head normalised, and rotated by its token's position.
  template <class X>
  [[nodiscard]] X placed(const X& x, const RmsNorm<T, Device>& norm) const {
    const Shape s = x.shape();
    const X heads = norm(reshape(x, {s[0], s[1], heads_, s[2] / heads_}));
    return rope(reshape(heads, s), angles_, heads_);
  }

  std::size_t heads_;
  RopeAngles<T, Device> angles_;
  RmsNorm<T, Device> norm1_;
  Linear<T, Device> q_, k_, v_, out_;
  RmsNorm<T, Device> q_norm_, k_norm_, norm2_;
  Linear<T, Device> w1_, w2_, w3_;
  Parameter<T, Device> attention_gate_, mlp_gate_;
};

/// u(z, r, t | class, omega, t_min, t_max) of images or latents z (B, input_size, input_size,
/// in_channels): the net knows h = t - r alone, and the guidance that it was asked for, a scale
/// omega within [t_min, t_max]. Without labels every row has the null class, without a scale it is
/// 1, and without an interval [0, 1].
template <class T = float, class Device = Cpu>
class ImfTransformer {
 public:
  using value_type = T;
  using device_type = Device;
  using condition_type = GuidanceCondition<T, Device>;

  explicit ImfTransformer(const ImfTransformerSettings& settings = {})
      : settings_((settings.check(), settings)),
        parameters_(settings.seed),
        patches_(parameters_, "x_embedder", settings.grid(), settings.hidden_size),
        h_(parameters_, "h_embedder", settings.hidden_size, number_init()),
        omega_(parameters_, "omega_embedder", settings.hidden_size, number_init(),
               settings.guidance_frequency),
        t_min_(parameters_, "cfg_t_start_embedder", settings.hidden_size, number_init(),
               settings.guidance_frequency),
        t_max_(parameters_, "cfg_t_end_embedder", settings.hidden_size, number_init(),
               settings.guidance_frequency),
        classes_(parameters_, "y_embedder.embedding_table.weight", settings.classes,
                 settings.hidden_size, deviation()),
        class_tokens_(tokens("class_tokens", settings.class_tokens)),
        time_tokens_(tokens("time_tokens", settings.time_tokens)),
        omega_tokens_(tokens("omega_tokens", settings.omega_tokens)),
        t_min_tokens_(tokens("t_min_tokens", settings.interval_tokens)),
        t_max_tokens_(tokens("t_max_tokens", settings.interval_tokens)) {
    const auto angles =
        rope_angles<T, Device>(settings.tokens(), settings.hidden_size / settings.heads);
    const auto build = [&](auto& blocks, const std::string& name, std::size_t count) {
      for (std::size_t i = 0; i < count; ++i)
        blocks.emplace_back(parameters_, name + "." + std::to_string(i), settings_, angles);
    };
    build(shared_, "shared_blocks", settings.depth - settings.head_depth);
    build(u_.blocks, "u_heads", settings.head_depth);
    finish(u_, "u_final_layer");
    if (!settings.v_head) return;
    build(v_.blocks, "v_heads", settings.head_depth);
    finish(v_, "v_final_layer");
  }

  [[nodiscard]] const ImfTransformerSettings& settings() const { return settings_; }
  [[nodiscard]] const Parameters<T, Device>& parameters() const { return parameters_; }
  /// The label of rows without a class.
  [[nodiscard]] std::int32_t null_class() const { return classes_.null_class(); }

  template <Differentiable X>
  [[nodiscard]] X operator()(const X& z, const X& r, const X& t,
                             const condition_type& given) const {
    return head(u_, trunk(z, t - r, given));
  }

  /// u and v at once; the blocks before the heads are computed for both.
  /// Throws SettingError if the net has no v head.
  template <Differentiable X>
  [[nodiscard]] auto heads(const X& z, const X& r, const X& t, const condition_type& given) const {
    check_v_head();
    const X x = trunk(z, t - r, given);
    auto v = head(v_, without_tangent(x));
    return ImfHeads<X, decltype(v)>{head(u_, x), std::move(v)};
  }

  /// The v head alone, at r = t. Throws SettingError if the net has none.
  template <Differentiable X>
  [[nodiscard]] X velocity(const X& z, const X& t, const condition_type& given) const {
    check_v_head();
    return head(v_, trunk(z, t - t, given));
  }

 private:
  struct Head {
    std::vector<ImfBlock<T, Device>> blocks;
    std::optional<RmsNorm<T, Device>> norm;
    std::optional<Linear<T, Device>> out;
  };

  [[nodiscard]] static constexpr Initializer number_init() {
    return {Distribution::kaiming_normal, 1};
  }
  [[nodiscard]] double deviation() const {
    return 1 / std::sqrt(static_cast<double>(settings_.hidden_size));
  }
  [[nodiscard]] Parameter<T, Device> tokens(const std::string& name, std::size_t count) {
    const auto parameter = parameters_.add(name, {count, settings_.hidden_size});
    initialize(parameter, {Distribution::normal, deviation()});
    return parameter;
  }
  void finish(Head& head, const std::string& name) {
    head.norm.emplace(parameters_, name + ".norm", settings_.hidden_size);
    head.out.emplace(
        parameters_, name + ".linear", settings_.hidden_size, settings_.grid().patch(),
        LinearSettings{.weight_init = {Distribution::zeros}, .bias_init = {Distribution::zeros}});
  }
  void check_v_head() const {
    if (!settings_.v_head)
      throw SettingError(
          "ImfTransformer: the net was built without its v head, which training needs");
  }

  /// Learnt tokens (n, hidden), each added to what is known of a row, (B, hidden); (B, n hidden).
  template <class X>
  [[nodiscard]] X told(const Parameter<T, Device>& tokens, const X& known) const {
    const std::size_t rows = known.rows(), width = settings_.hidden_size;
    const std::size_t count = tokens.shape()[0];
    const X all = reshape(broadcast_rows(tokens, known), {rows, count, width});
    return reshape(all + reshape(known, {rows, 1, width}), {rows, count * width});
  }

  /// A number of the condition, (B, 1), or the one that stands for it.
  template <class X>
  [[nodiscard]] X number(const Tensor<T, Device>& given, T otherwise, const X& like) const {
    const Shape column{like.rows(), 1};
    return constant_like(
        like, given.empty() ? Tensor<T, Device>::full(column, otherwise) : given.reshaped(column));
  }

  template <class X>
  [[nodiscard]] X trunk(const X& z, const X& h, const condition_type& given) const {
    settings_.grid().check_images("ImfTransformer", z.shape());
    const std::size_t rows = z.rows(), width = settings_.hidden_size;
    // omega enters as 1 - 1 / omega, so that scales from 1 on lie in [0, 1).
    const X inverse_scale =
        constant_like(h, Tensor<T, Device>::full({rows, 1}, 1)) / number(given.omega, T(1), h);
    const X image = reshape(patches_(z), {rows, settings_.grid().tokens() * width});
    const X all = concat(told(class_tokens_, classes_(given.labels, h)),
                         told(omega_tokens_, omega_(T(1) - inverse_scale)),
                         told(t_min_tokens_, t_min_(number(given.t_min, T(0), h))),
                         told(t_max_tokens_, t_max_(number(given.t_max, T(1), h))),
                         told(time_tokens_, h_(h)), image);
    return through(shared_, reshape(all, {rows, settings_.tokens(), width}));
  }

  template <class X>
  [[nodiscard]] X through(const std::vector<ImfBlock<T, Device>>& blocks, X x) const {
    for (const auto& block : blocks)
      x = settings_.recompute ? recomputed(std::cref(block), x) : block(x);
    return x;
  }

  template <class X>
  [[nodiscard]] X head(const Head& head, const X& trunk) const {
    const PatchGrid grid = settings_.grid();
    const std::size_t rows = trunk.rows(), width = settings_.hidden_size;
    const X x = reshape(through(head.blocks, trunk), {rows, settings_.tokens() * width});
    const X image = slice_last(x, settings_.prefix() * width, settings_.tokens() * width);
    return unpatchify((*head.out)((*head.norm)(reshape(image, {rows, grid.tokens(), width}))),
                      grid.side(), grid.side(), grid.patch_size);
  }

  ImfTransformerSettings settings_;
  Parameters<T, Device> parameters_;
  PatchEmbedding<T, Device> patches_;
  NumberEmbedding<T, Device> h_, omega_, t_min_, t_max_;
  ClassEmbedding<T, Device> classes_;
  Parameter<T, Device> class_tokens_, time_tokens_, omega_tokens_, t_min_tokens_, t_max_tokens_;
  std::vector<ImfBlock<T, Device>> shared_;
  Head u_, v_;
};

}  // namespace meanflow
