// SPDX-License-Identifier: MIT
/// \file
/// Cached latents: what an autoencoder's encoder says of each image, a mean and a deviation, in
/// files that may be larger than memory.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <meanflow/error.hpp>
#include <meanflow/io/array_file.hpp>
#include <meanflow/io/npy.hpp>
#include <meanflow/io/safetensors.hpp>

namespace meanflow {

/// The latents of some images: arrays (N, H, W, C) or (N, C, H, W), H = W, of means and deviations,
/// and those of the mirrored images if there are any. An array (N, 4, 32, 32) has its channels
/// first.
struct LatentShard {
  ArrayFile mean, deviation;
  std::optional<ArrayFile> flipped_mean{}, flipped_deviation{};
  std::vector<std::int32_t> labels{};  ///< one for each image, or none
  bool channels_first = false;

  [[nodiscard]] std::size_t count() const { return mean.shape()[0]; }
};

/// Latents in any number of files, one after the other.
struct LatentSet {
  std::vector<LatentShard> shards;
  std::size_t count = 0, height = 0, width = 0, channels = 0;
  std::size_t classes = 0;  ///< the highest label plus 1; 0 without labels
  bool flipped = false;     ///< whether every shard has the latents of mirrored images

  [[nodiscard]] std::size_t latent_size() const { return height * width * channels; }

  /// Mean and deviation of latent `index`, channels last, each of `latent_size()` numbers.
  void read(std::size_t index, bool flip, std::span<float> mean, std::span<float> deviation) const {
    const auto [shard, row] = place(index);
    if (flip && !(shard->flipped_mean && shard->flipped_deviation))
      throw ShapeError("LatentSet: there are no latents of mirrored images");
    const ArrayFile& means = flip ? *shard->flipped_mean : shard->mean;
    const ArrayFile& deviations = flip ? *shard->flipped_deviation : shard->deviation;
    const std::uint64_t first = static_cast<std::uint64_t>(row) * latent_size();
    read_one(means, first, shard->channels_first, mean);
    read_one(deviations, first, shard->channels_first, deviation);
  }

  [[nodiscard]] std::int32_t label(std::size_t index) const {
    const auto [shard, row] = place(index);
    return shard->labels[row];
  }

 private:
  [[nodiscard]] std::pair<const LatentShard*, std::size_t> place(std::size_t index) const {
    for (const LatentShard& shard : shards) {
      if (index < shard.count()) return {&shard, index};
      index -= shard.count();
    }
    throw ShapeError("latent " + std::to_string(index) + " beyond the end of the set");
  }

