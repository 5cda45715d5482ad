// SPDX-License-Identifier: MIT
/// \file
/// CIFAR-10 (Krizhevsky, "Learning multiple layers of features from tiny images", 2009) in its
/// binary version.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <meanflow/data/image_set.hpp>
#include <meanflow/error.hpp>
#include <meanflow/io/file.hpp>

namespace meanflow {

namespace detail {

inline constexpr std::size_t cifar_side = 32, cifar_channels = 3, cifar_classes = 10;
inline constexpr std::size_t cifar_plane = cifar_side * cifar_side;
inline constexpr std::size_t cifar_record = 1 + cifar_channels * cifar_plane;  // label and planes

/// Appends the pictures of one file to `set`.
inline void append_cifar10(const std::filesystem::path& path, ImageSet& set) {
  const FileReader file(path);
  if (file.size() == 0 || file.size() % cifar_record != 0) {
    throw FileError(quoted(path) + " is not a usable CIFAR-10 file: it has " +
                    std::to_string(file.size()) + " bytes, where a multiple of " +
                    std::to_string(cifar_record) +
                    " is expected, so it is truncated or no such "
                    "file.");
  }
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(file.size()));
  file.read_at(0, std::as_writable_bytes(std::span(bytes)));
  const std::size_t count = bytes.size() / cifar_record;
  set.pixels.reserve(set.pixels.size() + count * cifar_channels * cifar_plane);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint8_t* record = bytes.data() + i * cifar_record;
    if (record[0] >= cifar_classes) {
      throw FileError(quoted(path) + " is not a usable CIFAR-10 file: picture " +
                      std::to_string(i) + " (counted from 0) has the label " +
                      std::to_string(record[0]) + ", where 0 to 9 is expected.");
    }
    set.labels.push_back(record[0]);
    for (std::size_t place = 0; place < cifar_plane; ++place) {
      for (std::size_t c = 0; c < cifar_channels; ++c) {
        set.pixels.push_back(record[1 + c * cifar_plane + place]);
      }
    }
  }
  set.count += count;
}

}  // namespace detail

/// Reads CIFAR-10 from the folder of its binary version: data_batch_1.bin to data_batch_5.bin for
/// training, else test_batch.bin. A file may hold any number of pictures, at least one (the
/// published ones hold 10,000).
/// \return pictures (N, 32, 32, 3) with labels 0 to 9
/// Throws FileError if a file is missing, its size is not a multiple of 3073 bytes, or a label is
///   above 9.
[[nodiscard]] inline ImageSet load_cifar10(const std::filesystem::path& folder, bool train = true) {
  ImageSet set{.height = detail::cifar_side,
               .width = detail::cifar_side,
               .channels = detail::cifar_channels,
               .pixels = {},
               .labels = {},
               .classes = detail::cifar_classes};
  if (!train) {
    detail::append_cifar10(folder / "test_batch.bin", set);
    return set;
  }
  const int batches = 5;
  for (int i = 1; i <= batches; ++i) {
    detail::append_cifar10(folder / ("data_batch_" + std::to_string(i) + ".bin"), set);
  }
  return set;
}

}  // namespace meanflow
