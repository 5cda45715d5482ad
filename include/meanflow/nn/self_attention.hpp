// SPDX-License-Identifier: MIT
/// \file
/// Self-attention among the pixels of an image.
#pragma once

#include <cmath>
#include <string>

#include <meanflow/nn/conv.hpp>
#include <meanflow/ops/attention.hpp>
#include <meanflow/ops/reshape.hpp>
#include <meanflow/ops/residual.hpp>

namespace meanflow {

struct SelfAttentionSettings {
  std::size_t heads = 1;
  double epsilon = 1e-5;  ///< of the normalisation
  double scale = 1;       ///< of the sum
  Initializer qkv_init{};
  Initializer projection_init{Distribution::zeros};  ///< so that it begins as the identity
  Initializer bias_init{Distribution::zeros};
};

/// y = (x + proj(attention(q, k, v))) scale, [q, k, v] = qkv(norm(x)), heads over all pixels of an
/// image (B, H, W, C). Parameters NORM.weight, NORM.bias, PREFIX.qkv.weight (3 C, C, 1, 1) and so
/// on.
template <class T = float, class Device = Cpu>
class SelfAttention {
 public:
  /// `name` is the prefix of qkv and proj, `norm` the name of the normalisation.
  SelfAttention(Parameters<T, Device>& parameters, const std::string& name, const std::string& norm,
                std::size_t channels, const SelfAttentionSettings& settings = {})
      : heads_(settings.heads),
        scale_(settings.scale),
        norm_(parameters, norm, channels, settings.epsilon),
        qkv_(parameters, name + ".qkv", channels, 3 * channels,
             {.kernel = 1, .weight_init = settings.qkv_init, .bias_init = settings.bias_init}),
        projection_(parameters, name + ".proj", channels, channels,
                    {.kernel = 1,
                     .weight_init = settings.projection_init,
                     .bias_init = settings.bias_init}) {}

  template <Differentiable X>
  [[nodiscard]] X operator()(const X& x) const {
    const Shape image = x.shape();  // (B, H, W, C)
    const X qkv = reshape(qkv_(norm_(x)), {image[0], image[1] * image[2], 3 * image[3]});
    const X a = self_attention(qkv, {.heads = heads_});  // (B, H W, C)
    return scaled_sum(projection_.without_bias(reshape(a, image)), x, scale_, projection_.bias);
  }

 private:
  std::size_t heads_;
  double scale_;
  GroupNorm<T, Device> norm_;
  Conv2d<T, Device> qkv_, projection_;
};

}  // namespace meanflow
