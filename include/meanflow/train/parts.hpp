// SPDX-License-Identifier: MIT
/// \file
/// Flat buffers of which each process has a part.
#pragma once

#include <concepts>
#include <cstddef>
#include <span>
#include <vector>

#include <meanflow/optim/update.hpp>
#include <meanflow/tensor/tensor.hpp>
#include <meanflow/tensor/transfer.hpp>
#include <meanflow/train/communicator.hpp>
#include <meanflow/train/sharing.hpp>

namespace meanflow {

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
[[nodiscard]] inline FlatRange shard_of(std::span<const std::size_t> bounds, std::size_t rank) {
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

/// Gives all processes the parts of a flat buffer that each of them has, by broadcasts.
template <class C, class T>
void broadcast_parts(C& communicator, std::span<T> values, std::span<const std::size_t> bounds) {
  for (std::size_t rank = 0; rank + 1 < bounds.size(); ++rank)
    if (const FlatRange part = shard_of(bounds, rank); part.size() > 0)
      communicator.broadcast(
          {reinterpret_cast<char*>(values.data() + part.begin), part.size() * sizeof(T)}, rank);
}

/// The same in the way that the communicator has.
template <class C, class T>
void all_gather(C& communicator, std::span<T> values, const std::vector<std::size_t>& bounds) {
  if constexpr (ShardingCommunicator<C, T>)
    communicator.all_gather(values, bounds);
  else
    broadcast_parts(communicator, values, bounds);
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

}  // namespace detail

}  // namespace meanflow
