// SPDX-License-Identifier: MIT
/// \file
/// A computation as ONNX describes it, in memory: named values, nodes between them, constants.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <meanflow/error.hpp>

namespace meanflow::onnx {

/// The numbers of TensorProto.DataType.
enum class ElementType : std::int32_t { float32 = 1, int64 = 7, float64 = 11 };

/// T is float, double or an integer, which is written as one of 64 bits.
template <class T>
inline constexpr ElementType element_type = std::is_same_v<T, double>  ? ElementType::float64
                                            : std::is_same_v<T, float> ? ElementType::float32
                                                                       : ElementType::int64;

/// The extent of a batch, whatever its rows will be.
inline constexpr std::int64_t batch = -1;

using Extents = std::vector<std::int64_t>;
using Attribute = std::variant<std::int64_t, float, std::string, Extents>;
using Attributes = std::vector<std::pair<std::string, Attribute>>;

/// output = op(inputs)
struct Node {
  std::string op;
  std::vector<std::string> inputs;
  std::string output;
  Attributes attributes{};
};

/// An input or an output of the graph.
struct Value {
  std::string name;
  ElementType type;
  Extents extents;  ///< `batch` where any number of rows may be given
};

/// An initializer. It sees its numbers, and does not own them.
struct Constant {
  std::string name;
  ElementType type;
  Extents extents;
  std::span<const std::byte> bytes;
};

/// The graph while it grows: every function that adds gives the name of what it added.
class Graph {
 public:
  Graph() = default;
  Graph(const Graph&) = delete;  // constants see numbers that the graph itself keeps
  Graph& operator=(const Graph&) = delete;

  [[nodiscard]] const std::vector<Value>& inputs() const { return inputs_; }
  [[nodiscard]] const std::vector<Value>& outputs() const { return outputs_; }
  [[nodiscard]] const std::vector<Constant>& constants() const { return constants_; }
  [[nodiscard]] const std::vector<Node>& nodes() const { return nodes_; }

  std::string input(Value value) {
    take(value.name);
    inputs_.push_back(std::move(value));
    return inputs_.back().name;
  }

  /// Makes the value `from` an output of that name.
  void output(const std::string& from, Value value) {
    take(value.name);
    nodes_.push_back({"Identity", {from}, value.name});
    outputs_.push_back(std::move(value));
  }

  std::string add(const std::string& op, std::vector<std::string> inputs,
                  Attributes attributes = {}) {
    const std::string name = "/" + op + "_" + std::to_string(nodes_.size());
    nodes_.push_back({op, std::move(inputs), name, std::move(attributes)});
    return name;
  }

  /// x with its axes in the order `axes`; the second of two that undo each other is x again.
  std::string transpose(const std::string& x, const Extents& axes) {
    if (const auto made = transposed_.find(x); made != transposed_.end()) {
      const auto& [from, before] = made->second;
      bool undone = axes.size() == before.size();
      for (std::size_t i = 0; undone && i < axes.size(); ++i)
        undone = before[static_cast<std::size_t>(axes[i])] == static_cast<std::int64_t>(i);
      if (undone) return from;
    }
    std::string name = add("Transpose", {x}, {{"perm", axes}});
    transposed_[name] = {x, axes};
    return name;
  }

  /// A copy of numbers; equal ones are kept once.
  template <class T>
  std::string constant(const Extents& extents, std::vector<T> values) {
    const auto bytes = std::as_bytes(std::span(values));
    const std::tuple key{element_type<T>, extents,
                         std::vector<std::byte>(bytes.begin(), bytes.end())};
    const auto [place, fresh] = kept_.try_emplace(key, "/constant_" + std::to_string(kept_.size()));
    if (fresh)
      constants_.push_back({place->second, element_type<T>, extents, std::get<2>(place->first)});
    return place->second;
  }
  std::string integers(std::vector<std::int64_t> values) {
    const auto size = static_cast<std::int64_t>(values.size());
    return constant<std::int64_t>({size}, std::move(values));
  }
  template <class T>
  std::string number(T value) {
    return constant<T>({}, {value});
  }

  /// x under other extents; 0 is an extent as it is, -1 what is left.
  std::string reshape(const std::string& x, Extents extents) {
    return add("Reshape", {x, integers(std::move(extents))});
  }

  /// The parameter of that name, whose numbers stay where they are until the graph is written.
  template <class T>
  std::string weight(const std::string& name, const Extents& extents, std::span<const T> values) {
    const auto [place, fresh] = weights_.try_emplace(name, values.data());
    if (!fresh && place->second != values.data())
      throw Error("export_onnx: two parameters are named " + name);
    if (!fresh) return name;
    take(name);
    constants_.push_back({name, element_type<T>, extents, std::as_bytes(values)});
    return name;
  }

  /// Removes what no output depends on.
  void drop_unused() {
    std::set<std::string> used;
    for (const Value& value : outputs_) used.insert(value.name);
    std::vector<Node> kept;
    for (auto node = nodes_.rbegin(); node != nodes_.rend(); ++node) {
      if (!used.contains(node->output)) continue;
      used.insert(node->inputs.begin(), node->inputs.end());
      kept.push_back(std::move(*node));
    }
    std::ranges::reverse(kept);
    nodes_ = std::move(kept);
    std::erase_if(constants_, [&](const Constant& c) { return !used.contains(c.name); });
  }

 private:
  /// Names of inputs, outputs and parameters differ, also from those of what is computed, "/Add_3".
  void take(const std::string& name) {
    if (name.starts_with('/') || !taken_.insert(name).second)
      throw Error("export_onnx: the name " + name +
                  " of a parameter or of a part of the condition is taken in the graph");
  }

  using Key = std::tuple<ElementType, Extents, std::vector<std::byte>>;

  std::vector<Value> inputs_, outputs_;
  std::vector<Constant> constants_;
  std::vector<Node> nodes_;
  std::map<Key, std::string> kept_;  // of which the constants see the bytes
  std::map<std::string, const void*> weights_;
  std::set<std::string> taken_;
  std::map<std::string, std::pair<std::string, Extents>> transposed_;
};

}  // namespace meanflow::onnx
