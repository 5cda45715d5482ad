// SPDX-License-Identifier: MIT
/// \file
/// A graph as an ONNX file. The numbers of fields are those of onnx.proto.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <string>
#include <variant>

#include <protozero/pbf_writer.hpp>

#include <meanflow/config.hpp>
#include <meanflow/error.hpp>
#include <meanflow/io/file.hpp>
#include <meanflow/onnx/graph.hpp>

namespace meanflow::onnx {

/// The set of operators that graphs are written in, with the version of the format that belongs to
/// it: what every runtime since the middle of 2024 reads. Later sets do not change any that is
/// used.
inline constexpr std::int64_t opset = 21, ir_version = 10;

namespace detail {

using protozero::pbf_writer;

inline void write_attribute(pbf_writer& node, const std::string& name, const Attribute& value) {
  enum Type { floating = 1, integer = 2, text = 3, integers = 7 };
  pbf_writer attribute(node, 5);
  attribute.add_string(1, name);
  if (const auto* i = std::get_if<std::int64_t>(&value)) {
    attribute.add_int64(3, *i);
    attribute.add_enum(20, integer);
  } else if (const auto* f = std::get_if<float>(&value)) {
    attribute.add_float(2, *f);
    attribute.add_enum(20, floating);
  } else if (const auto* s = std::get_if<std::string>(&value)) {
    attribute.add_bytes(4, *s);
    attribute.add_enum(20, text);
  } else {
    for (const std::int64_t extent : std::get<Extents>(value)) attribute.add_int64(8, extent);
    attribute.add_enum(20, integers);
  }
}

inline void write_node(pbf_writer& graph, const Node& node) {
  pbf_writer written(graph, 1);
  for (const std::string& input : node.inputs) written.add_string(1, input);
  written.add_string(2, node.output);
  written.add_string(3, node.output);
  written.add_string(4, node.op);
  for (const auto& [name, value] : node.attributes) write_attribute(written, name, value);
}

inline void write_constant(pbf_writer& graph, const Constant& constant) {
  pbf_writer tensor(graph, 5);
  for (const std::int64_t extent : constant.extents) tensor.add_int64(1, extent);
  tensor.add_int32(2, static_cast<std::int32_t>(constant.type));
  tensor.add_string(8, constant.name);
  tensor.add_bytes(9, reinterpret_cast<const char*>(constant.bytes.data()), constant.bytes.size());
}

inline void write_value(pbf_writer& graph, protozero::pbf_tag_type tag, const Value& value) {
  pbf_writer info(graph, tag);
  info.add_string(1, value.name);
  pbf_writer type(info, 2);
  pbf_writer tensor(type, 1);
  tensor.add_int32(1, static_cast<std::int32_t>(value.type));
  pbf_writer shape(tensor, 2);
  for (const std::int64_t extent : value.extents) {
    pbf_writer dimension(shape, 1);
    if (extent == batch)
      dimension.add_string(2, "batch");
    else
      dimension.add_int64(1, extent);
  }
}

}  // namespace detail

/// The bytes of the file.
/// Throws SettingError if the numbers are more than the format's 2 GiB.
[[nodiscard]] inline std::string serialize(const Graph& graph, const std::string& name,
                                           const std::map<std::string, std::string>& metadata) {
  std::size_t bytes = 0;
  for (const Constant& constant : graph.constants()) bytes += constant.bytes.size();
  constexpr std::size_t most = std::numeric_limits<std::int32_t>::max();
  if (bytes > most / 100 * 99)
    throw SettingError("export_onnx: the parameters are " + std::to_string(bytes) +
                       " bytes, but a file of ONNX holds at most " + std::to_string(most));
  std::string text;
  text.reserve(bytes + bytes / 100 + (std::size_t{1} << 16));
  detail::pbf_writer model(text);
  model.add_int64(1, ir_version);
  model.add_string(2, "meanflow");
  model.add_string(3, std::to_string(version.major) + "." + std::to_string(version.minor) + "." +
                          std::to_string(version.patch));
  {
    detail::pbf_writer written(model, 7);
    for (const Node& node : graph.nodes()) detail::write_node(written, node);
    written.add_string(2, name);
    for (const Constant& constant : graph.constants()) detail::write_constant(written, constant);
    for (const Value& value : graph.inputs()) detail::write_value(written, 11, value);
    for (const Value& value : graph.outputs()) detail::write_value(written, 12, value);
  }
  {
    detail::pbf_writer operators(model, 8);
    operators.add_string(1, "");
    operators.add_int64(2, opset);
  }
  for (const auto& [key, value] : metadata) {
    detail::pbf_writer entry(model, 14);
    entry.add_string(1, key);
    entry.add_string(2, value);
  }
  return text;
}

}  // namespace meanflow::onnx
