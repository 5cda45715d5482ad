// SPDX-License-Identifier: MIT
// Files that a command writes at its end.
#pragma once

#include <filesystem>
#include <system_error>

#include <meanflow/error.hpp>
#include <meanflow/io/file.hpp>

namespace cifar10 {

/// Makes the folder of a file that is to be written later, and tries to write there, so that what
/// is wrong with it is said before the work and not after.
/// \throws meanflow::FileError if there can be no such folder or file, or the file is a folder.
inline void prepare_output(const std::filesystem::path& file) {
  if (file.empty()) return;
  std::error_code error;
  if (std::filesystem::is_directory(file, error))
    throw meanflow::FileError(file.string() + " is a folder, expected a file to write to");
  if (file.has_parent_path()) std::filesystem::create_directories(file.parent_path(), error);
  if (file.has_parent_path() && !std::filesystem::is_directory(file.parent_path()))
    throw meanflow::FileError(file.string() +
                              " cannot be written: its folder cannot be made: " + error.message());
  const meanflow::AtomicFile trial(file);  // not committed, so nothing is left of it
}

}  // namespace cifar10
