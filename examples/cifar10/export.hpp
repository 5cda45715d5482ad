// SPDX-License-Identifier: MIT
// A trained net for other programs.
#pragma once

#include <cstddef>
#include <filesystem>

namespace cifar10 {

/// The arguments of `cifar10 export`.
struct ExportRequest {
  std::filesystem::path checkpoint, config;  ///< config: where weights have none
  std::filesystem::path model, onnx;         ///< what is written; empty: not that
  std::size_t nfe = 0;                       ///< steps of the ONNX sampler; 0: as configured
  int average = 0;
};

void export_net(const ExportRequest& request);

}  // namespace cifar10
