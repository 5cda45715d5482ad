// SPDX-License-Identifier: MIT
// What an export records. That it computes the same elsewhere is what check.py sees.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <protozero/pbf_reader.hpp>

#include <meanflow/onnx.hpp>

using namespace meanflow;

namespace {

/// How many nodes compute `op`.
std::size_t count(const onnx::Graph& graph, const std::string& op) {
  return static_cast<std::size_t>(
      std::ranges::count_if(graph.nodes(), [&](const onnx::Node& node) { return node.op == op; }));
}

std::vector<std::string> names(const std::vector<onnx::Value>& values) {
  std::vector<std::string> names;
  for (const onnx::Value& value : values) names.push_back(value.name);
  return names;
}

/// A net that is told labels, and does with them what `Use` says.
template <class Use>
class Told {
 public:
  using value_type = float;
  using device_type = Cpu;
  using condition_type = LabelCondition<>;

  [[nodiscard]] const Parameters<float>& parameters() const { return parameters_; }
  [[nodiscard]] Shape row_shape() const { return {2}; }
  [[nodiscard]] std::int32_t null_class() const { return 3; }

  template <class X>
  [[nodiscard]] X operator()(const X& z, const X& /*r*/, const X& /*t*/,
                             const condition_type& given) const {
    return z + Use{}(z, given.labels);
  }

 private:
  Parameters<float> parameters_{1};
};

struct ByHand {
  template <class X>
  X operator()(const X& z, const Tensor<std::int32_t>& labels) const {
    Tensor<float> values({labels.rows(), 1});
    for (std::size_t i = 0; i < labels.rows(); ++i) values[i] = static_cast<float>(labels[i]);
    return constant_like(z, values);
  }
};

struct ByOperation {
  template <class X>
  X operator()(const X& z, const Tensor<std::int32_t>& labels) const {
    return sum_last(one_hot(labels, 3, 2.F, z));
  }
};

struct Merged {
  template <class X>
  X operator()(const X& z, const Tensor<std::int32_t>& /*labels*/) const {
    return reshape(reshape(z, {1, z.shape().size()}), z.shape());
  }
};

template <class N>
onnx::Trace& traced(onnx::Trace& trace, const N& net, const OnnxOptions& options) {
  detail::trace_net(trace, net, options, detail::parts_of(net));
  trace.graph.drop_unused();
  return trace;
}

}  // namespace

TEST_CASE("a graph has the net's inputs and its parameters by name") {
  const Mlp<float> net({.dimension = 2, .hidden = 8, .layers = 1, .condition = 3});
  onnx::Trace trace;
  const onnx::Graph& graph = traced(trace, net, {.graph = OnnxGraph::net}).graph;
  CHECK(names(graph.inputs()) == std::vector<std::string>{"z", "r", "t", "values"});
  CHECK(names(graph.outputs()) == std::vector<std::string>{"u"});
  CHECK(graph.inputs()[0].extents == onnx::Extents{onnx::batch, 2});
  CHECK(count(graph, "Gemm") == 2);
  std::vector<std::string> weights;
  for (const onnx::Constant& constant : graph.constants())
    if (constant.name.starts_with("layers")) weights.push_back(constant.name);
  CHECK(weights == std::vector<std::string>{"layers.0.weight", "layers.0.bias", "layers.1.weight",
                                            "layers.1.bias"});
}

TEST_CASE("a sampler evaluates the net once for each step, and needs no time") {
  const Mlp<float> net({.hidden = 8, .layers = 1});
  onnx::Trace trace;
  const onnx::Graph& graph = traced(trace, net, {.steps = 3}).graph;
  CHECK(names(graph.inputs()) == std::vector<std::string>{"noise"});
  CHECK(names(graph.outputs()) == std::vector<std::string>{"sample"});
  CHECK(count(graph, "Gemm") == 6);
}

