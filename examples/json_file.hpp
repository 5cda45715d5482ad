// SPDX-License-Identifier: MIT
// What the programs write of their results.
#pragma once

#include <filesystem>

#include <nlohmann/json.hpp>

#include <meanflow/io/file.hpp>

/// Whole or not at all. Throws meanflow::FileError if it cannot be written.
inline void write_json(const std::filesystem::path& path, const nlohmann::json& json) {
  meanflow::AtomicFile file(path);
  file.write(json.dump(2) + "\n");
  file.commit();
}
