// SPDX-License-Identifier: MIT
/// \file
/// What fuzz targets of readers share. A target gets bytes, reads them as a file, and may meet a
/// FileError. Everything else ends the program, which libFuzzer reports: another exception (so a
/// picture that was read and then fails its own check does), a fault, more memory or time than the
/// limits on its command line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <string>

#include <sys/mman.h>
#include <unistd.h>

#include <meanflow/error.hpp>

namespace meanflow_fuzz {

using Bytes = std::span<const std::uint8_t>;

/// The path of a file in memory, one per number, that holds these bytes until the next call.
template <int number = 0>
std::filesystem::path file_of(Bytes bytes) {
  static const int file = ::memfd_create("fuzz", MFD_CLOEXEC);
  const bool filled = file >= 0 && ::ftruncate(file, 0) == 0 &&
                      ::pwrite(file, bytes.data(), bytes.size(), 0) == ssize_t(bytes.size());
  if (!filled) std::abort();
  return "/proc/self/fd/" + std::to_string(file);
}

/// Reads the bytes as a file.
template <class Read>
void try_reading(Bytes bytes, Read read) {
  try {
    read(file_of(bytes));
  } catch (const meanflow::FileError&) {  // what damaged files are for
  }
}

/// Ends the program if what was read contradicts itself.
inline void expect(bool fits) {
  if (!fits) std::abort();
}

}  // namespace meanflow_fuzz