TEST_CASE("transpositions that undo each other fall away") {
  onnx::Trace trace;
  Parameters<float> parameters;
  const Conv2d<float> first(parameters, "first", 3, 4), second(parameters, "second", 4, 5);
  const Traced<float> x(trace, trace.graph.input({"x", onnx::ElementType::float32, {-1, 8, 8, 3}}),
                        {2, 8, 8, 3});
  const auto y = second(first(x));
  trace.graph.output(y.name(), {"y", onnx::ElementType::float32, {-1, 8, 8, 5}});
  trace.graph.drop_unused();
  CHECK(count(trace.graph, "Conv") == 2);
  CHECK(count(trace.graph, "Transpose") == 2);
}

TEST_CASE("what is computed from a condition by operations is exported, and by hand refused") {
  onnx::Trace trace;
  const onnx::Graph& graph = traced(trace, Told<ByOperation>(), {}).graph;
  CHECK(names(graph.inputs()) == std::vector<std::string>{"noise", "labels"});
  CHECK(graph.inputs()[1].type == onnx::ElementType::int64);
  onnx::Trace second;
  CHECK_THROWS_WITH_AS(traced(second, Told<ByHand>(), {}),
                       "constant_like: numbers of shape (2, 1) differ from row to row and are no "
                       "part of the condition, so they cannot be exported; let operations compute "
                       "them from the condition",
                       Error);
}

TEST_CASE("what has no form in a graph is refused by name") {
  onnx::Trace trace;
  CHECK_THROWS_WITH_AS(traced(trace, Told<Merged>(), {}),
                       "reshape: shape (2, 2) does not fit shape (1, 4) (for an export the batch "
                       "must stay, and the elements be as many)",
                       ShapeError);
  const Traced<float> x(trace, "x", {2, 3, 4});
  AttentionSettings<> settings;
  settings.keep = Tensor<std::uint8_t>::full({2, 3}, 1);
  CHECK_THROWS_WITH_AS((void)attention(x, x, x, settings),
                       "attention: tokens that are left out (keep) cannot be exported", Error);
  const MeanFlowNet<float> net({.base = 8, .multipliers = {1}, .blocks = 1, .embedding = 8});
  CHECK_THROWS_WITH_AS(export_onnx("never.onnx", net),
                       "export_onnx: the shape of a sample is not known; set row_shape",
                       SettingError);
  CHECK_FALSE(std::filesystem::exists("never.onnx"));
}

TEST_CASE("a file says who wrote it, and in which operators") {
  const std::filesystem::path folder = std::filesystem::temp_directory_path() / "meanflow_onnx";
  std::filesystem::create_directories(folder);
  const std::filesystem::path path = folder / "toy.onnx";
  // [docs:onnx]
  const Mlp<float> net({.dimension = 2, .hidden = 64});  // a trained one
  export_onnx(path, net, {.steps = 1, .metadata = {{"data", "rings"}}});
  // [docs:end]
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  protozero::pbf_reader model(bytes);
  std::string producer, key;
  std::int64_t operators = 0;
  while (model.next()) switch (model.tag()) {
      case 2:
        producer = model.get_string();
        break;
      case 8: {
        protozero::pbf_reader set = model.get_message();
        while (set.next())
          if (set.tag() == 2)
            operators = set.get_int64();
          else
            set.skip();
        break;
      }
      case 14: {
        protozero::pbf_reader entry = model.get_message();
        while (entry.next())
          if (entry.tag() == 1)
            key = entry.get_string();
          else
            entry.skip();
        break;
      }
      default:
        model.skip();
    }
  CHECK(producer == "meanflow");
  CHECK(operators == onnx::opset);
  CHECK(key == "data");
  CHECK_THROWS_AS(export_onnx(folder / "missing" / "toy.onnx", net), FileError);
  std::filesystem::remove_all(folder);
}

TEST_CASE("a file of more than 2 GiB is refused before it is written") {
  onnx::Graph graph;
  const std::vector<float> few(1);
  const std::span<const float> many(few.data(), std::size_t{1} << 30);  // which nobody reads
  graph.weight("huge", {1 << 30}, many);
  CHECK_THROWS_WITH_AS((void)onnx::serialize(graph, "huge", {}),
                       "export_onnx: the parameters are 4294967296 bytes, but a file of ONNX holds "
                       "at most 2147483647",
                       SettingError);
}
