// SPDX-License-Identifier: MIT
/// \file
/// Rows that are shared out over the processes of a program, such as samples and their features.
#pragma once

#include <cstddef>
#include <span>

#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

/// Rows [first, end).
struct RowShare {
  std::size_t first = 0, end = 0;
};

/// The rows of `count` that fall to process `rank` of `size`; shares differ by one row at most.
[[nodiscard]] constexpr RowShare row_share(std::size_t count, std::size_t rank, std::size_t size) {
  return {count * rank / size, count * (rank + 1) / size};
}
template <class C>
[[nodiscard]] RowShare row_share(const C& communicator, std::size_t count) {
  return row_share(count, communicator.rank(), communicator.size());
}

/// Gives all processes the rows of all, of which each has written its own share (`row_share`). All
/// processes call this, with tensors of the same shape.
template <class C, class T>
void gather_rows(C& communicator, Tensor<T>& rows) {
  if (communicator.size() == 1 || rows.size() == 0) return;
  for (std::size_t rank = 0; rank < communicator.size(); ++rank) {
    const RowShare share = row_share(rows.rows(), rank, communicator.size());
    if (share.first == share.end) continue;
    const std::size_t bytes = (share.end - share.first) * rows.row_size() * sizeof(T);
    communicator.broadcast({reinterpret_cast<char*>(rows.row(share.first)), bytes}, rank);
  }
}

}  // namespace meanflow
