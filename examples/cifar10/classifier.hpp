// SPDX-License-Identifier: MIT
// A small convolutional classifier, trained here on the data set itself. Its features measure the
// samples, and its answers say whether they show the class that was asked for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <meanflow/data/image_set.hpp>
#include <meanflow/nn/conv.hpp>
#include <meanflow/nn/linear.hpp>
#include <meanflow/ops/conv.hpp>
#include <meanflow/ops/reduce.hpp>

#include "settings.hpp"

namespace cifar10 {

/// Four convolutions (B, H, W, C) to (B, H/4, W/4, 4 width), averaged to features (B, 4 width),
/// then one linear layer to scores (B, classes).
class ClassifierNet {
 public:
  ClassifierNet(const ImageFormat& format, std::size_t width, std::uint64_t seed);

  [[nodiscard]] const meanflow::Parameters<float>& parameters() const { return parameters_; }
  [[nodiscard]] std::size_t features() const { return features_; }

  template <meanflow::Differentiable X>
  [[nodiscard]] X features(const X& images) const {
    X x = images;
    for (const Layer& layer : layers_) x = layer.norm(layer.conv(x), meanflow::Silu{});
    return meanflow::mean_pixels(x);
  }

  template <meanflow::Differentiable X>
  [[nodiscard]] X scores(const X& features) const {
    return (*out_)(features);
  }

 private:
  struct Layer {
    meanflow::Conv2d<float> conv;
    meanflow::GroupNorm<float> norm;
  };

  meanflow::Parameters<float> parameters_;
  std::vector<Layer> layers_;
  std::optional<meanflow::Linear<float>> out_;
  std::size_t features_ = 0;
};

/// A trained classifier and how good it is.
struct Classifier {
  ImageFormat format;
  ClassifierSettings settings;
  ClassifierNet net;
  double test_accuracy = 0;

  /// What it is and how it was trained.
  [[nodiscard]] std::string name() const;

  /// The features (B, D) of pictures (B, H, W, C).
  [[nodiscard]] meanflow::Tensor<float> features(const meanflow::Tensor<float>& pictures) const;

  /// The class with the highest score for each row of features.
  [[nodiscard]] std::vector<std::int32_t> classes(const meanflow::Tensor<float>& features) const;
};

/// Trains a classifier on the one set, which must have classes, and measures its accuracy on the
/// other.
[[nodiscard]] Classifier train_classifier(const ClassifierSettings& settings,
                                          const meanflow::ImageSet& training,
                                          const meanflow::ImageSet& test, bool flip);

void save_classifier(const std::filesystem::path& path, const Classifier& classifier);

/// Throws meanflow::FileError if the file is not such a classifier, or was trained with
///   other settings.
[[nodiscard]] Classifier load_classifier(const std::filesystem::path& path,
                                         const ImageFormat& format,
                                         const ClassifierSettings& settings);

/// Pictures [first, last) of a set, scaled to [-1, 1].
[[nodiscard]] meanflow::Tensor<float> to_tensor(const meanflow::ImageSet& set, std::size_t first,
                                                std::size_t last);

}  // namespace cifar10
