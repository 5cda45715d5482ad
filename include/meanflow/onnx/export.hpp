// SPDX-License-Identifier: MIT
/// \file
/// Nets as ONNX files, which other runtimes sample from.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <meanflow/data/scaling.hpp>
#include <meanflow/flow/sampler.hpp>
#include <meanflow/io/file.hpp>
#include <meanflow/nn/net.hpp>
#include <meanflow/onnx/elementwise.hpp>
#include <meanflow/onnx/graph.hpp>
#include <meanflow/onnx/layers.hpp>
#include <meanflow/onnx/tokens.hpp>
#include <meanflow/onnx/traced.hpp>
#include <meanflow/onnx/write.hpp>
#include <meanflow/train/model.hpp>

namespace meanflow {

/// What the graph of an export computes.
enum class OnnxGraph {
  sampler,  ///< `sample` (B, ...) from `noise` (B, ...), along all steps, in the data's own units
  net,      ///< `u` (B, ...) from `z` (B, ...), `r` (B, 1) and `t` (B, 1)
};

struct OnnxOptions {
  OnnxGraph graph = OnnxGraph::sampler;
  std::size_t steps = 1;       ///< of the sampler, equal ones
  bool instantaneous = false;  ///< the net learnt the velocity alone: Euler's rule with u(z, t, t)
  Shape row_shape{};           ///< of z; empty: the net's `row_shape()`
  Scaling scaling{};           ///< of the data, undone at the end of the sampler
  std::map<std::string, std::string> metadata{};  ///< kept in the file
};

/// A net on the host that can be traced: its call operator takes `Traced` as it takes the other
/// kinds of value. A net that is made of this library's operations can.
template <class N>
concept ExportableNet = Net<N> && on_host<typename N::device_type> &&
                        CallableWith<N, Traced<typename N::value_type, typename N::device_type>>;

namespace detail {

/// The rows that a net is traced with. Two, so that what differs from row to row is noticed.
inline constexpr std::size_t traced_rows = 2;

/// A number other than `given`, which a net may be told in its place.
[[nodiscard]] inline std::int32_t different_value(std::int32_t given) { return given == 0 ? 1 : 0; }
template <class T>
[[nodiscard]] T different_value(T given) {
  return given + T(0.5);
}

/// A condition of `traced_rows` rows with the parts of `example`, as inputs of the graph.
template <Condition C>
[[nodiscard]] C condition_inputs(onnx::Trace& trace, const C& example) {
  if constexpr (requires { example.dropout.rows; })
    if (!example.dropout.rows.empty())
      throw Error("export_onnx: dropout that is drawn cannot be exported");
  C condition{};
  const auto declare = [&](const char* name, const auto& given, auto& part) {
    if (given.empty()) return;
    using Part = std::remove_cvref_t<decltype(part)>;
    part = Part(given.shape().with_rows(traced_rows));
    for (std::size_t i = 0; i < given.row_size(); ++i) {
      part.row(0)[i] = given[i];
      part.row(1)[i] = different_value(given[i]);
    }
    trace.given[part.data()] =
        trace.graph.input({name, onnx::element_type<typename Part::value_type>,
                           onnx::extents_of_batch(part.shape())});
  };
  C::fields(declare, example, condition);
  return condition;
}

/// The parts that a net can be told: those of its null condition; none if it has no such.
template <class N>
[[nodiscard]] meanflow::ConditionOf<N> parts_of(const N& net) {
  try {
    return null_condition_of(net, "export_onnx");
  } catch (const SettingError&) {  // built without, as a net of no classes
    return {};
  }
}

/// A number for every row, (B, 1).
template <class T, class Device>
[[nodiscard]] Traced<T, Device> time_like(const Traced<T, Device>& z, double time) {
  return constant_like(z, Tensor<T, Device>::full({z.rows(), 1}, static_cast<T>(time)));
}

/// z_r = z_t - (t - r) u(z_t, r, t) along equal steps from 1 to 0, as `sample` computes it.
template <class N, class X>
[[nodiscard]] X traced_samples(const N& net, X z, const meanflow::ConditionOf<N>& condition,
                               const OnnxOptions& options) {
  using T = typename N::value_type;
  const std::vector<double> times = uniform_times(options.steps);
  for (std::size_t i = 0; i + 1 < times.size(); ++i) {
    const X t = time_like(z, times[i]);
    const X r = options.instantaneous ? t : time_like(z, times[i + 1]);
    z = z - affine(evaluate(net, z, r, t, condition), static_cast<T>(times[i] - times[i + 1]), 0);
  }
  return z;
}

/// Column by column back to the units of the data.
template <class T, class Device>
[[nodiscard]] Traced<T, Device> unscaled(const Traced<T, Device>& x, const Scaling& scaling) {
  if (scaling.identity()) return x;
  onnx::Graph& graph = x.graph();
  const auto columns = static_cast<std::int64_t>(scaling.mean.size());
  if (x.shape().row_size() % scaling.mean.size() != 0)
    throw ShapeError("export_onnx: a scaling of " + std::to_string(columns) +
                     " columns for rows of shape " + to_string(x.shape().row()));
  const auto numbers = [&](const std::vector<double>& values) {
    return graph.constant({columns}, std::vector<T>(values.begin(), values.end()));
  };
  const std::string y = modulated(graph, graph.reshape(x.name(), {0, -1, columns}),
                                  numbers(scaling.scale), numbers(scaling.mean));
  return reshape(x.like(y, x.shape()), x.shape());
}

template <class N>
[[nodiscard]] Shape row_shape_of(const N& net, const OnnxOptions& options) {
  if (options.row_shape.rank() > 0) return options.row_shape;
  if constexpr (requires { net.row_shape(); }) return net.row_shape();
  throw SettingError("export_onnx: the shape of a sample is not known; set row_shape");
}

/// Records what the options ask for.
template <class N>
void trace_net(onnx::Trace& trace, const N& net, const OnnxOptions& options,
               const meanflow::ConditionOf<N>& example) {
  using T = typename N::value_type;
  using X = Traced<T, typename N::device_type>;
  const Shape shape = row_shape_of(net, options).batch_of(traced_rows);
  const auto input = [&](const char* name, const Shape& s) {
    return X(trace, trace.graph.input({name, onnx::element_type<T>, onnx::extents_of_batch(s)}), s);
  };
  const auto count_rows = [&](const X& x) {
    trace.rows = trace.graph.add("Shape", {x.name()},
                                 {{"start", std::int64_t{0}}, {"end", std::int64_t{1}}});
  };
  const auto finish = [&](const X& y, const char* name) {
    if (!(y.shape() == shape))
      throw_shape_error("export_onnx", y.shape(), shape, "the net must give the shape of z");
    trace.graph.output(y.name(), {name, onnx::element_type<T>, onnx::extents_of_batch(shape)});
  };
  if (options.graph == OnnxGraph::sampler) {
    const X noise = input("noise", shape);
    count_rows(noise);
    const auto condition = condition_inputs(trace, example);
    finish(unscaled(traced_samples(net, noise, condition, options), options.scaling), "sample");
    return;
  }
  const X z = input("z", shape), r = input("r", {traced_rows, 1}), t = input("t", {traced_rows, 1});
  count_rows(z);
  finish(evaluate(net, z, r, t, condition_inputs(trace, example)), "u");
}

}  // namespace detail

/// Writes the net, with the values that its parameters have, as an ONNX file: its inputs and output
/// are those of `OnnxGraph`, for batches of any number of rows, and numbers are of the net's own
/// type. Each part of a condition is an input of its own name, labels as 64-bit integers. Which
/// parts there are is told by `example`, whose first row stands for any; without one they are those
/// of the net's null condition. The file is written whole or not at all.
/// Throws FileError if it cannot be written, Error if the net computes something from a condition
/// outside of operations, and SettingError if the parameters exceed the 2 GiB of the format.
template <ExportableNet N>
void export_onnx(const std::filesystem::path& path, const N& net, const OnnxOptions& options,
                 const ConditionOf<N>& example) {
  onnx::Trace trace;
  detail::trace_net(trace, net, options, example);
  trace.graph.drop_unused();
  AtomicFile file(path);
  file.write(onnx::serialize(trace.graph, "meanflow", options.metadata));
  file.commit();
}

template <ExportableNet N>
void export_onnx(const std::filesystem::path& path, const N& net, const OnnxOptions& options = {}) {
  export_onnx(path, net, options, detail::parts_of(net));
}

/// The same for a model, which knows its scaling, the shape of its samples, and what it learnt.
template <ExportableNet N>
void export_onnx(const std::filesystem::path& path, const Model<N>& model,
                 OnnxOptions options = {}) {
  options.scaling = model.info.scaling;
  options.instantaneous = model.info.instantaneous;
  if (options.row_shape.rank() == 0) options.row_shape = model.info.row_shape;
  export_onnx(path, model.net, options);
}

}  // namespace meanflow
