// SPDX-License-Identifier: MIT
/// \file
/// What is shared out over the processes of a program: rows, such as samples and their features,
/// and parts of flat buffers.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include <meanflow/optim/update.hpp>
#include <meanflow/tensor/tensor.hpp>
#include <meanflow/tensor/transfer.hpp>
#include <meanflow/train/communicator.hpp>

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

namespace detail {

/// Where the processes' parts of a flat buffer begin and, at last, end: multiples of a block, as
/// `ParameterUpdate` wants them, or the end of all.
[[nodiscard]] inline std::vector<std::size_t> shard_bounds(std::size_t flat_size,
                                                           std::size_t processes) {
  std::vector<std::size_t> bounds;
  for (std::size_t rank = 0; rank < processes; ++rank)
    bounds.push_back(row_share(flat_size / group_block, rank, processes).first * group_block);
  bounds.push_back(flat_size);
  return bounds;
}
[[nodiscard]] inline FlatRange shard_of(const std::vector<std::size_t>& bounds, std::size_t rank) {
  return {bounds[rank], bounds[rank + 1]};
}

/// Begins a sum that is for the process of that rank, or for all if the communicator cannot tell
/// them apart.
template <class C, class T>
[[nodiscard]] auto begin_reduce(const C& communicator, std::span<T> numbers, std::size_t rank) {
  if constexpr (ShardingCommunicator<C, T>)
    return communicator.begin_reduce(numbers, rank);
  else
    return communicator.begin_all_reduce(numbers);
}

/// Gives all processes the parts of a flat buffer that each of them has.
template <class C, class T>
void all_gather(C& communicator, std::span<T> values, const std::vector<std::size_t>& bounds) {
  if constexpr (ShardingCommunicator<C, T>) {
    communicator.all_gather(values, bounds);
  } else {
    for (std::size_t rank = 0; rank + 1 < bounds.size(); ++rank)
      if (const FlatRange part = shard_of(bounds, rank); part.size() > 0)
        communicator.broadcast(
            {reinterpret_cast<char*>(values.data() + part.begin), part.size() * sizeof(T)}, rank);
  }
}
template <class C, class T, class Device>
void all_gather(C& communicator, Tensor<T, Device>& values,
                const std::vector<std::size_t>& bounds) {
  if constexpr (requires { communicator.all_gather(values, bounds); }) {
    communicator.all_gather(values, bounds);
  } else if constexpr (std::same_as<Device, Cpu>) {
    all_gather(communicator, values.span(), bounds);
  } else {
    Tensor<T> here = on_host<Device> ? to_host(values).clone() : to_host(values);
    all_gather(communicator, here.span(), bounds);
    write(values, here.data());
  }
}

/// Flat buffers of which each process has a part, in the root; the others get empty tensors. What
/// can fail, the memory, is done when this is made.
template <class T>
class GatheredToRoot {
 public:
  GatheredToRoot() = default;
  template <class C>
  GatheredToRoot(const C& communicator, const std::vector<std::size_t>& bounds, std::size_t count)
      : whole_(count) {
    std::size_t largest = 0;
    for (std::size_t rank = 0; rank + 1 < bounds.size(); ++rank)
      largest = std::max(largest, shard_of(bounds, rank).size());
    part_ = Tensor<T>({largest});
    if (communicator.rank() == 0)
      for (Tensor<T>& whole : whole_) whole = Tensor<T>({bounds.back()});
  }

  template <class C>
  [[nodiscard]] std::vector<Tensor<T>> gather(C& communicator, const std::vector<Tensor<T>>& own,
                                              const std::vector<std::size_t>& bounds) {
    for (std::size_t k = 0; k < own.size(); ++k)
      for (std::size_t rank = 0; rank + 1 < bounds.size(); ++rank) {
        const FlatRange range = shard_of(bounds, rank);
        if (range.size() == 0) continue;
        if (rank == communicator.rank()) std::copy_n(own[k].data(), range.size(), part_.data());
        communicator.broadcast({reinterpret_cast<char*>(part_.data()), range.size() * sizeof(T)},
                               rank);
        if (communicator.rank() == 0)
          std::copy_n(part_.data(), range.size(), whole_[k].data() + range.begin);
      }
    return std::move(whole_);
  }

 private:
  std::vector<Tensor<T>> whole_;
  Tensor<T> part_;
};

}  // namespace detail

}  // namespace meanflow
