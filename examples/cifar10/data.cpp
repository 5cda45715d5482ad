// SPDX-License-Identifier: MIT
#include "data.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>
#include <span>
#include <vector>

#include <zlib.h>

#include <meanflow/data/cifar10.hpp>
#include <meanflow/data/image_array.hpp>
#include <meanflow/data/image_folder.hpp>
#include <meanflow/data/mnist.hpp>
#include <meanflow/error.hpp>

namespace cifar10 {

namespace {

using meanflow::ImageSet;

/// The pictures in the middle of black ones of `side` x `side`.
[[nodiscard]] ImageSet padded(const ImageSet& set, std::size_t side) {
  ImageSet result = set;
  result.height = result.width = side;
  result.pixels.assign(set.count * side * side * set.channels, 0);
  const std::size_t top = (side - set.height) / 2, left = (side - set.width) / 2;
  const std::size_t line = set.width * set.channels;
  for (std::size_t i = 0; i < set.count; ++i)
    for (std::size_t y = 0; y < set.height; ++y)
      std::copy_n(
          &set.pixels[i * set.image_size() + y * line], line,
          &result.pixels[i * result.image_size() + ((top + y) * side + left) * set.channels]);
  return result;
}

[[nodiscard]] ImageSet mnist(const std::filesystem::path& folder, bool train) {
  ImageSet set = meanflow::load_mnist(folder, train);
  return set.height <= 32 && set.width <= 32 ? padded(set, 32) : set;
}

/// The pictures for which `wanted(index)`.
template <class Wanted>
[[nodiscard]] ImageSet selected(const ImageSet& set, Wanted wanted) {
  ImageSet result = set;
  result.count = 0;
  result.pixels.clear();
  result.labels.clear();
  for (std::size_t i = 0; i < set.count; ++i) {
    if (!wanted(i)) continue;
    const auto image = set.image(i);
    result.pixels.insert(result.pixels.end(), image.begin(), image.end());
    if (!set.labels.empty()) result.labels.push_back(set.labels[i]);
    ++result.count;
  }
  return result;
}

/// Every tenth picture is for tests.
[[nodiscard]] Pictures split(const ImageSet& all) {
  return {selected(all, [](std::size_t i) { return i % 10 != 9; }),
          selected(all, [](std::size_t i) { return i % 10 == 9; })};
}

[[nodiscard]] Pictures load_all(DataKind kind, const std::filesystem::path& folder) {
  switch (kind) {
    case DataKind::cifar10:
      return {meanflow::load_cifar10(folder), meanflow::load_cifar10(folder, /*train=*/false)};
    case DataKind::mnist:
      return {mnist(folder, true), mnist(folder, false)};
    case DataKind::folder:
      return split(meanflow::load_image_folder(folder));
    case DataKind::latents:
      throw meanflow::SettingError(
          "data.kind is latents, which are no pictures: decode samples, and measure those");
    case DataKind::array:
      break;
  }
  const std::filesystem::path labels = folder / "labels.npy";
  return split(meanflow::load_image_array(folder / "images.npy", std::filesystem::exists(labels)
                                                                     ? std::optional(labels)
                                                                     : std::nullopt));
}

}  // namespace

Pictures load_pictures(const DataSettings& settings, const std::filesystem::path& folder) {
  Pictures pictures = load_all(settings.kind, folder);
  const auto wanted = static_cast<std::size_t>(
      std::llround(settings.fraction * static_cast<double>(pictures.training.count)));
  const std::size_t count = std::max<std::size_t>(1, wanted);
  // Spread over the whole set: a folder's pictures come class by class.
  const std::size_t all = pictures.training.count;
  if (count < all)
    pictures.training = selected(
        pictures.training, [&](std::size_t i) { return (i + 1) * count / all > i * count / all; });
  return pictures;
}

ImageFormat format_of(const ImageSet& images) {
  return {images.height, images.width, images.channels, images.classes};
}

ImageFormat format_of(const meanflow::LatentSet& latents) {
  return {latents.height, latents.width, latents.channels, latents.classes};
}

namespace {

template <class Values>
[[nodiscard]] uLong checksum(uLong sum, const Values& values) {
  const auto bytes = std::as_bytes(std::span(values));
  if (bytes.empty()) return sum;  // or zlib would start over
  return crc32_z(sum, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
}

[[nodiscard]] std::string fingerprint_text(std::size_t count, const char* what, uLong sum) {
  char text[64];
  std::snprintf(text, sizeof text, "%zu %s, checksum %08lx", count, what, sum);
  return text;
}

}  // namespace

std::string fingerprint(const ImageSet& images) {
  const uLong sum = checksum(checksum(crc32_z(0, nullptr, 0), images.pixels), images.labels);
  return fingerprint_text(images.count, "pictures", sum);
}

std::string fingerprint(const meanflow::LatentSet& latents) {
  uLong sum = crc32_z(0, nullptr, 0);
  for (const auto& shard : latents.shards) sum = checksum(sum, shard.labels);
  std::vector<float> mean(latents.latent_size()), deviation(latents.latent_size());
  const std::size_t looked_at = std::min<std::size_t>(latents.count, 64);
  for (std::size_t i = 0; i < looked_at; ++i) {
    latents.read(i * latents.count / looked_at, false, mean, deviation);
    sum = checksum(checksum(sum, mean), deviation);
  }
  return fingerprint_text(latents.count, "latents", sum);
}

ImageFormat known_format(const DataSettings& settings) {
  if (settings.kind == DataKind::latents)
    return {.height = 32, .width = 32, .channels = 4, .classes = 1000};  // of ImageNet 256
  if (settings.kind == DataKind::folder || settings.kind == DataKind::array)
    throw meanflow::SettingError(
        "data.kind is folder or array, so the size of the pictures must be read: give --data");
  return {.channels = settings.kind == DataKind::mnist ? std::size_t(1) : std::size_t(3)};
}

}  // namespace cifar10
