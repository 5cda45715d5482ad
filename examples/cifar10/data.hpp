// SPDX-License-Identifier: MIT
// Pictures to learn from and to compare with.
#pragma once

#include <filesystem>
#include <string>

#include <meanflow/data/image_set.hpp>
#include <meanflow/data/latent_set.hpp>

#include "settings.hpp"

namespace cifar10 {

struct Pictures {
  meanflow::ImageSet training, test;
};

/// Reads a data set from its folder. MNIST's pictures of 28 x 28 get a black border of 2 pixels, so
/// that U-Nets can halve them; every tenth of a user's own pictures is kept for testing.
/// Throws meanflow::FileError, naming the file, if one is missing or unusable.
[[nodiscard]] Pictures load_pictures(const DataSettings& settings,
                                     const std::filesystem::path& folder);

[[nodiscard]] ImageFormat format_of(const meanflow::ImageSet& images);

[[nodiscard]] ImageFormat format_of(const meanflow::LatentSet& latents);

/// The format of a data set that is always the same.
/// Throws meanflow::SettingError for a user's own pictures, which must be inspected.
[[nodiscard]] ImageFormat known_format(const DataSettings& settings);

/// A short text that differs where pictures or their classes do.
[[nodiscard]] std::string fingerprint(const meanflow::ImageSet& images);

/// The same of latents: of all labels, and of some latents, since files may be large.
[[nodiscard]] std::string fingerprint(const meanflow::LatentSet& latents);

}  // namespace cifar10
