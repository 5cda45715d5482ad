// SPDX-License-Identifier: MIT
/// \file
/// The Inception network whose features published distances are computed from: the FID (Heusel et
/// al., arXiv 1706.08500), the KID and the Inception score.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <initializer_list>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <meanflow/autodiff/parameters.hpp>
#include <meanflow/eval/pooling.hpp>
#include <meanflow/eval/resize.hpp>
#include <meanflow/io/safetensors.hpp>
#include <meanflow/kernels/elementwise.hpp>
#include <meanflow/ops/concat.hpp>
#include <meanflow/ops/conv.hpp>
#include <meanflow/ops/linear.hpp>
#include <meanflow/ops/reduce.hpp>
#include <meanflow/scalar/functors.hpp>

namespace meanflow {

/// What a network sees in images.
struct InceptionOutput {
  Tensor<float> features;  ///< (B, 2048) the mean over pixels before the last layer
  Tensor<float> logits;    ///< (B, 1008) of the classes, as the Inception score takes them
};

/// Inception-v3 (Szegedy et al., arXiv 1512.00567) as TensorFlow's frozen graph of 2015-12-05 has
/// it, which published values of the FID were computed with: averages at borders leave out what
/// lies outside, and the last block takes a maximum. For inference alone; its batch norms are
/// folded into the convolutions. The weights are not part of this library:
/// `tools/convert_inception.py` makes the file from the public PyTorch one.
class Inception {
 public:
  static constexpr std::size_t side = 299, feature_count = 2048, class_count = 1008;

  /// Reads the weights, NAME.conv.weight (out, in, k, l) and NAME.bn.weight, bias, running_mean and
  /// running_var (out) of each convolution, and fc.weight.
  /// Throws FileError, naming what is missing or has another shape.
  explicit Inception(const std::filesystem::path& path) {
    const Safetensors file(path);
    for (const Layer& layer : layers()) read(file, layer);
    weight_ = store_.add("fc.weight", {class_count, feature_count});
    read_into(file, "fc.weight", weight_);
  }

  /// What the network sees in images (B, H, W, C) with values in [-1, 1], C = 3 or 1, of any size.
  /// As they are measured by others, values are rounded down to bytes, floor(255 (x + 1) / 2), and
  /// images resized to 299 x 299 (`resize_bilinear_tf1`). Throws ShapeError on other channels.
  [[nodiscard]] InceptionOutput operator()(const Tensor<float>& images) const {
    const Shape s = images.shape();
    if (s.rank() != 4 || (s[3] != 3 && s[3] != 1))
      throw ShapeError("Inception: images of shape " + to_string(s) +
                       ", but they must be (B, H, W, 3) or (B, H, W, 1)");
    InceptionOutput result{Tensor<float>({s[0], feature_count}),
                           Tensor<float>({s[0], class_count})};
    // Few images on each core at a time: what a layer makes of them fits its cache better, and
    // there is nothing to share out within a layer.
    constexpr std::size_t together = 8;
    const std::size_t parts = (s[0] + together - 1) / together;
    kernels::parallel_tasks(Cpu{}, parts, [&](std::size_t part, std::size_t) {
      const std::size_t first = part * together, last = std::min(first + together, s[0]);
      const Tensor<float> features = mean_pixels(blocks(stem(prepared(images.rows(first, last)))));
      std::copy_n(features.data(), features.size(), result.features.row(first));
      const Tensor<float> logits = linear(features, weight_);
      std::copy_n(logits.data(), logits.size(), result.logits.row(first));
    });
    return result;
  }

 private:
  using Images = Tensor<float>;  // (B, H, W, C)

  struct Layer {
    std::string name;
    std::size_t in, out;
    HeightWidth kernel;
    std::size_t stride = 1;
    HeightWidth padding{};
  };
  struct Folded {
    Parameter<float> weight, bias;
    std::size_t stride = 1;
    HeightWidth padding{};
  };

