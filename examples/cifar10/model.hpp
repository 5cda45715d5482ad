// SPDX-License-Identifier: MIT
// A trained net out of a checkpoint, which says itself what net it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include <meanflow/tensor/tensor.hpp>

#include "configuration.hpp"
#include "sampling.hpp"

namespace cifar10 {

/// What a checkpoint says about itself.
struct Identity {
  Settings settings;
  ImageFormat format;
  std::uint64_t step = 0;
  std::string data{};  ///< the `fingerprint` of what it was trained on
};

/// The metadata that a training run writes to its checkpoints.
[[nodiscard]] std::map<std::string, std::string> metadata_of(const Settings& settings,
                                                             const ImageFormat& format,
                                                             const std::string& data);

/// The file itself, or the newest checkpoint of a run's folder.
/// Throws meanflow::FileError if a folder has none.
[[nodiscard]] std::filesystem::path checkpoint_file(const std::filesystem::path& file_or_workdir);

/// Throws meanflow::FileError if the file is not a checkpoint of this program.
[[nodiscard]] Identity identity_of(const std::filesystem::path& checkpoint);

/// The parameters of a net that sample: an average, or those of the last step.
inline constexpr int last_step = -1;

/// What a checkpoint is, and what the names of those parameters begin with. With a configuration,
/// the file is nothing but the weights of such a net. Throws meanflow::FileError if the file is
/// damaged or not a checkpoint of this program. Throws meanflow::SettingError if there is no such
/// average.
[[nodiscard]] std::pair<Identity, std::string> checkpoint_identity(
    const std::filesystem::path& checkpoint, int average, const std::filesystem::path& config);

class Model {
 public:
  /// Reads the average number `average`, or `last_step` (`checkpoint_identity`).
  Model(const std::filesystem::path& checkpoint, int average, Where where = {},
        const std::filesystem::path& config = {});

  [[nodiscard]] const Identity& identity() const { return identity_; }

  /// Classes that the net is told; 0: none.
  [[nodiscard]] std::size_t classes() const {
    return identity_.settings.data.labels ? identity_.format.classes : 0;
  }

  /// Pictures [first, first + count) (count, H, W, C). A net that learned the velocity alone is
  /// solved by Euler's rule unless another is given.
  [[nodiscard]] meanflow::Tensor<float> sample(std::size_t first, std::size_t count,
                                               const Labels& labels, Sampling sampling) const;

 private:
  Identity identity_;
  Sampler sample_;
};

/// Writes samples as an autoencoder's decoder takes them, channels last and not scaled.
void save_latents(const std::filesystem::path& path, const Settings& settings,
                  const meanflow::Tensor<float>& samples);

/// The guidance that the net is told: as configured, unless the command line says otherwise.
[[nodiscard]] meanflow::GuidanceInput guidance_input(
    const Settings& settings, const std::optional<double>& omega,
    const std::optional<std::pair<double, double>>& interval);

/// The arguments of `cifar10 sample`.
struct SampleRequest {
  std::filesystem::path checkpoint, config, out, npy;  ///< config: where weights have none
  std::size_t count = 0, nfe = 0, batch = 64;          ///< count or nfe 0: as configured
  std::optional<std::uint64_t> seed;
  std::optional<std::int32_t> label;
  std::optional<double> guidance, omega;
  std::optional<std::pair<double, double>> interval;  ///< of omega
  std::optional<meanflow::Solver> solver;  ///< none: steps along u, as the net was trained
  int average = 0;
  Where where{};
  meanflow::AnyCommunicator processes{};  ///< that sample together; the root writes
};

void sample(const SampleRequest& request);

}  // namespace cifar10
