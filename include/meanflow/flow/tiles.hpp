// SPDX-License-Identifier: MIT
/// \file
/// How a batch is cut into tiles of rows.
#pragma once

#include <cstddef>
#include <cstdint>

#include <meanflow/config.hpp>
#include <meanflow/kernels/reference.hpp>
#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

/// Which rows of a batch jump: `jumps` of `rows`, spread evenly, so that every part of the batch
/// has its share of both kinds. Row g jumps if floor((g + 1) jumps / rows) > floor(g jumps / rows).
struct JumpOrder {
  std::size_t rows = 0, jumps = 0;

  [[nodiscard]] MEANFLOW_HOST_DEVICE std::size_t jumps_before(std::size_t row) const {
    return rows == 0 ? 0 : row * jumps / rows;
  }
  [[nodiscard]] MEANFLOW_HOST_DEVICE bool jumps_at(std::size_t row) const {
    return jumps_before(row + 1) > jumps_before(row);
  }
  /// The row at a place of the order in which those that jump come first.
  [[nodiscard]] MEANFLOW_HOST_DEVICE std::size_t operator[](std::size_t place) const {
    if (place < jumps) return ((place + 1) * rows - 1) / jumps;
    return (place - jumps) * rows / (rows - jumps);
  }
  [[nodiscard]] MEANFLOW_HOST_DEVICE std::size_t place_of(std::size_t row) const {
    return jumps_at(row) ? jumps_before(row) : jumps + row - jumps_before(row);
  }
};

/// Which places of the batch a tile holds: first rows that jump, then the others.
struct TileRows {
  std::size_t jump_begin, jumps, rest_begin, count;
  [[nodiscard]] MEANFLOW_HOST_DEVICE std::size_t operator[](std::size_t i) const {
    return i < jumps ? jump_begin + i : rest_begin + (i - jumps);
  }
};

/// How the places of a batch, of which the first ones jump, are cut into tiles.
struct TileSplit {
  std::size_t rows, jumps, tiles;
  JumpOrder order{};          ///< of the rows of all processes; none: in proportion
  std::size_t first_row = 0;  ///< of this batch among them

  /// Tile i has rows that were given one after the other, and its share of those that jump: all
  /// tiles are the same amount of work, and the same rows are a tile for any number of processes.
  [[nodiscard]] TileRows operator[](std::size_t tile) const {
    const std::size_t begin = rows * tile / tiles, end = rows * (tile + 1) / tiles;
    const std::size_t jump_begin = jumps_before(begin), jump_end = jumps_before(end);
    return {jump_begin, jump_end - jump_begin, jumps + begin - jump_begin, end - begin};
  }

 private:
  [[nodiscard]] std::size_t jumps_before(std::size_t row) const {
    if (order.rows == 0) return rows == 0 ? 0 : row * jumps / rows;
    return order.jumps_before(first_row + row) - order.jumps_before(first_row);
  }
};

/// The places, in the `JumpOrder` of all processes' rows, of the `rows` rows of process `rank`,
/// which are the rows from rank * rows on.
[[nodiscard]] inline TileRows process_rows(std::size_t rows, std::size_t all_jumps,
                                           std::size_t processes, std::size_t rank) {
  const JumpOrder order{rows * processes, all_jumps};
  const std::size_t begin = order.jumps_before(rank * rows);
  const std::size_t end = order.jumps_before((rank + 1) * rows);
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

namespace detail {

/// to[i] = from[order[i]], rows of `columns` elements.
template <class Element>
struct PickRows {
  std::size_t columns;
  const std::int32_t* order;
  const Element* from;
  Element* to;

  MEANFLOW_HOST_DEVICE void operator()(std::size_t i) const {
    to[i] = from[static_cast<std::size_t>(order[i / columns]) * columns + i % columns];
  }
};

}  // namespace detail

/// The rows of a tensor in another order: row i of the result is row order[i].
template <class T, class Device>
[[nodiscard]] Tensor<T, Device> in_order(const Tensor<T, Device>& all,
                                         const Tensor<std::int32_t, Device>& order) {
  Tensor<T, Device> picked(all.shape().with_rows(order.size()));
  for_each_index(Device{}, picked.size(),
                 detail::PickRows<T>{all.row_size(), order.data(), all.data(), picked.data()});
  return picked;
}

}  // namespace meanflow