  // ------------------------------------------------------------------------- the convolutions

  [[nodiscard]] static std::vector<Layer> layers() {
    std::vector<Layer> all{{"Conv2d_1a_3x3", 3, 32, 3, 2},
                           {"Conv2d_2a_3x3", 32, 32, 3},
                           {"Conv2d_2b_3x3", 32, 64, 3, 1, 1},
                           {"Conv2d_3b_1x1", 64, 80, 1},
                           {"Conv2d_4a_3x3", 80, 192, 3}};
    const auto add = [&](const std::string& block, std::vector<Layer> layers) {
      for (Layer& layer : layers) {
        layer.name = block + "." + layer.name;
        all.push_back(layer);
      }
    };
    add_35(add, "Mixed_5b", 192, 32);
    add_35(add, "Mixed_5c", 256, 64);
    add_35(add, "Mixed_5d", 288, 64);
    add("Mixed_6a", {{"branch3x3", 288, 384, 3, 2},
                     {"branch3x3dbl_1", 288, 64, 1},
                     {"branch3x3dbl_2", 64, 96, 3, 1, 1},
                     {"branch3x3dbl_3", 96, 96, 3, 2}});
    add_17(add, "Mixed_6b", 128);
    add_17(add, "Mixed_6c", 160);
    add_17(add, "Mixed_6d", 160);
    add_17(add, "Mixed_6e", 192);
    add("Mixed_7a", {{"branch3x3_1", 768, 192, 1},
                     {"branch3x3_2", 192, 320, 3, 2},
                     {"branch7x7x3_1", 768, 192, 1},
                     {"branch7x7x3_2", 192, 192, wide(7), 1, wide_border(3)},
                     {"branch7x7x3_3", 192, 192, tall(7), 1, tall_border(3)},
                     {"branch7x7x3_4", 192, 192, 3, 2}});
    add_8(add, "Mixed_7b", 1280);
    add_8(add, "Mixed_7c", 2048);
    return all;
  }

  [[nodiscard]] static HeightWidth wide(std::size_t n) { return {1, n}; }
  [[nodiscard]] static HeightWidth tall(std::size_t n) { return {n, 1}; }
  [[nodiscard]] static HeightWidth wide_border(std::size_t n) { return {0, n}; }
  [[nodiscard]] static HeightWidth tall_border(std::size_t n) { return {n, 0}; }

  /// The blocks of 35 x 35 pixels.
  static void add_35(const auto& add, const std::string& name, std::size_t in, std::size_t pooled) {
    add(name, {{"branch1x1", in, 64, 1},
               {"branch5x5_1", in, 48, 1},
               {"branch5x5_2", 48, 64, 5, 1, 2},
               {"branch3x3dbl_1", in, 64, 1},
               {"branch3x3dbl_2", 64, 96, 3, 1, 1},
               {"branch3x3dbl_3", 96, 96, 3, 1, 1},
               {"branch_pool", in, pooled, 1}});
  }
  /// Those of 17 x 17, with `n` channels inside.
  static void add_17(const auto& add, const std::string& name, std::size_t n) {
    add(name, {{"branch1x1", 768, 192, 1},
               {"branch7x7_1", 768, n, 1},
               {"branch7x7_2", n, n, wide(7), 1, wide_border(3)},
               {"branch7x7_3", n, 192, tall(7), 1, tall_border(3)},
               {"branch7x7dbl_1", 768, n, 1},
               {"branch7x7dbl_2", n, n, tall(7), 1, tall_border(3)},
               {"branch7x7dbl_3", n, n, wide(7), 1, wide_border(3)},
               {"branch7x7dbl_4", n, n, tall(7), 1, tall_border(3)},
               {"branch7x7dbl_5", n, 192, wide(7), 1, wide_border(3)},
               {"branch_pool", 768, 192, 1}});
  }
  /// Those of 8 x 8.
  static void add_8(const auto& add, const std::string& name, std::size_t in) {
    add(name, {{"branch1x1", in, 320, 1},
               {"branch3x3_1", in, 384, 1},
               {"branch3x3_2a", 384, 384, wide(3), 1, wide_border(1)},
               {"branch3x3_2b", 384, 384, tall(3), 1, tall_border(1)},
               {"branch3x3dbl_1", in, 448, 1},
               {"branch3x3dbl_2", 448, 384, 3, 1, 1},
               {"branch3x3dbl_3a", 384, 384, wide(3), 1, wide_border(1)},
               {"branch3x3dbl_3b", 384, 384, tall(3), 1, tall_border(1)},
               {"branch_pool", in, 192, 1}});
  }

