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

/// What a classifier tells apart: the classes of the pictures, or, of pictures without classes, by
/// how many quarter turns they were turned (Gidaris et al. 2018, arXiv 1803.07728).
enum class ClassifierTask { classes, turns };

/// A trained classifier and how good it is.
struct Classifier {
  ImageFormat format;  ///< of the pictures
  ClassifierSettings settings;
  ClassifierNet net;
  double test_accuracy = 0;
  double chance = 0;  ///< accuracy of answering the most frequent class of the test pictures

  [[nodiscard]] ClassifierTask task() const {
    return format.classes > 0 ? ClassifierTask::classes : ClassifierTask::turns;
  }

  /// What it is and how it was trained.
  [[nodiscard]] std::string name() const;

  /// The features (B, D) of pictures (B, H, W, C).
  [[nodiscard]] meanflow::Tensor<float> features(const meanflow::Tensor<float>& pictures) const;

  /// The class with the highest score for each row of features.
  [[nodiscard]] std::vector<std::int32_t> classes(const meanflow::Tensor<float>& features) const;
};

/// Every picture turned by 0, 90, 180 and 270 degrees, or by 0 and 180 if it is not square, with
/// the turn for its class.
[[nodiscard]] meanflow::ImageSet turned(const meanflow::ImageSet& set);

/// Trains a classifier on the one set and measures its accuracy on the other. `flip` mirrors half
/// of the pictures, unless it learns turns, which mirroring would confuse.
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
