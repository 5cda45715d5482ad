// SPDX-License-Identifier: MIT
// Files that a command writes at its end.
#pragma once

#include <filesystem>
#include <system_error>

#include <meanflow/error.hpp>
#include <meanflow/io/file.hpp>

namespace cifar10 {

/// Creates the folder of a file to be written later, and tries to write there, so that what
/// is wrong with it is reported before the work and not after.
/// Throws meanflow::FileError if the folder or the file cannot be created, or the file is a folder.
inline void prepare_output(const std::filesystem::path& file) {
  if (file.empty()) return;
  std::error_code error;
  if (std::filesystem::is_directory(file, error))
    throw meanflow::FileError(file.string() + " is a folder, expected a file to write to");
  if (file.has_parent_path()) std::filesystem::create_directories(file.parent_path(), error);
  if (file.has_parent_path() && !std::filesystem::is_directory(file.parent_path()))
    throw meanflow::FileError(file.string() +
                              " cannot be written: cannot create its folder: " + error.message());
  const meanflow::AtomicFile trial(file);  // not committed, so nothing is left of it
}

}  // namespace cifar10
