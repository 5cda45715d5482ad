// SPDX-License-Identifier: MIT
// How far samples are from real pictures, by the features of a small classifier, or as published by
// those of the Inception network.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <meanflow/flow/sampler.hpp>
#include <meanflow/train/any_communicator.hpp>

#include "settings.hpp"

namespace cifar10 {

/// The arguments of `cifar10 evaluate`.
struct EvaluateRequest {
  std::filesystem::path checkpoint, config, data, out;  ///< config: where weights have none
  std::filesystem::path classifier;  ///< read if it exists, else trained and written; empty: the
                                     ///< training run's own
  std::filesystem::path inception;   ///< weights of the Inception network; empty: by a classifier
  std::filesystem::path reference;   ///< its statistics of the training set, read if it exists,
                                     ///< else written; empty: beside the classifier
  std::size_t count = 0;             ///< 0: as configured
  std::vector<std::size_t> nfe;      ///< empty: as configured
  std::optional<std::uint64_t> seed;
  std::optional<double> guidance, omega;
  std::optional<std::pair<double, double>> interval;  ///< of omega
  std::optional<meanflow::Solver> solver;
  std::vector<std::string> changes;  ///< of the sections evaluate and classifier
  std::size_t batch = 64;
  int average = 0;
  Where where{};                          ///< of sampling; features are computed on the processor
  meanflow::AnyCommunicator processes{};  ///< that share the pictures; the root writes
};

void evaluate(const EvaluateRequest& request);

}  // namespace cifar10