  // --------------------------------------------------------------------------------- weights

  static void read_into(const Safetensors& file, const std::string& name,
                        const Parameter<float>& parameter) {
    const std::vector<float> values = numbers(file, name, parameter.shape());
    std::ranges::copy(values, parameter.data());
  }

  [[nodiscard]] static std::vector<float> numbers(const Safetensors& file, const std::string& name,
                                                  const Shape& shape) {
    const std::string wanted = " of shape " + to_string(shape);
    if (!file.contains(name))
      throw FileError(file.path().string() + " has no tensor " + name + wanted +
                      "; tools/convert_inception.py makes such files");
    const auto& found = file.shape(name);
    if (!std::ranges::equal(found, shape))
      throw FileError(file.path().string() + ": " + name + " is not" + wanted);
    return file.read<float>(name);
  }

  // w g / sqrt(var + eps) and b - mean g / sqrt(var + eps)
  void read(const Safetensors& file, const Layer& layer) {
    constexpr double epsilon = 0.001;
    const Shape channels{layer.out};
    const Shape shape{layer.out, layer.in, layer.kernel.height, layer.kernel.width};
    Folded folded{store_.add(layer.name + ".weight", shape),
                  store_.add(layer.name + ".bias", channels), layer.stride, layer.padding};
    const auto norm = [&](const char* what) {
      return numbers(file, layer.name + ".bn." + what, channels);
    };
    const auto gain = norm("weight"), shift = norm("bias"), mean = norm("running_mean"),
               variance = norm("running_var");
    const auto weight = numbers(file, layer.name + ".conv.weight", shape);
    float *w = folded.weight.data(), *b = folded.bias.data();
    for (std::size_t o = 0; o < layer.out; ++o) {
      const double factor = gain[o] / std::sqrt(variance[o] + epsilon);
      b[o] = static_cast<float>(shift[o] - mean[o] * factor);
      for (std::size_t i = o * shape.row_size(); i < (o + 1) * shape.row_size(); ++i)
        w[i] = static_cast<float>(weight[i] * factor);
    }
    folded_.emplace(layer.name, std::move(folded));
  }

  // ---------------------------------------------------------------------------- what is computed

  /// Bytes of three channels at 299 x 299, (x - 128) / 128.
  [[nodiscard]] static Images prepared(const Images& images) {
    const std::size_t channels = images.shape().last(), pixels = images.size() / channels;
    Images bytes({images.shape()[0], images.shape()[1], images.shape()[2], 3});
    for (std::size_t i = 0; i < pixels; ++i)
      for (std::size_t c = 0; c < 3; ++c) {
        // A little more, so that bytes that became floats are the same bytes again.
        const float value = 127.5F * (images[i * channels + std::min(c, channels - 1)] + 1.0F);
        bytes[i * 3 + c] = std::clamp(std::floor(value + 1e-3F), 0.0F, 255.0F);
      }
    Images resized = resize_bilinear_tf1(bytes, side, side);
    for (float& value : resized.span()) value = (value - 128.0F) / 128.0F;
    return resized;
  }

