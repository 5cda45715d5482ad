// SPDX-License-Identifier: MIT
/// \file
/// Rows in groups, such as the tokens of an image.
#pragma once

#include <cstddef>

namespace meanflow {

/// Extents of rows of which each `together` neighbours form a group.
struct GroupedRows {
  std::size_t rows, columns, together;

  [[nodiscard]] constexpr std::size_t groups() const { return together == 0 ? 0 : rows / together; }
};

}  // namespace meanflow
