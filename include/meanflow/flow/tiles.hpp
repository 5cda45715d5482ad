// SPDX-License-Identifier: MIT
/// \file
/// How a batch is cut into tiles of rows.
#pragma once

#include <cstddef>

namespace meanflow {

/// Which rows of the batch a tile holds: first those that jump, then the others.
struct TileRows {
  std::size_t jump_begin, jumps, rest_begin, count;
  [[nodiscard]] std::size_t operator[](std::size_t i) const {
    return i < jumps ? jump_begin + i : rest_begin + (i - jumps);
  }
};

/// How a batch, whose first rows jump, is cut into tiles.
struct TileSplit {
  std::size_t rows, jumps, tiles;

  /// Tile i takes its share of the rows that jump and of those that do not, so that all tiles are
  /// the same amount of work.
  [[nodiscard]] TileRows operator[](std::size_t tile) const {
    const std::size_t rest = rows - jumps;
    const std::size_t jump_begin = jumps * tile / tiles, jump_end = jumps * (tile + 1) / tiles;
    const std::size_t rest_begin = rest * tile / tiles, rest_end = rest * (tile + 1) / tiles;
    return {jump_begin, jump_end - jump_begin, jumps + rest_begin,
            jump_end - jump_begin + rest_end - rest_begin};
  }
};

}  // namespace meanflow
