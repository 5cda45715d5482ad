// SPDX-License-Identifier: MIT
// What a configuration or a checkpoint amounts to: parameters, work, memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "settings.hpp"

namespace cifar10 {

/// The multiply-adds of products, convolutions and attention for one picture through a net,
/// forward. Sends one through the net on a device that counts products and does not compute them.
[[nodiscard]] std::uint64_t multiply_adds(const Settings& settings, const ImageFormat& format);

/// The arguments of `cifar10 info`: a configuration or a checkpoint.
struct InfoRequest {
  std::filesystem::path config, checkpoint, data;
  std::vector<std::string> changes;
};

void print_information(const InfoRequest& request);

}  // namespace cifar10
