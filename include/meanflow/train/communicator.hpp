// SPDX-License-Identifier: MIT
/// \file
/// How the processes of one training run agree: by adding up their gradients.
#pragma once

#include <concepts>
#include <cstddef>

#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

/// Stands between the backward pass and the optimizer: every process has computed the gradient of
/// its own rows, and all continue with the sum.
///
/// Syntax:
///  1. `communicator.size()`, the number of processes, and `communicator.rank()`, the index of this
///     one, from 0;
///  2. `communicator.all_reduce(values)` replaces the flat buffer by its sum over all processes.
/// Semantics: every process calls `all_reduce` equally often, with buffers of the same size, and
/// gets the same bits. With size() = 1 it does nothing.
template <class C, class T, class Device = Cpu>
concept Communicator = requires(C& communicator, Tensor<T, Device>& values) {
  { communicator.size() } -> std::convertible_to<std::size_t>;
  { communicator.rank() } -> std::convertible_to<std::size_t>;
  communicator.all_reduce(values);
};

/// A training run of one process, and the template for your own.
struct SingleProcess {
  [[nodiscard]] std::size_t size() const { return 1; }
  [[nodiscard]] std::size_t rank() const { return 0; }
  template <class T, class Device>
  void all_reduce(Tensor<T, Device>& /*values*/) const {}
};

}  // namespace meanflow
