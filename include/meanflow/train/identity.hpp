// SPDX-License-Identifier: MIT
/// \file
/// What makes a training run the one that it is.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <map>
#include <sstream>
#include <string>
#include <utility>

#include <meanflow/config.hpp>
#include <meanflow/error.hpp>
#include <meanflow/optim/optimizer.hpp>
#include <meanflow/tensor/checksum.hpp>
#include <meanflow/tensor/transfer.hpp>
#include <meanflow/train/agreement.hpp>
#include <meanflow/train/describe.hpp>
#include <meanflow/train/settings.hpp>

namespace meanflow::detail {

/// What a resumed training run must have in common with the one before, and its processes with each
/// other.
template <class Trainer>
[[nodiscard]] std::map<std::string, std::string> training_identity(const Trainer& trainer) {
  std::map<std::string, std::string> identity{
      {"seed", std::to_string(trainer.settings().seed)},
      {"batch", std::to_string(trainer.settings().batch)},
      {"gradient_accumulation", std::to_string(trainer.settings().gradient_accumulation)},
      {"condition_dropout", describe(trainer.settings().condition_dropout)},
      {"objective", describe(trainer.recipe().objective)},
      {"weighting", describe(trainer.recipe().weighting)},
      {"path", describe(trainer.recipe().path)},
      {"times", describe(trainer.recipe().times)},
      {"coupling", describe(trainer.recipe().coupling)},
      {"optimizer", describe(trainer.recipe().optimizer)},
      {"averages", std::to_string(trainer.settings().averages.size())}};
  for (std::size_t k = 0; k < trainer.settings().averages.size(); ++k)
    identity["average." + std::to_string(k)] = describe(trainer.settings().averages[k]);
  return identity;
}

/// "(8, 3)", and what its group says of it.
template <class Trainer>
[[nodiscard]] std::string describe_parameter(const Trainer& trainer, const ParameterEntry& entry) {
  for (const ParameterGroup& group : trainer.settings().groups)
    if (group.contains(entry))
      return to_string(entry.shape) + ", rate_scale " + describe_number(group.rate_scale) +
             ", decay_scale " + describe_number(group.decay_scale) +
             (group.frozen ? ", frozen" : "");
  return to_string(entry.shape);
}

/// With what processes of one run must have in common besides: the version of the library, the
/// net's parameters, the length of the run.
template <class Trainer>
[[nodiscard]] std::map<std::string, std::string> process_identity(const Trainer& trainer) {
  auto identity = training_identity(trainer);
  const TrainerSettings& s = trainer.settings();
  identity["version of meanflow"] = std::to_string(version.major) + "." +
                                    std::to_string(version.minor) + "." +
                                    std::to_string(version.patch);
  identity["steps"] = std::to_string(s.steps);
  identity["clip_norm"] = describe_number(s.clip_norm);
  identity["precision"] = describe(s.precision);
  identity["convolutions"] =
      s.convolutions == ConvolutionAlgorithm::direct ? "direct" : "automatic";
  identity["bucket"] = std::to_string(s.bucket);
  identity["replay"] = s.replay ? "yes" : "no";
  identity["shard_optimizer"] = s.shard_optimizer ? "yes" : "no";
  identity["deterministic"] = s.deterministic ? "tiles of " + std::to_string(s.tile_rows) : "no";
  for (const std::uint64_t step : {std::uint64_t{0}, s.steps / 4, s.steps / 2})
    identity["learning rate of step " + std::to_string(step)] =
        describe_number(s.learning_rate.at(step, s.steps));
  for (const auto& entry : trainer.net().parameters().entries())
    identity["parameter " + entry.name] = describe_parameter(trainer, entry);
  return identity;
}

/// The same at the beginning of `fit`: where each process stands, and what it learns from, if the
/// source has a `description()`.
template <class Trainer, class Source>
[[nodiscard]] std::map<std::string, std::string> beginning_identity(const Trainer& trainer,
                                                                    const Source& source) {
  auto identity = process_identity(trainer);
  identity["steps done"] = std::to_string(trainer.steps_done());
  const Tensor<typename Trainer::T> values = to_host(trainer.net().parameters().values());
  identity["checksum of the parameters"] = checksum(std::as_const(values).span());
  if constexpr (requires {
                  { source.description() } -> std::convertible_to<std::string>;
                })
    identity["data"] = source.description();
  return identity;
}

/// As text: a line for each key and one for its value.
[[nodiscard]] inline std::string lines_of(const std::map<std::string, std::string>& identity) {
  std::string text;
  for (const auto& [key, value] : identity) text += key + '\n' + value + '\n';
  return text;
}

/// The first value in which two such texts differ, as a sentence; empty if they are equal.
[[nodiscard]] inline std::string difference(const std::string& own, const std::string& root) {
  std::istringstream mine(own), theirs(root);
  for (std::string key, value, other_key, other; std::getline(theirs, other_key);) {
    std::getline(theirs, other);
    std::getline(mine, key);
    std::getline(mine, value);
    if (key != other_key)
      return "the root has the " + other_key + ", but this process has the " + key +
             " in its place";
    if (value != other) return key + " is \"" + value + "\", but \"" + other + "\" in the root";
  }
  return {};
}

/// Throws SettingError in the processes whose training run is not that of the root, and
/// OtherProcessError in the others.
template <class C>
void check_same_run(C& communicator, Agreement& agree,
                    const std::map<std::string, std::string>& identity) {
  const std::string own = lines_of(identity), root = text_of(communicator, 0, own);
  agree(communicator, [&] {
    const std::string found = difference(own, root);
    if (!found.empty()) throw SettingError(found);
  });
}

}  // namespace meanflow::detail
