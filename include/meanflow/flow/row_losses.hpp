// SPDX-License-Identifier: MIT
/// \file
/// What an objective returns for a batch: losses, gradients and metrics, row by row.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>
#include <type_traits>

#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

/// Which rows a metric is averaged over: all, or those with r < t.
enum class MetricRows { all, jumping };

/// A number that an objective reports for every row.
struct Metric {
  std::string_view name;
  MetricRows rows = MetricRows::all;
};

/// The gradient of the batch's mean loss by one output of the net.
template <class T, class Device = Cpu>
struct OutputGradient {
  std::size_t node;            ///< of the output, on the tape
  Tensor<T, Device> gradient;  ///< (B, ...)
};

/// What an objective returns: the loss of each row, the gradient by each output of the net that it
/// trains, and the metrics that it names.
template <class T, class Device = Cpu, std::size_t Outputs = 1, std::size_t Metrics = 0>
struct RowLosses {
  Tensor<double, Device> loss;  ///< (B)
  std::array<OutputGradient<T, Device>, Outputs> outputs;
  std::array<Tensor<T, Device>, Metrics> metrics{};  ///< (B) each
};

namespace detail {

template <class R>
inline constexpr bool is_row_losses = false;
template <class T, class Device, std::size_t Outputs, std::size_t Metrics>
inline constexpr bool is_row_losses<RowLosses<T, Device, Outputs, Metrics>> = true;

/// The metrics of an objective.
template <class O>
[[nodiscard]] constexpr auto metrics_of() {
  if constexpr (requires { O::metrics.size(); })
    return O::metrics;
  else
    return std::array<Metric, 0>{};
}

}  // namespace detail

}  // namespace meanflow