  /// relu(x * w + b) by the layer of that name.
  [[nodiscard]] Images convolved(const Images& x, const std::string& name) const {
    const Folded& layer = folded_.at(name);
    Images y = conv2d(x, layer.weight, Parameter<float>{}, layer.stride, layer.padding);
    const std::size_t channels = y.shape().last();
    kernels::bias_unary(Cpu{}, Relu{}, y.size() / channels, 0, channels,
                        static_cast<const float*>(layer.bias.data()), y.data(), nullptr);
    return y;
  }
  /// One layer after the other.
  [[nodiscard]] Images chain(Images x, const std::string& block,
                             std::initializer_list<const char*> names) const {
    for (const char* name : names) x = convolved(x, block + "." + name);
    return x;
  }

  [[nodiscard]] Images stem(Images x) const {
    for (const char* name : {"Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3"})
      x = convolved(x, name);
    x = pool_3x3(x, Pooling::maximum, 2, 0);
    for (const char* name : {"Conv2d_3b_1x1", "Conv2d_4a_3x3"}) x = convolved(x, name);
    return pool_3x3(x, Pooling::maximum, 2, 0);
  }

  [[nodiscard]] Images blocks(Images x) const {
    for (const char* name : {"Mixed_5b", "Mixed_5c", "Mixed_5d"}) x = block_35(x, name);
    x = reduced_to_17(x, "Mixed_6a");
    for (const char* name : {"Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"}) x = block_17(x, name);
    x = reduced_to_8(x, "Mixed_7a");
    x = block_8(x, "Mixed_7b", Pooling::average);
    return block_8(x, "Mixed_7c", Pooling::maximum);
  }

  [[nodiscard]] Images block_35(const Images& x, const std::string& name) const {
    return concat(chain(x, name, {"branch1x1"}), chain(x, name, {"branch5x5_1", "branch5x5_2"}),
                  chain(x, name, {"branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"}),
                  chain(pool_3x3(x, Pooling::average, 1, 1), name, {"branch_pool"}));
  }
  [[nodiscard]] Images reduced_to_17(const Images& x, const std::string& name) const {
    return concat(chain(x, name, {"branch3x3"}),
                  chain(x, name, {"branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"}),
                  pool_3x3(x, Pooling::maximum, 2, 0));
  }
  [[nodiscard]] Images block_17(const Images& x, const std::string& name) const {
    return concat(chain(x, name, {"branch1x1"}),
                  chain(x, name, {"branch7x7_1", "branch7x7_2", "branch7x7_3"}),
                  chain(x, name,
                        {"branch7x7dbl_1", "branch7x7dbl_2", "branch7x7dbl_3", "branch7x7dbl_4",
                         "branch7x7dbl_5"}),
                  chain(pool_3x3(x, Pooling::average, 1, 1), name, {"branch_pool"}));
  }
  [[nodiscard]] Images reduced_to_8(const Images& x, const std::string& name) const {
    return concat(
        chain(x, name, {"branch3x3_1", "branch3x3_2"}),
        chain(x, name, {"branch7x7x3_1", "branch7x7x3_2", "branch7x7x3_3", "branch7x7x3_4"}),
        pool_3x3(x, Pooling::maximum, 2, 0));
  }
  [[nodiscard]] Images block_8(const Images& x, const std::string& name, Pooling pooling) const {
    const Images three = chain(x, name, {"branch3x3_1"});
    const Images twice = chain(x, name, {"branch3x3dbl_1", "branch3x3dbl_2"});
    return concat(chain(x, name, {"branch1x1"}), chain(three, name, {"branch3x3_2a"}),
                  chain(three, name, {"branch3x3_2b"}), chain(twice, name, {"branch3x3dbl_3a"}),
                  chain(twice, name, {"branch3x3dbl_3b"}),
                  chain(pool_3x3(x, pooling, 1, 1), name, {"branch_pool"}));
  }

  Parameters<float> store_;
  std::map<std::string, Folded> folded_;
  Parameter<float> weight_;  // (classes, features); the score takes logits without a bias
};

}  // namespace meanflow
