// SPDX-License-Identifier: MIT
/// \file
/// The exceptions of this library. Every message is one sentence for a person: what was asked, what
/// was found and what was expected.
#pragma once

#include <stdexcept>

namespace meanflow {

/// Base of everything this library throws.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Tensors whose shapes do not fit the operation; the message names the operation and both shapes.
struct ShapeError : Error {
  using Error::Error;
};

/// A file that is missing, damaged, or not what it should be; the message names the file.
struct FileError : Error {
  using Error::Error;
};

/// There is too little memory; the message says how much was asked for, and on a device how much is
/// free.
struct OutOfMemoryError : Error {
  using Error::Error;
};

/// A setting outside its range; the message names the setting, its value and the range.
struct SettingError : Error {
  using Error::Error;
};

}  // namespace meanflow
