// SPDX-License-Identifier: MIT
/// \file
/// Training batches of latents, drawn anew from what the encoder says of an image.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <meanflow/data/epoch_order.hpp>
#include <meanflow/data/latent_set.hpp>
#include <meanflow/error.hpp>
#include <meanflow/kernels/cpu.hpp>
#include <meanflow/nn/condition.hpp>
#include <meanflow/random/philox.hpp>
#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

struct LatentSourceSettings {
  double scale = 0.18215;  ///< makes latents of Stable Diffusion's autoencoder unit variance
  bool flip = true;        ///< the mirrored image's latents in half of the rows, if there are any
  bool labels = true;      ///< pass on the set's labels, if it has any
};

/// Latents (mean + deviation n) scale, n ~ N(0, 1), each image once per epoch in a random order.
/// A row depends on the seed and its place in all epochs alone, as with `ImageSource`.
///
/// Keeps the order of the current epoch: use an object from one thread at a time. Copies share the
/// files.
class LatentSource {
 public:
  using Settings = LatentSourceSettings;
  using condition_type = LabelCondition<float>;

  /// Throws FileError if the latents are not of about unit variance once they are scaled.
  explicit LatentSource(std::shared_ptr<const LatentSet> latents, const Settings& settings = {})
      : latents_(std::move(latents)), settings_(settings) {
    if (!latents_ || latents_->count == 0) throw SettingError("LatentSource: there are no latents");
    check_scale();
  }
  explicit LatentSource(LatentSet latents, const Settings& settings = {})
      : LatentSource(std::make_shared<const LatentSet>(std::move(latents)), settings) {}

  [[nodiscard]] const LatentSet& latents() const { return *latents_; }

  /// (H, W, C).
  [[nodiscard]] Shape row_shape() const {
    return {latents_->height, latents_->width, latents_->channels};
  }

  /// Writes the latents of a batch, and what the net is told about them: labels (B), if the set has
  /// any and the settings want them. Throws ShapeError if x is not (B, H, W, C).
  void fill(Tensor<float>& x, LabelCondition<float>& condition, std::uint64_t seed,
            std::uint64_t number) {
    const std::size_t rows = x.rows(), size = latents_->latent_size();
    const Shape expected{rows, latents_->height, latents_->width, latents_->channels};
    if (!(x.shape() == expected))
      throw_shape_error("LatentSource::fill", x.shape(), expected, "the batch before the latents");
    const auto& chosen = order_.choose(rows, latents_->count, seed, number);
    condition.labels = {};
    if (settings_.labels && latents_->classes > 0) {
      condition.labels = Tensor<std::int32_t>({rows});
      for (std::size_t i = 0; i < rows; ++i) condition.labels[i] = latents_->label(chosen[i]);
    }
    parallel_for(Cpu{}, rows, 4, [&](std::size_t first, std::size_t last) {
      std::vector<float> deviation(size);
      for (std::size_t row = first; row < last; ++row) {
        RandomStream random(seed, Purpose::augmentation, 0, number * rows + row);
        const bool flip = random.below(2) == 1 && settings_.flip && latents_->flipped;
        const std::span<float> out(x.row(row), size);
        latents_->read(chosen[row], flip, out, deviation);
        for (std::size_t k = 0; k < size; ++k)
          out[k] = static_cast<float>(settings_.scale) *
                   (out[k] + deviation[k] * random.normal<float>());
      }
    });
  }

 private:
  /// A scale that was left out, or applied twice, is the most frequent mistake with latents.
  void check_scale() const {
    const std::size_t size = latents_->latent_size();
    const std::size_t looked_at = std::min<std::size_t>(latents_->count, 64);
    std::vector<float> mean(size), deviation(size);
    double square = 0;
    for (std::size_t i = 0; i < looked_at; ++i) {
      latents_->read(i * latents_->count / looked_at, false, mean, deviation);
      for (std::size_t k = 0; k < size; ++k)
        square += static_cast<double>(mean[k]) * static_cast<double>(mean[k]) +
                  static_cast<double>(deviation[k]) * static_cast<double>(deviation[k]);
    }
    const double found =
        settings_.scale * std::sqrt(square / static_cast<double>(looked_at * size));
    if (!(found > 0.25 && found < 4))
      throw FileError("latents times the scale " + std::to_string(settings_.scale) +
                      " have a root mean square of " + std::to_string(found) +
                      ", but it should be about 1: choose the scale of your autoencoder, or 1 if "
                      "the files hold scaled latents");
  }

  std::shared_ptr<const LatentSet> latents_;
  Settings settings_;
  detail::EpochOrder order_;
};

}  // namespace meanflow
