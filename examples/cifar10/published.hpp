// SPDX-License-Identifier: MIT
// How far samples are from real pictures as papers measure it: by the features of the Inception
// network.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

#include <nlohmann/json.hpp>

#include <meanflow/data/image_set.hpp>
#include <meanflow/eval/frechet.hpp>
#include <meanflow/eval/inception.hpp>
#include <meanflow/train/any_communicator.hpp>

#include "model.hpp"
#include "sampling.hpp"

namespace cifar10 {

/// What samples are compared with: statistics of pictures, and some of their features, which the
/// kernel distance, precision and recall need and files of other programs do not have.
struct Reference {
  meanflow::FeatureStatistics statistics;
  meanflow::Tensor<float> some{};  // (up to 10,000, 2048), or empty

  /// What it was made of: the pictures, and the network's weights; empty if the file does not say.
  std::string pictures{}, network{};

  /// Reads what `save` wrote. Throws meanflow::FileError if it is unusable.
  [[nodiscard]] static Reference load(const std::filesystem::path& path);
  void save(const std::filesystem::path& path) const;
};

/// Measures samples by the Inception network; processes share the work.
class Published {
 public:
  /// Reads the network's weights, and the reference if that file exists; else computes it from all
  /// pictures of the set and writes it.
  Published(const meanflow::AnyCommunicator& processes, const std::filesystem::path& weights,
            const std::filesystem::path& reference, const meanflow::ImageSet& pictures);

  /// The measures of `count` samples of the model; of the root alone, others get null.
  [[nodiscard]] nlohmann::json measure(const Model& model, std::size_t count,
                                       const Sampling& sampling) const;

  [[nodiscard]] std::uint64_t reference_count() const { return reference_.statistics.count(); }

 private:
  const meanflow::AnyCommunicator& processes_;
  meanflow::Inception inception_;
  Reference reference_;
};

/// One line of a table of such measures, and its head.
void print_published_head();
void print_published(const std::string& name, const nlohmann::json& measures);

}  // namespace cifar10
