// SPDX-License-Identifier: MIT
/// \file
/// Linear layers, convolutions, norms and what brings parameters and conditions in, recorded.
/// Images stay channels last: ONNX convolves channels first, so a convolution stands between two
/// transpositions, of which those that meet fall away.
#pragma once

#include <cmath>
#include <concepts>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include <meanflow/onnx/elementwise.hpp>
#include <meanflow/onnx/traced.hpp>
#include <meanflow/ops/conv.hpp>
#include <meanflow/ops/embedding.hpp>
#include <meanflow/ops/linear.hpp>
#include <meanflow/ops/norm.hpp>
#include <meanflow/ops/row_norm.hpp>

namespace meanflow {

// ---------------------------------------------------------- parameters, constants, conditions

template <class T, class Device>
[[nodiscard]] Traced<T, Device> broadcast_rows(const Parameter<T, Device>& parameter,
                                               const Traced<T, Device>& like) {
  onnx::Graph& graph = like.graph();
  const Shape shape{like.rows(), parameter.size()};
  const std::string row = graph.reshape(detail::weight_of(graph, parameter), {1, -1});
  return like.like(like.trace().repeat(row, shape), shape);
}

template <class T, class Device>
[[nodiscard]] Traced<T, Device> add_bias(const Traced<T, Device>& x,
                                         const Parameter<T, Device>& bias) {
  if (bias.size() != x.shape().last())
    throw_shape_error("add_bias", bias.shape(), x.shape(), "one bias for each channel");
  return x.like(x.graph().add("Add", {x.name(), detail::weight_of(x.graph(), bias)}), x.shape());
}

template <class T, class Device>
[[nodiscard]] Traced<T, Device> add_table(const Traced<T, Device>& x,
                                          const Tensor<T, Device>& table) {
  if (table.size() != x.shape().row_size())
    throw_shape_error("add_table", table.shape(), x.shape(), "the table must be as large as a row");
  const std::string row =
      x.graph().constant(onnx::extents_of_batch(x.shape(), 1),
                         std::vector<T>(table.data(), table.data() + table.size()));
  return x.like(x.graph().add("Add", {x.name(), row}), x.shape());
}

/// The input that those numbers of a condition stand for, or numbers that every row has. Throws
/// Error if they were made from a condition in a way that was not recorded.
template <class T, class Device>
[[nodiscard]] Traced<T, Device> constant_like(const Traced<T, Device>& like,
                                              const Tensor<T, Device>& values) {
  onnx::Trace& trace = like.trace();
  if (const auto given = trace.given.find(values.data()); given != trace.given.end())
    return like.like(detail::reshaped(trace.graph, given->second, values.shape()), values.shape());
  if (values.rows() != like.rows() || !detail::rows_alike(values))
    throw Error("constant_like: numbers of shape " + to_string(values.shape()) +
                " differ from row to row and are no part of the condition, so they cannot be "
                "exported; let operations compute them from the condition");
  const std::string row =
      trace.graph.constant(onnx::extents_of_batch(values.shape(), 1),
                           std::vector<T>(values.data(), values.data() + values.row_size()));
  return like.like(trace.repeat(row, values.shape()), values.shape());
}

namespace detail {

/// The input that those labels stand for, or a label that every row has, (B).
template <class T, class Device>
[[nodiscard]] std::string labels_of(const char* operation,
                                    const Tensor<std::int32_t, Device>& labels,
                                    const Traced<T, Device>& like) {
  onnx::Trace& trace = like.trace();
  if (const auto given = trace.given.find(labels.data()); given != trace.given.end())
    return given->second;
  if (labels.size() != like.rows() || !rows_alike(labels))
    throw Error(std::string(operation) +
                ": labels that differ from row to row and are no part of the condition cannot be "
                "exported");
  return trace.repeat(trace.graph.integers({labels[0]}), {like.rows()});
}

}  // namespace detail

template <class T, class Device>
[[nodiscard]] Traced<T, Device> class_embedding(const Parameter<T, Device>& table,
                                                const Tensor<std::int32_t, Device>& labels,
                                                const Traced<T, Device>& like) {
  onnx::Graph& graph = like.graph();
  return like.like(graph.add("Gather", {detail::weight_of(graph, table),
                                        detail::labels_of("class_embedding", labels, like)}),
                   {like.rows(), table.shape()[1]});
}

template <class T, class Device>
[[nodiscard]] Traced<T, Device> one_hot(const Tensor<std::int32_t, Device>& labels,
                                        std::size_t classes, std::type_identity_t<T> value,
                                        const Traced<T, Device>& like) {
  onnx::Graph& graph = like.graph();
  std::vector<std::int64_t> all(classes);
  for (std::size_t i = 0; i < classes; ++i) all[i] = static_cast<std::int64_t>(i);
  const std::string column = graph.reshape(detail::labels_of("one_hot", labels, like), {0, 1});
  const std::string is = graph.add("Equal", {column, graph.integers(std::move(all))});
  const std::string hot =
      graph.add("Cast", {is}, {{"to", static_cast<std::int64_t>(onnx::element_type<T>)}});
  return like.like(detail::scaled(graph, hot, value), {like.rows(), classes});
}

// ------------------------------------------------------------------------------ linear layers

template <class F = Identity, class T, class Device>
[[nodiscard]] Traced<T, Device> linear(const Traced<T, Device>& x,
                                       const Parameter<T, Device>& weight,
                                       const Parameter<T, Device>& bias = {}, F f = {}) {
  detail::check_linear(x.shape(), weight, bias);
  onnx::Graph& graph = x.graph();
  const std::string w = detail::weight_of(graph, weight);
  const Shape shape = x.shape().with_last(weight.shape()[0]);
  if (x.shape().rank() == 2) {
    std::vector<std::string> inputs{x.name(), w};
    if (!bias.empty()) inputs.push_back(detail::weight_of(graph, bias));
    return unary(
        f, x.like(graph.add("Gemm", std::move(inputs), {{"transB", std::int64_t{1}}}), shape));
  }
  std::string y = graph.add("MatMul", {x.name(), graph.transpose(w, {1, 0})});
  if (!bias.empty()) y = graph.add("Add", {y, detail::weight_of(graph, bias)});
  return unary(f, x.like(std::move(y), shape));
}

// -------------------------------------------------------------------------------- convolutions

namespace detail {

inline const onnx::Extents channels_first_axes{0, 3, 1, 2};
inline const onnx::Extents channels_last_axes{0, 2, 3, 1};

/// A convolution or a transposed one of x (B, H, W, C), to (B, H', W', out).
template <class T, class Device>
[[nodiscard]] Traced<T, Device> convolved(const char* op, const Traced<T, Device>& x,
                                          const std::string& weight,
                                          const Parameter<T, Device>& bias,
                                          const HeightWidth& kernel, std::size_t stride,
                                          const HeightWidth& padding, std::size_t groups,
                                          const Shape& shape) {
  onnx::Graph& graph = x.graph();
  const auto both = [](std::size_t height, std::size_t width) {
    return onnx::Extents{static_cast<std::int64_t>(height), static_cast<std::int64_t>(width)};
  };
  onnx::Extents pads = both(padding.height, padding.width);
  pads.insert(pads.end(), {pads[0], pads[1]});
  std::vector<std::string> inputs{graph.transpose(x.name(), channels_first_axes), weight};
  if (!bias.empty()) inputs.push_back(weight_of(graph, bias));
  const std::string y = graph.add(op, std::move(inputs),
                                  {{"kernel_shape", both(kernel.height, kernel.width)},
                                   {"strides", both(stride, stride)},
                                   {"pads", std::move(pads)},
                                   {"group", static_cast<std::int64_t>(groups)}});
  return x.like(graph.transpose(y, channels_last_axes), shape);
}

}  // namespace detail

template <class T, class Device>
[[nodiscard]] Traced<T, Device> conv2d(const Traced<T, Device>& x,
                                       const Parameter<T, Device>& weight,
                                       const Parameter<T, Device>& bias = {},
                                       std::size_t stride = 1, const HeightWidth& padding = 0) {
  const ConvShape s = detail::conv_shape(x.shape(), weight, stride, padding);
  return detail::convolved("Conv", x, detail::weight_of(x.graph(), weight), bias, s.kernel, stride,
                           padding, 1, {s.rows, s.out_height(), s.out_width(), s.out});
}

template <class T, class Device>
[[nodiscard]] Traced<T, Device> conv_transpose2d(const Traced<T, Device>& x,
                                                 const Parameter<T, Device>& weight,
                                                 const Parameter<T, Device>& bias = {},
                                                 std::size_t stride = 1,
                                                 const HeightWidth& padding = 0) {
  const ConvShape s = detail::transposed_shape(x.shape(), weight, stride, padding);
  return detail::convolved("ConvTranspose", x, detail::weight_of(x.graph(), weight), bias, s.kernel,
                           stride, padding, 1, {s.rows, s.height, s.width, s.in});
}

template <class T, class Device>
[[nodiscard]] Traced<T, Device> resample(const Traced<T, Device>& x, Resampling direction,
                                         const Tensor<T, Device>& filter) {
  const Shape shape = detail::resampled_shape(x.shape(), direction);
  const std::size_t taps = filter.size(), channels = x.shape().last();
  std::vector<T> weights;  // (channels, 1, taps, taps)
  for (std::size_t c = 0; c < channels; ++c)
    for (std::size_t i = 0; i < taps; ++i)
      for (std::size_t j = 0; j < taps; ++j) weights.push_back(filter[i] * filter[j]);
  const auto k = static_cast<std::int64_t>(taps);
  const std::string weight =
      x.graph().constant({static_cast<std::int64_t>(channels), 1, k, k}, std::move(weights));
  return detail::convolved(direction == Resampling::up ? "ConvTranspose" : "Conv", x, weight,
                           Parameter<T, Device>{}, taps, 2, taps / 2 - 1, channels, shape);
}

// --------------------------------------------------------------------------------------- norms

namespace detail {

/// (x - mean) / sqrt(var + eps) of the value `x` over `axes`.
template <class T>
[[nodiscard]] std::string standardised(onnx::Graph& graph, const std::string& x,
                                       const onnx::Extents& axes, double epsilon) {
  const std::string over = graph.integers(axes);
  const std::string centred = graph.add("Sub", {x, graph.add("ReduceMean", {x, over})});
  const std::string variance =
      graph.add("ReduceMean", {graph.add("Mul", {centred, centred}), over});
  const std::string deviation =
      graph.add("Sqrt", {scaled<T>(graph, variance, T(1), static_cast<T>(epsilon))});
  return graph.add("Div", {centred, deviation});
}

/// (x - mean) / sqrt(var + eps) of x (B, ..., C), over pixels and the channels of a group.
template <class T, class Device>
[[nodiscard]] std::string group_standardised(const Traced<T, Device>& x, std::size_t groups,
                                             double epsilon) {
  const NormShape n = norm_shape(x.shape(), groups);
  onnx::Graph& graph = x.graph();
  const Shape grouped{n.rows, x.shape().row_size() / n.channels, groups, n.channels / groups};
  const std::string parts = reshaped(graph, x.name(), grouped);
  return reshaped(graph, standardised<T>(graph, parts, {1, 3}, epsilon), x.shape());
}

}  // namespace detail

template <class F = Identity, class T, class Device>
[[nodiscard]] Traced<T, Device> group_norm(const Traced<T, Device>& x,
                                           const Traced<T, Device>& scale,
                                           const Traced<T, Device>& shift, std::size_t groups,
                                           double epsilon = 1e-5, F f = {}) {
  onnx::Graph& graph = x.graph();
  const std::size_t rank = x.shape().rank();
  const std::string y =
      detail::modulated(graph, detail::group_standardised(x, groups, epsilon),
                        detail::over_channels(scale, rank), detail::over_channels(shift, rank));
  return unary(f, x.like(y, x.shape()));
}

template <class F = Identity, class T, class Device>
[[nodiscard]] Traced<T, Device> group_norm(const Traced<T, Device>& x,
                                           const Parameter<T, Device>& scale,
                                           const Parameter<T, Device>& shift, std::size_t groups,
                                           double epsilon = 1e-5, F f = {}) {
  onnx::Graph& graph = x.graph();
  const std::string y =
      detail::modulated(graph, detail::group_standardised(x, groups, epsilon),
                        detail::weight_of(graph, scale), detail::weight_of(graph, shift));
  return unary(f, x.like(y, x.shape()));
}

template <class F = Identity, class T, class Device>
[[nodiscard]] Traced<T, Device> group_norm_of_sum(
    const Traced<T, Device>& x, const Traced<T, Device>& added, const Parameter<T, Device>& scale,
    const Parameter<T, Device>& shift, std::size_t groups, double epsilon = 1e-5, F f = {}) {
  const std::string sum =
      x.graph().add("Add", {x.name(), detail::over_channels(added, x.shape().rank())});
  return group_norm(x.like(sum, x.shape()), scale, shift, groups, epsilon, f);
}

template <class T, class Device>
[[nodiscard]] Traced<T, Device> layer_norm(
    const Traced<T, Device>& x, const std::type_identity_t<Parameter<T, Device>>& weight = {},
    const std::type_identity_t<Parameter<T, Device>>& bias = {}, double epsilon = 1e-5) {
  detail::check_row_norm("layer_norm", x.shape(), weight);
  detail::check_row_norm("layer_norm", x.shape(), bias);
  onnx::Graph& graph = x.graph();
  std::string y = detail::standardised<T>(graph, x.name(), {-1}, epsilon);
  if (!weight.empty()) y = graph.add("Mul", {y, detail::weight_of(graph, weight)});
  if (!bias.empty()) y = graph.add("Add", {y, detail::weight_of(graph, bias)});
  return x.like(std::move(y), x.shape());
}

template <class T, class Device>
[[nodiscard]] Traced<T, Device> rms_norm(
    const Traced<T, Device>& x, const std::type_identity_t<Parameter<T, Device>>& weight = {},
    double epsilon = 1e-6) {
  detail::check_row_norm("rms_norm", x.shape(), weight);
  onnx::Graph& graph = x.graph();
  const std::string squares = graph.add("Mul", {x.name(), x.name()});
  const std::string mean = graph.add("ReduceMean", {squares, graph.integers({-1})});
  const std::string root =
      graph.add("Sqrt", {detail::scaled<T>(graph, mean, T(1), static_cast<T>(epsilon))});
  std::string y = graph.add("Div", {x.name(), root});
  if (!weight.empty()) y = graph.add("Mul", {y, detail::weight_of(graph, weight)});
  return x.like(std::move(y), x.shape());
}

template <class T, class Device>
[[nodiscard]] Traced<T, Device> modulated_layer_norm(const Traced<T, Device>& x,
                                                     const Traced<T, Device>& shift,
                                                     const Traced<T, Device>& scale,
                                                     double epsilon = 1e-6) {
  onnx::Graph& graph = x.graph();
  const std::size_t rank = x.shape().rank();
  const std::string n = detail::standardised<T>(graph, x.name(), {-1}, epsilon);
  const std::string factor = detail::over_channels(affine(scale, 1, 1), rank);
  return x.like(detail::modulated(graph, n, factor, detail::over_channels(shift, rank)), x.shape());
}

}  // namespace meanflow
