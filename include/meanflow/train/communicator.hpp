// SPDX-License-Identifier: MIT
/// \file
/// How the processes of one training run agree.
#pragma once

#include <concepts>
#include <cstddef>
#include <span>

#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

/// Adds up what the processes of a training run have: above all the gradients, between the backward
/// pass and the optimizer. Every process has computed that of its own rows, and all continue with
/// the sum.
///
/// Syntax:
///  1. `communicator.size()`, the number of processes, and `communicator.rank()`, the index of this
///     one, from 0; that of rank 0 is the root;
///  2. `communicator.all_reduce(values)` replaces the flat buffer by its sum over all processes;
///  3. `communicator.all_reduce(numbers)` does so with a few numbers of the host;
///  4. `communicator.broadcast(bytes, rank)` replaces bytes of the host by those of that process;
///  5. it can be copied, and a copy is the same processes. (Not asked for by the concept: a
///     communicator that others convert to would depend on itself.)
/// Semantics: every process makes the same calls in the same order, with buffers of the same size,
/// and gets the same bits. With size() = 1 they do nothing.
template <class C, class T, class Device = Cpu>
concept Communicator = requires(C& communicator, Tensor<T, Device>& values,
                                std::span<double> numbers, std::span<char> bytes) {
  { communicator.size() } -> std::convertible_to<std::size_t>;
  { communicator.rank() } -> std::convertible_to<std::size_t>;
  communicator.all_reduce(values);
  communicator.all_reduce(numbers);
  communicator.broadcast(bytes, communicator.rank());
};

/// A communicator that can add up in the background, while the backward pass goes on.
///
/// Syntax: `communicator.begin_all_reduce(numbers)`, of a `std::span<T>` on the host, returns an
/// object that can be moved, with `done()`, whether the sums are there, and `wait()`.
/// Semantics: every process begins the same sums in the same order, and leaves the numbers alone
/// until they are done. `done()` is called now and then on the thread that began them, and may make
/// progress.
template <class C, class T>
concept OverlappingCommunicator = requires(const C& communicator, std::span<T> numbers) {
  { communicator.begin_all_reduce(numbers).done() } -> std::same_as<bool>;
  communicator.begin_all_reduce(numbers).wait();
};

/// A communicator that sends each part of a gradient to one process alone, and brings together
/// parts that the processes have (`TrainerSettings::shard_optimizer`): together the bytes of a sum
/// for all. Of others, sums for all and broadcasts are used.
///
/// Syntax:
///  1. `communicator.begin_reduce(numbers, rank)` is `begin_all_reduce` whose sums are for the
///     process of that rank; in the others the numbers may be anything afterwards;
///  2. `communicator.all_gather(values, bounds)` gives all processes, of a `std::span<T>` on the
///     host, the values [bounds[k], bounds[k + 1]) of process k.
template <class C, class T>
concept ShardingCommunicator =
    OverlappingCommunicator<C, T> &&
    requires(const C& communicator, std::span<T> numbers, std::span<const std::size_t> bounds) {
      {
        communicator.begin_reduce(numbers, std::size_t{})
      } -> std::same_as<decltype(communicator.begin_all_reduce(numbers))>;
      communicator.all_gather(numbers, bounds);
    };

/// A communicator whose `all_reduce(values)` of a device's tensors only queues work there, so that
/// a step of several processes can be recorded and replayed.
///
/// Syntax: `C::recordable` is true, and `communicator.expect()` says that sums are queued, or part
/// of what is replayed, for which the host is going to wait. Where the optimizer's state is
/// sharded, `all_reduce` of tensors of double, and `all_gather(values, bounds)` of the device's
/// tensors, which only queue work as well: without them such steps are not recorded.
template <class C>
concept RecordableCommunicator = requires(C& communicator) {
  requires C::recordable;
  communicator.expect();
};

/// A training run of one process, and the template for your own.
struct SingleProcess {
  [[nodiscard]] std::size_t size() const { return 1; }
  [[nodiscard]] std::size_t rank() const { return 0; }
  template <class T, class Device>
  void all_reduce(Tensor<T, Device>& /*values*/) const {}
  void all_reduce(std::span<double> /*numbers*/) const {}
  void broadcast(std::span<char> /*bytes*/, std::size_t /*rank*/) const {}
};

/// Whether this process is the one that writes files and reports.
[[nodiscard]] bool is_root(const auto& communicator) { return communicator.rank() == 0; }

}  // namespace meanflow
