// SPDX-License-Identifier: MIT
/// \file
/// The state of a training run between the root, which writes and reads it as a whole, and the
/// processes, each of which may have a part of the optimizer's alone.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <utility>
#include <vector>

#include <meanflow/optim/update.hpp>
#include <meanflow/tensor/tensor.hpp>
#include <meanflow/tensor/transfer.hpp>
#include <meanflow/train/agreement.hpp>
#include <meanflow/train/parts.hpp>
#include <meanflow/train/state.hpp>

namespace meanflow::detail {

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

/// A state on the host.
template <class T, class Device>
[[nodiscard]] TrainingState<T> state_on_host(const TrainingState<T, Device>& own) {
  TrainingState<T> state{own.step, to_host(own.parameters), {}, {}};
  for (const auto& values : own.optimizer) state.optimizer.push_back(to_host(values));
  for (const auto& values : own.averages) state.averages.push_back(to_host(values));
  return state;
}

/// The same of processes that have the parts `bounds` of the optimizer's: whole in the root, and
/// without the optimizer's in the others. All processes call this.
template <class C, class T, class Device>
[[nodiscard]] TrainingState<T> gather_state(C& communicator, const TrainingState<T, Device>& own,
                                            const std::vector<std::size_t>& bounds) {
  TrainingState<T> state;
  GatheredToRoot<T> whole;
  in_all(communicator, [&] {  // all that can fail, before the processes wait for each other
    state = state_on_host(own);
    whole = {communicator, bounds, state.optimizer.size()};
  });
  state.optimizer = whole.gather(communicator, state.optimizer, bounds);
  return state;
}

/// Writes a whole state, on the device or on the host, to a process's own, whose optimizer's
/// tensors are the part `range`.
template <class T, class Place, class Device>
void assign_state(const TrainingState<T, Place>& whole, const FlatRange& range,
                  TrainingState<T, Device> own) {
  const auto assign = [](const T* from, Tensor<T, Device>& to) {
    if constexpr (std::same_as<Place, Device>)
      copy(Device{}, to.size(), from, to.data());
    else
      write(to, from);
  };
  assign(whole.parameters.data(), own.parameters);
  for (std::size_t k = 0; k < own.optimizer.size(); ++k)
    assign(whole.optimizer[k].data() + range.begin, own.optimizer[k]);
  for (std::size_t k = 0; k < own.averages.size(); ++k)
    assign(whole.averages[k].data(), own.averages[k]);
}

/// Gives the state of the root to all processes, one buffer at a time. Where the optimizer's is in
/// parts, the root has all of it in `optimizer`; else that is empty. All processes call this, after
/// they have agreed on a place for a buffer, `whole`.
template <class C, class T, class Device>
void send_state(C& communicator, TrainingState<T, Device> own, const FlatRange& range,
                const std::vector<Tensor<T>>& optimizer, Tensor<T>& whole) {
  const bool root = communicator.rank() == 0;
  const auto send = [&](Tensor<T, Device>& values, std::size_t first) {
    communicator.broadcast({reinterpret_cast<char*>(whole.data()), whole.size() * sizeof(T)}, 0);
    if (!root) write(values, whole.data() + first);
  };
  const auto take = [&](const Tensor<T, Device>& values) {
    if (root) device_traits<Device>::to_host(whole.size() * sizeof(T), values.data(), whole.data());
  };
  take(own.parameters);
  send(own.parameters, 0);
  for (std::size_t k = 0; k < own.optimizer.size(); ++k) {
    if (root && !optimizer.empty())
      std::copy_n(optimizer[k].data(), whole.size(), whole.data());
    else
      take(own.optimizer[k]);
    send(own.optimizer[k], range.begin);
  }
  for (Tensor<T, Device>& values : own.averages) {
    take(values);
    send(values, 0);
  }
}

}  // namespace meanflow::detail
