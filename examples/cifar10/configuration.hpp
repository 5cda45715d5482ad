// SPDX-License-Identifier: MIT
// Configurations: YAML files, changes on the command line, and what a checkpoint remembers.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "settings.hpp"

namespace cifar10 {

/// Reads a YAML file over the defaults, then the changes, each "section.key=value".
/// Throws meanflow::FileError if the file cannot be read or is not YAML.
/// Throws meanflow::SettingError, naming file and line or the change, on unknown keys (with the
///   nearest known one), values of the wrong type or out of range, and settings that contradict
///   each other.
[[nodiscard]] Settings read_configuration(const std::filesystem::path& file,
                                          const std::vector<std::string>& changes = {});

/// The same from text, which messages call `source`.
[[nodiscard]] Settings parse_configuration(const std::string& text, const std::string& source,
                                           const std::vector<std::string>& changes = {});

/// All settings as YAML; parse_configuration() gives the same settings back.
[[nodiscard]] std::string to_yaml(const Settings& settings);

/// The first setting that differs between two runs that should be the same, as "train.batch is 64,
/// not 32". Steps, learning rate, logging, checkpoints, pictures and evaluation may differ.
[[nodiscard]] std::optional<std::string> difference(const Settings& now, const Settings& before);

}  // namespace cifar10
