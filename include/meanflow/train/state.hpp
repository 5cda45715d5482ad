// SPDX-License-Identifier: MIT
/// \file
/// The state of a training run.
#pragma once

#include <cstdint>
#include <vector>

#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

/// Everything that a training run needs to resume, apart from its settings: random numbers depend
/// on seed and step alone, so the step is their whole state. The tensors are flat buffers laid out
/// as `Parameters` are.
template <class T, class Device = Cpu>
struct TrainingState {
  std::uint64_t step = 0;                    ///< steps done
  Tensor<T, Device> parameters;              ///< of the net, not averaged
  std::vector<Tensor<T, Device>> optimizer;  ///< in the order of the optimizer's `state`
  std::vector<Tensor<T, Device>> averages;   ///< in the order of the settings
};

}  // namespace meanflow
