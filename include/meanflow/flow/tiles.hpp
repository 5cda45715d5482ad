// SPDX-License-Identifier: MIT
/// \file
/// How a batch is cut into tiles of rows.
#pragma once

#include <cstddef>

#include <meanflow/config.hpp>
#include <meanflow/kernels/reference.hpp>
#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

/// Which rows of the batch a tile holds: first those that jump, then the others.
struct TileRows {
  std::size_t jump_begin, jumps, rest_begin, count;
  [[nodiscard]] MEANFLOW_HOST_DEVICE std::size_t operator[](std::size_t i) const {
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

/// The numbers, among the rows of all processes, of the `rows` rows of process `rank`. The first
/// `all_jumps` of all rows jump: each process has its share of them, which come first in its batch.
[[nodiscard]] inline TileRows process_rows(std::size_t rows, std::size_t all_jumps,
                                           std::size_t processes, std::size_t rank) {
  const std::size_t begin = all_jumps * rank / processes;
  const std::size_t end = all_jumps * (rank + 1) / processes;
  return {begin, end - begin, all_jumps + rank * rows - begin, rows};
}

/// The tile's rows of the whole batch's tensor.
template <class T, class Device>
[[nodiscard]] Tensor<T, Device> gather(const Tensor<T, Device>& all, const TileRows& rows) {
  Tensor<T, Device> tile(all.shape().with_rows(rows.count));
  const auto part = [&](std::size_t from, std::size_t to, std::size_t count) {
    copy(Device{}, count * all.row_size(), all.row(from), tile.row(to));
  };
  if (rows.jumps > 0) part(rows.jump_begin, 0, rows.jumps);
  if (rows.count > rows.jumps) part(rows.rest_begin, rows.jumps, rows.count - rows.jumps);
  return tile;
}

/// Writes a tile's rows to their places in the whole batch's tensor.
template <class T, class Device>
void scatter(const Tensor<T, Device>& tile, const TileRows& rows, Tensor<T, Device>& all) {
  const auto part = [&](std::size_t from, std::size_t to, std::size_t count) {
    copy(Device{}, count * all.row_size(), tile.row(from), all.row(to));
  };
  if (rows.jumps > 0) part(0, rows.jump_begin, rows.jumps);
  if (rows.count > rows.jumps) part(rows.jumps, rows.rest_begin, rows.count - rows.jumps);
}

}  // namespace meanflow
