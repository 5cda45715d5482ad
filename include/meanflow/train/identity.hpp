// SPDX-License-Identifier: MIT
/// \file
/// What makes a training run the one that it is.
#pragma once

#include <cstddef>
#include <map>
#include <sstream>
#include <string>

#include <meanflow/config.hpp>
#include <meanflow/error.hpp>
#include <meanflow/train/agreement.hpp>
#include <meanflow/train/describe.hpp>

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

/// As text, a line for each key and one for its value, with what processes of one run must have in
/// common besides: the version of the library, the net's parameters, the length of the run.
template <class Trainer>
[[nodiscard]] std::string process_identity(const Trainer& trainer) {
  auto identity = training_identity(trainer);
  identity["version of meanflow"] = std::to_string(version.major) + "." +
                                    std::to_string(version.minor) + "." +
                                    std::to_string(version.patch);
  identity["steps"] = std::to_string(trainer.settings().steps);
  identity["clip_norm"] = describe_number(trainer.settings().clip_norm);
  for (const auto& entry : trainer.net().parameters().entries())
    identity["parameter " + entry.name] = to_string(entry.shape);
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
template <class C, class Trainer>
void check_same_run(C& communicator, const Trainer& trainer) {
  if (communicator.size() == 1) return;
  const std::string own = process_identity(trainer);
  const std::string root = text_of(communicator, 0, own);
  agree(communicator, [&] {
    const std::string found = difference(own, root);
    if (!found.empty()) throw SettingError(found);
  });
}

}  // namespace meanflow::detail
