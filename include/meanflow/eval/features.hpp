// SPDX-License-Identifier: MIT
/// \file
/// Features of images, batch by batch, by whatever computes them.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <string>

#include <meanflow/error.hpp>
#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

/// What turns images (B, H, W, C) into features (B, D): a function, or any object that is called
/// like one. D is the same at every call, and a row of features depends on that image alone.
template <class F>
concept FeatureFunction = requires(F& function, const Tensor<float>& images) {
  { function(images) } -> std::convertible_to<Tensor<float>>;
};

/// What takes features (B, D), batch by batch: `FeatureStatistics`, or a type of yours.
template <class S>
concept FeatureSink = requires(S& sink, const Tensor<float>& features) { sink.add(features); };

namespace detail {

/// Calls visit(features (B, D), first) for the images [first, first + B) of every batch in turn.
template <class F, class Visit>
void visit_features(F& function, const Tensor<float>& images, std::size_t batch, Visit visit) {
  if (batch == 0) throw SettingError("features: batch is 0, expected 1 or more.");
  for (std::size_t first = 0; first < images.rows(); first += batch) {
    const Tensor<float> part = images.rows(first, std::min(first + batch, images.rows()));
    const Tensor<float> features = function(part);
    if (features.shape().rank() != 2 || features.rows() != part.rows()) {
      throw ShapeError("features: the function returned shape " + to_string(features.shape()) +
                       " for images " + to_string(part.shape()) + ", expected (" +
                       std::to_string(part.rows()) + ", D).");
    }
    visit(features, first);
  }
}

}  // namespace detail

/// Adds the features of the images (N, H, W, C) to `sink`, computed for `batch` images at a time.
/// Images that do not fit in memory at once are added by several calls.
/// Throws ShapeError if the function returns anything but one row per image.
/// Throws SettingError if batch is 0.
template <FeatureSink S, FeatureFunction F>
void add_features(S& sink, F&& function, const Tensor<float>& images, std::size_t batch = 64) {
  detail::visit_features(function, images, batch,
                         [&](const Tensor<float>& features, std::size_t) { sink.add(features); });
}

/// The features (N, D) of the images (N, H, W, C), computed for `batch` images at a time.
/// Throws ShapeError if there are no images, or the function returns anything but one row per
///   image and the same D for every batch.
/// Throws SettingError if batch is 0.
template <FeatureFunction F>
[[nodiscard]] Tensor<float> features_of(F&& function, const Tensor<float>& images,
                                        std::size_t batch = 64) {
  if (images.size() == 0) {
    throw ShapeError("features_of: images of shape " + to_string(images.shape()) +
                     ", expected at least one image.");
  }
  Tensor<float> all;
  detail::visit_features(
      function, images, batch, [&](const Tensor<float>& features, std::size_t first) {
        if (first == 0) all = Tensor<float>({images.rows(), features.row_size()});
        if (features.row_size() != all.row_size()) {
          throw ShapeError("features_of: " + std::to_string(features.row_size()) +
                           " features for image " + std::to_string(first) + ", where those before" +
                           " have " + std::to_string(all.row_size()) + ".");
        }
        std::ranges::copy(features.span(), all.row(first));
      });
  return all;
}

}  // namespace meanflow