  void read_one(const ArrayFile& file, std::uint64_t first, bool channels_first,
                std::span<float> to) const {
    if (!channels_first) return file.read<float>(first, to);
    std::vector<float> planes(to.size());
    file.read<float>(first, std::span(planes));
    const std::size_t pixels = height * width;
    for (std::size_t c = 0; c < channels; ++c)
      for (std::size_t p = 0; p < pixels; ++p) to[p * channels + c] = planes[c * pixels + p];
  }
};

namespace detail {

/// (H, W, C) of the arrays of a shard, whose shapes must agree.
inline void check_latents(LatentShard& shard, LatentSet& set) {
  const auto& s = shard.mean.shape();
  const bool images = s.size() == 4 && std::ranges::find(s, 0U) == s.end();
  const bool last = images && s[1] == s[2];
  if (!images || !(last || s[2] == s[3]))
    throw FileError(shard.mean.name() + " has shape " + shape_text(s) +
                    ", where latents (N, H, W, C) or (N, C, H, W) with H = W are expected");
  shard.channels_first = !last;
  const std::size_t side = last ? s[1] : s[2], channels = last ? s[3] : s[1];
  const auto same = [&](const ArrayFile& other) {
    if (other.shape() != s)
      throw FileError(other.name() + " has shape " + shape_text(other.shape()) + ", but " +
                      shard.mean.name() + " has " + shape_text(s));
  };
  same(shard.deviation);
  if (shard.flipped_mean) same(*shard.flipped_mean);
  if (shard.flipped_deviation) same(*shard.flipped_deviation);
  if (!shard.labels.empty() && shard.labels.size() != s[0])
    throw FileError(shard.mean.name() + " has " + std::to_string(s[0]) +
                    " latents, but there are " + std::to_string(shard.labels.size()) + " labels");
  if (set.count > 0 && (set.height != side || set.channels != channels))
    throw FileError(shard.mean.name() + " has latents of " + std::to_string(side) + " x " +
                    std::to_string(side) + " x " + std::to_string(channels) +
                    ", but those before are of " + std::to_string(set.height) + " x " +
                    std::to_string(set.width) + " x " + std::to_string(set.channels));
  set.height = set.width = side;
  set.channels = channels;
}

inline void add_shard(LatentSet& set, LatentShard shard) {
  check_latents(shard, set);
  const bool labelled = !shard.labels.empty(), first = set.shards.empty();
  if (!first && labelled != (set.classes > 0))
    throw FileError(shard.mean.name() + (labelled ? " comes with" : " comes without") +
                    " labels, but the latents before do not");
  for (const std::int32_t label : shard.labels) {
    if (label < 0)
      throw FileError(shard.mean.name() + " comes with the label " + std::to_string(label) +
                      ", where labels are 0 or more");
    set.classes = std::max(set.classes, static_cast<std::size_t>(label) + 1);
  }
  set.flipped = (first || set.flipped) && shard.flipped_mean && shard.flipped_deviation;
  set.count += shard.count();
  set.shards.push_back(std::move(shard));
}

[[nodiscard]] inline LatentShard safetensors_shard(const std::filesystem::path& path) {
  const Safetensors file(path);
  LatentShard shard{ArrayFile(file, "mean"), ArrayFile(file, "std")};
  if (file.contains("mean_flip")) shard.flipped_mean.emplace(file, "mean_flip");
  if (file.contains("std_flip")) shard.flipped_deviation.emplace(file, "std_flip");
  if (file.contains("labels")) shard.labels = file.read<std::int32_t>("labels");
  return shard;
}

/// mean.npy, or mean-000.npy for the ending "-000", and its companions.
[[nodiscard]] inline LatentShard npy_shard(const std::filesystem::path& folder,
                                           const std::string& ending) {
  const auto file = [&](const char* name) { return folder / (name + ending + ".npy"); };
  LatentShard shard{ArrayFile(file("mean")), ArrayFile(file("std"))};
  if (std::filesystem::exists(file("mean_flip"))) shard.flipped_mean.emplace(file("mean_flip"));
  if (std::filesystem::exists(file("std_flip"))) shard.flipped_deviation.emplace(file("std_flip"));
  if (std::filesystem::exists(file("labels")))
    shard.labels = load_npy<std::int32_t>(file("labels")).values;
  return shard;
}

}  // namespace detail

/// Opens the latents of a folder, in the order of the files' names: safetensors files with the
/// tensors `mean`, `std` and, if there are any, `mean_flip`, `std_flip` and `labels`; or NPY files
/// of these names, mean.npy or mean-000.npy, mean-001.npy and so on. Labels are read; the rest is
/// read when it is asked for.
/// Throws FileError if there are none, a file is unusable, or shapes do not fit.
[[nodiscard]] inline LatentSet load_latents(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  std::vector<std::string> endings;
  std::error_code failure;
  for (const auto& entry : std::filesystem::directory_iterator(folder, failure)) {
    const std::string stem = entry.path().stem().string();
    if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
    if (entry.path().extension() == ".npy" && (stem == "mean" || stem.starts_with("mean-")))
      endings.push_back(stem.substr(4));
  }
  if (failure)
    throw FileError(detail::quoted(folder) + " cannot be read: " + failure.message() + ".");
  std::ranges::sort(files);
  std::ranges::sort(endings);
  LatentSet set;
  for (const auto& file : files) detail::add_shard(set, detail::safetensors_shard(file));
  if (files.empty())
    for (const auto& ending : endings) detail::add_shard(set, detail::npy_shard(folder, ending));
  if (set.count == 0)
    throw FileError(detail::quoted(folder) +
                    " has no latents: neither safetensors files nor mean.npy and std.npy.");
  return set;
}

}  // namespace meanflow
