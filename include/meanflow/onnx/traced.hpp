// SPDX-License-Identifier: MIT
/// \file
/// The fifth kind of value that a net is called with: one without numbers, which records what is
/// computed from it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <meanflow/autodiff/differentiable.hpp>
#include <meanflow/autodiff/parameters.hpp>
#include <meanflow/onnx/graph.hpp>
#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

namespace onnx {

/// The extents of a shape without a batch.
[[nodiscard]] inline Extents extents_of(const Shape& shape) {
  Extents extents;
  for (const std::size_t extent : shape) extents.push_back(static_cast<std::int64_t>(extent));
  return extents;
}

/// The extents of values of a batch, `rows` in place of its rows.
[[nodiscard]] inline Extents extents_of_batch(const Shape& shape, std::int64_t rows = batch) {
  Extents extents = extents_of(shape);
  if (!extents.empty()) extents[0] = rows;
  return extents;
}

/// A graph that is being recorded, with what the operations need to know: which memory stands for
/// an input, and where the number of rows is found.
struct Trace {
  Graph graph{};
  std::map<const void*, std::string> given{};  ///< numbers of a condition, and their input
  std::string rows{};                          ///< a value of one number: the rows of the batch

  /// `row` (1, ...) for every row of the batch.
  std::string repeat(const std::string& row, const Shape& shape) {
    std::vector<std::string> parts{rows};
    if (shape.rank() > 1) parts.push_back(graph.integers(extents_of(shape.row())));
    return graph.add("Expand",
                     {row, graph.add("Concat", std::move(parts), {{"axis", std::int64_t{0}}})});
  }
};

}  // namespace onnx

/// A value (B, ...) of a graph. Its shape is that of a batch of the rows that are traced with; the
/// graph is good for any number of them, since rows never mix.
template <class T, class Device = Cpu>
class Traced {
 public:
  using value_type = T;
  using device_type = Device;

  Traced() = default;
  Traced(onnx::Trace& trace, std::string name, const Shape& shape)
      : trace_(&trace), name_(std::move(name)), shape_(shape) {}

  [[nodiscard]] const Shape& shape() const { return shape_; }
  [[nodiscard]] std::size_t rows() const { return shape_.rows(); }
  [[nodiscard]] onnx::Trace& trace() const { return *trace_; }
  [[nodiscard]] onnx::Graph& graph() const { return trace_->graph; }
  [[nodiscard]] const std::string& name() const { return name_; }

  /// Another value of the same graph.
  [[nodiscard]] Traced like(std::string name, const Shape& shape) const {
    return {*trace_, std::move(name), shape};
  }

 private:
  onnx::Trace* trace_ = nullptr;
  std::string name_;
  Shape shape_;
};

namespace detail {

template <class T, class Device>
inline constexpr bool is_traced<Traced<T, Device>> = true;

/// The initializer of a parameter.
template <class T, class Device>
[[nodiscard]] std::string weight_of(onnx::Graph& graph, const Parameter<T, Device>& parameter) {
  return graph.weight(parameter.name(), onnx::extents_of(parameter.shape()),
                      std::span<const T>(parameter.data(), parameter.size()));
}

/// x (B, C) as (B, 1, ..., 1, C), to be repeated over what lies between.
template <class T, class Device>
[[nodiscard]] std::string over_channels(const Traced<T, Device>& x, std::size_t rank) {
  onnx::Extents extents(rank, 1);
  extents.front() = 0;
  extents.back() = static_cast<std::int64_t>(x.shape().last());
  return x.graph().reshape(x.name(), std::move(extents));
}

/// y = scale x + shift of the value `x`, left out where they change nothing.
template <class T>
[[nodiscard]] std::string scaled(onnx::Graph& graph, std::string x, T scale, T shift = T(0)) {
  if (scale == T(-1) && shift == T(0)) return graph.add("Neg", {x});
  if (scale != T(1)) x = graph.add("Mul", {x, graph.number(scale)});
  if (shift != T(0)) x = graph.add("Add", {x, graph.number(shift)});
  return x;
}

/// The value `x` under another shape of the same batch.
[[nodiscard]] inline std::string reshaped(onnx::Graph& graph, const std::string& x,
                                          const Shape& shape) {
  return graph.reshape(x, onnx::extents_of_batch(shape, 0));
}

/// n scale + shift of values.
[[nodiscard]] inline std::string modulated(onnx::Graph& graph, const std::string& n,
                                           const std::string& scale, const std::string& shift) {
  return graph.add("Add", {graph.add("Mul", {n, scale}), shift});
}

/// Whether all rows hold the same numbers.
template <class T, class Device>
[[nodiscard]] bool rows_alike(const Tensor<T, Device>& values) {
  for (std::size_t row = 1; row < values.rows(); ++row)
    if (!std::equal(values.row(0), values.row(0) + values.row_size(), values.row(row)))
      return false;
  return true;
}

}  // namespace detail

}  // namespace meanflow
