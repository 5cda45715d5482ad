// SPDX-License-Identifier: MIT
// Writes nets as ONNX files, each beside a safetensors file of what it is told and what this
// library makes of it, for check.py.
//
//   write_models FOLDER
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <string>

#include <meanflow/onnx.hpp>

namespace {

using namespace meanflow;
namespace fs = std::filesystem;

/// Values for which nothing cancels: layers that begin at zero would hide the others.
template <class N>
void stir(const N& net) {
  auto values = net.parameters().values();
  RandomStream stream(7, Purpose::initialisation, 3);
  for (auto& value : values.span())
    value += static_cast<std::remove_cvref_t<decltype(value)>>(0.05 * stream.normal<double>());
}

template <class T>
void add(SafetensorsWriter& writer, const std::string& name, const Tensor<T>& tensor) {
  writer.add(name, {tensor.shape().begin(), tensor.shape().end()}, tensor.span());
}

/// The graphs of the net alone and of the sampler, and what they are compared with.
template <class N>
void write(const fs::path& folder, const std::string& name, const N& net, const Shape& row,
           const ConditionOf<N>& condition = {}, const OnnxOptions& given = {}) {
  using T = typename N::value_type;
  stir(net);
  constexpr std::size_t rows = 3;
  const auto z = normal_noise<T>(row.batch_of(rows), 5);
  const auto r = Tensor<T>::from({rows, 1}, {T(0), T(0.25), T(0.5)});
  const auto t = Tensor<T>::from({rows, 1}, {T(1), T(0.25), T(0.75)});
  OnnxOptions options = given;
  options.row_shape = row;
  for (const OnnxGraph graph : {OnnxGraph::net, OnnxGraph::sampler}) {
    const bool sampler = graph == OnnxGraph::sampler;
    options.graph = graph;
    const fs::path path = folder / (name + (sampler ? ".sampler" : ".net"));
    export_onnx(path.string() + ".onnx", net, options, condition);
    SafetensorsWriter writer;
    add(writer, sampler ? "noise" : "z", z);
    if (!sampler) {
      add(writer, "r", r);
      add(writer, "t", t);
    }
    ConditionOf<N>::fields(
        [&](const char* part, const auto& values) {
          if (!values.empty()) add(writer, part, values);
        },
        condition);
    auto expected =
        sampler ? sample(net, z, options.steps, condition) : evaluate(net, z, r, t, condition);
    if (sampler) options.scaling.undo(expected.span());
    add(writer, "expected", expected);
    writer.write(path.string() + ".safetensors");
  }
}

/// An activation of one's own, as a user writes it.
struct Mish {
  static constexpr const char* name = "mish";
  template <class T>
  MEANFLOW_HOST_DEVICE T operator()(const T& x) const {
    return x * tanh(softplus(x));
  }
};

/// A net of one's own: nothing in it knows of exports.
class OwnNet {
 public:
  using value_type = float;
  using device_type = Cpu;

  [[nodiscard]] const Parameters<float>& parameters() const { return parameters_; }
  [[nodiscard]] Shape row_shape() const { return {6}; }

  template <class X>
  [[nodiscard]] X operator()(const X& z, const X& r, const X& t) const {
    const X h = unary(Mish{}, in_(concat(z, t, t - r)));
    const X tokens = reshape(h, {h.rows(), 4, 8});
    const X mixed = attention(tokens, tokens, softmax(tokens), {.heads = 2, .causal = true});
    const X seen = layer_norm(swap_axes(mixed + reshape(h, {h.rows(), 4, 8}), 1, 2));
    const X flat = reshape(seen, {h.rows(), 32});
    return max(out_(flat), -z) * exp(-square(mean(flat))) + sum_last(z) / 3;
  }

 private:
  Parameters<float> parameters_{7};
  Linear<float> in_{parameters_, "in", 8, 32};
  Linear<float> out_{parameters_, "out", 32, 6};
};

template <class T = float>
Tensor<T> numbers(const Shape& shape, T first, T step) {
  Tensor<T> tensor(shape);
  for (std::size_t i = 0; i < tensor.size(); ++i) tensor[i] = first + step * static_cast<T>(i);
  return tensor;
}

void write_all(const fs::path& folder) {
  const auto labels = Tensor<std::int32_t>::from({3}, {0, 2, 3});
  write(folder, "mlp", Mlp<>({.hidden = 32, .time = low_frequencies()}), {2}, {},
        {.steps = 2, .scaling = {{1, -2}, {3, 0.5}}});
  write(folder, "mlp_double", Mlp<double>({.hidden = 32, .octaves = 2, .residual = true}), {2});
  write(folder, "mlp_gelu_tanh", Mlp<float, Cpu, GeluTanh>({.hidden = 32}), {2});
  write(folder, "mlp_condition",
        Mlp<float, Cpu, Gelu>({.dimension = 3, .hidden = 32, .condition = 4}), {3},
        {numbers({3, 4}, -1.F, 0.2F)});
  write(folder, "own", OwnNet(), {6});
  const DiT<> told({.input_size = 4,
                    .patch_size = 2,
                    .in_channels = 1,
                    .hidden_size = 16,
                    .depth = 1,
                    .heads = 2,
                    .classes = 3});
  write(folder, "guided", GuidedSampling(told, 2.5), {4, 4, 1}, {labels});
  write(folder, "mean_flow_net",
        MeanFlowNet<>({.base = 16,
                       .multipliers = {1, 2},
                       .blocks = 1,
                       .classes = 3,
                       .embedding = 16,
                       .condition = 32,
                       .attention_levels = {1}}),
        {8, 8, 3}, {labels, {}, {}});
  SongUNetSettings song;
  song.resolution = 8;
  song.model_channels = 16;
  song.channel_mult = {1, 2};
  song.blocks = 1;
  song.attention_resolutions = {4};
  song.augmentation = 6;
  song.classes = 3;
  write(folder, "song_unet", SongUNet<>(song), {8, 8, 3}, {labels, numbers({3, 6}, 0.F, 0.1F), {}});
  AttentionUNetSettings attention;
  attention.dimension = 16;
  attention.multipliers = {1, 2};
  attention.classes = 3;
  write(folder, "attention_unet", AttentionUNet<>(attention), {8, 8, 3}, {labels, {}, {}});
  DiTSettings dit;
  dit.input_size = 8;
  dit.patch_size = 2;
  dit.hidden_size = 32;
  dit.depth = 2;
  dit.heads = 4;
  dit.classes = 3;
  write(folder, "dit", DiT<>(dit), {8, 8, 4}, {labels});
  ImfTransformerSettings imf;
  imf.input_size = 8;
  imf.hidden_size = 32;
  imf.depth = 3;
  imf.head_depth = 1;
  imf.heads = 4;
  imf.classes = 3;
  write(
      folder, "imf_transformer", ImfTransformer<>(imf), {8, 8, 4},
      {labels, numbers({3, 1}, 1.F, 2.F), numbers({3, 1}, 0.F, 0.1F), numbers({3, 1}, 0.5F, 0.2F)});
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: write_models FOLDER\n", stderr);
    return 2;
  }
  try {
    fs::create_directories(argv[1]);
    write_all(argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "write_models: %s\n", error.what());
    return 1;
  }
}
