// SPDX-License-Identifier: MIT
// Pictures or latents as batches, which of them is known at run time.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>

#include <meanflow/data/image_source.hpp>
#include <meanflow/data/latent_source.hpp>

#include "training.hpp"

namespace cifar10 {

/// A `meanflow::DataSource` of either.
class Source {
 public:
  using condition_type = meanflow::ImageCondition<float>;

  explicit Source(Run& run) : source_(make(run)), description_(run.data) {}

  [[nodiscard]] const std::string& description() const { return description_; }

  [[nodiscard]] meanflow::Shape row_shape() const {
    return std::visit([](const auto& source) { return source.row_shape(); }, source_);
  }

  void fill(meanflow::Tensor<float>& x, condition_type& condition, std::uint64_t seed,
            std::uint64_t step) {
    if (auto* images = std::get_if<meanflow::ImageSource>(&source_))
      return images->fill(x, condition, seed, step);
    meanflow::LabelCondition<float> labels;
    std::get<meanflow::LatentSource>(source_).fill(x, labels, seed, step);
    condition = {.labels = labels.labels};
  }

 private:
  using Either = std::variant<meanflow::ImageSource, meanflow::LatentSource>;

  [[nodiscard]] static Either make(Run& run) {
    const DataSettings& data = run.settings.data;
    if (run.latents)
      return meanflow::LatentSource(
          run.latents, {.scale = data.latent_scale, .flip = data.flip, .labels = data.labels});
    meanflow::ImageSourceSettings settings{.flip = data.flip, .labels = data.labels};
    if (data.augment) settings.augment.emplace();
    return meanflow::ImageSource(std::move(run.images), settings);
  }

  Either source_;
  std::string description_;
};

}  // namespace cifar10
