// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/data/latent_source.hpp>
#include <meanflow/io/safetensors.hpp>
#include <meanflow/train/source.hpp>

#include "io/temporary_folder.hpp"

using namespace meanflow;
using namespace meanflow_test;

static_assert(DataSource<LatentSource, float, LabelCondition<float>>);

namespace {

constexpr std::size_t count = 6, side = 2, channels = 3, size = side * side * channels;

/// Means that tell image, place and channel apart; deviations of 0 unless asked for.
std::vector<float> means(float sign = 1) {
  std::vector<float> values;
  for (std::size_t i = 0; i < count * size; ++i)
    values.push_back(sign * (4 + 0.01f * static_cast<float>(i)));
  return values;
}

std::vector<float> constant(float value) { return std::vector<float>(count * size, value); }

/// An NPY file of constant(1) in float16.
std::string float16_ones() {
  std::string header = "{'descr': '<f2', 'fortran_order': False, 'shape': (6, 2, 2, 3), }\n";
  header.insert(0, std::string("\x93NUMPY\1\0", 8) + static_cast<char>(header.size()) + '\0');
  for (std::size_t i = 0; i < count * size; ++i) header += std::string("\x00\x3c", 2);
  return header;
}

/// (N, H, W, C) to (N, C, H, W)
std::vector<float> channels_first(const std::vector<float>& from) {
  std::vector<float> to(from.size());
  for (std::size_t n = 0; n < count; ++n)
    for (std::size_t c = 0; c < channels; ++c)
      for (std::size_t p = 0; p < side * side; ++p)
        to[(n * channels + c) * side * side + p] = from[(n * side * side + p) * channels + c];
  return to;
}

const std::vector<std::size_t> last{count, side, side, channels};
const std::vector<std::int32_t> labels{0, 1, 2, 0, 1, 2};

void save(const TemporaryFolder& folder, const std::vector<float>& deviation) {
  save_npy(folder / "mean.npy", last, means());
  save_npy(folder / "std.npy", last, deviation);
  save_npy(folder / "labels.npy", {count}, labels);
}

}  // namespace

TEST_CASE("latents are drawn from mean and deviation, each image once per epoch") {
  const TemporaryFolder folder;
  save(folder, constant(0));
  LatentSource source(load_latents(folder.path()));
  Tensor<float> x({count, side, side, channels});
  LabelCondition<float> told;
  source.fill(x, told, 1, 0);
  std::vector<bool> seen(count, false);
  for (std::size_t i = 0; i < count; ++i) {
    const auto image = static_cast<std::size_t>(
        std::lround((x.row(i)[0] / 0.18215f - 4) / 0.01f / static_cast<float>(size)));
    REQUIRE(image < count);
    CHECK(!seen[image]);
    seen[image] = true;
    CHECK(told.labels[i] == labels[image]);
    for (std::size_t k = 0; k < size; ++k)
      CHECK(x.row(i)[k] == doctest::Approx(0.18215f * means()[image * size + k]));
  }
}

TEST_CASE("the deviation is drawn anew for every row and step, whatever the batch") {
  const TemporaryFolder folder;
  save(folder, constant(2));
  LatentSource source(load_latents(folder.path()), {.scale = 0.2});
  Tensor<float> x({count, side, side, channels});
  LabelCondition<float> told;
  double sum = 0, square = 0;
  constexpr std::size_t steps = 400;
  for (std::uint64_t step = 0; step < steps; ++step) {
    source.fill(x, told, 3, step);
    for (const float value : x.span()) {
      sum += value;
      square += static_cast<double>(value) * value;
    }
  }
  const double n = steps * count * size, mean = sum / n;
  CHECK(mean == doctest::Approx(0.2 * 4.355).epsilon(0.01));
  CHECK(std::sqrt(square / n - mean * mean) ==
        doctest::Approx(0.2 * std::hypot(2, 0.208)).epsilon(0.02));
  LatentSource again(load_latents(folder.path()), {.scale = 0.2});
  Tensor<float> y(x.shape());
  again.fill(y, told, 3, steps - 1);
  CHECK(std::equal(x.span().begin(), x.span().end(), y.span().begin()));
}

TEST_CASE(
    "files with channels first, of half the precision, in parts and as safetensors are alike") {
  const auto first_row = [](const TemporaryFolder& folder, std::size_t index) {
    const LatentSet set = load_latents(folder.path());
    CHECK(set.count == count);
    CHECK(set.classes == 3);
    std::vector<float> mean(size), deviation(size);
    set.read(index, false, mean, deviation);
    mean.insert(mean.end(), deviation.begin(), deviation.end());
    return mean;
  };
  const TemporaryFolder plain, planes, parts, tensors, halves;
  save(plain, constant(1));
  const std::vector<std::size_t> first{count, channels, side, side};
  save_npy(planes / "mean.npy", first, channels_first(means()));
  save_npy(planes / "std.npy", first, constant(1));
  save_npy(planes / "labels.npy", {count}, labels);
  const auto all = means();
  for (std::size_t part = 0; part < 2; ++part) {
    const std::string ending = "-00" + std::to_string(part) + ".npy";
    const std::size_t half = count / 2, begin = part * half;
    const auto cut = [&](const auto& values, std::size_t each) {
      using V = std::remove_cvref_t<decltype(values)>;
      return V(values.begin() + static_cast<std::ptrdiff_t>(begin * each),
               values.begin() + static_cast<std::ptrdiff_t>((begin + half) * each));
    };
    const std::vector<std::size_t> shape{half, side, side, channels};
    save_npy(parts / ("mean" + ending), shape, cut(all, size));
    save_npy(parts / ("std" + ending), shape, cut(constant(1), size));
    save_npy(parts / ("labels" + ending), {half}, cut(labels, 1));
  }
  SafetensorsWriter writer;
  writer.add("mean", last, all);
  writer.add("std", last, constant(1));
  writer.add("labels", {count}, labels);
  writer.write(tensors / "latents.safetensors");
  save(halves, constant(0));
  write_bytes(halves / "std.npy", float16_ones());
  for (const std::size_t index : {0, 2, 3, 5}) {
    const auto expected = first_row(plain, index);
    CHECK(first_row(planes, index) == expected);
    CHECK(first_row(parts, index) == expected);
    CHECK(first_row(tensors, index) == expected);
    CHECK(first_row(halves, index) == expected);
  }
}

TEST_CASE("mirrored latents take half of the rows, unless that is switched off") {
  const TemporaryFolder folder;
  save(folder, constant(0));
  save_npy(folder / "mean_flip.npy", last, means(-1));
  save_npy(folder / "std_flip.npy", last, constant(0));
  const auto negative = [&](bool flip) {
    LatentSource source(load_latents(folder.path()), {.flip = flip});
    Tensor<float> x({count, side, side, channels});
    LabelCondition<float> told;
    std::size_t found = 0;
    for (std::uint64_t step = 0; step < 100; ++step) {
      source.fill(x, told, 5, step);
      for (std::size_t i = 0; i < count; ++i) found += x.row(i)[0] < 0;
    }
    return found;
  };
  CHECK(negative(false) == 0);
  CHECK(std::abs(static_cast<int>(negative(true)) - 300) < 60);
}

TEST_CASE("latents of other shapes or scales are refused by name") {
  const auto refused = [](auto change) {
    const TemporaryFolder folder;
    save(folder, constant(0));
    change(folder);
    std::string message = message_of<FileError>([&] { LatentSource{load_latents(folder.path())}; });
    const std::string path = folder.path().string();
    for (std::size_t at = message.find(path); at != std::string::npos; at = message.find(path))
      message.replace(at, path.size() + 1, "");
    return message;
  };
  CHECK(refused([](const auto& folder) {
          save_npy(folder / "std.npy", {count, 2, 2, 1}, std::vector<float>(count * 4));
        }) == "'std.npy' has shape [6, 2, 2, 1], but 'mean.npy' has [6, 2, 2, 3]");
  CHECK(refused([](const auto& folder) {
          save_npy(folder / "mean.npy", {count, 12}, means());
        }) ==
        "'mean.npy' has shape [6, 12], where latents (N, H, W, C) or (N, C, H, W) with H = "
        "W are expected");
  CHECK(refused([](const auto& folder) {
          save_npy(folder / "labels.npy", {2}, std::vector<std::int32_t>{0, 1});
        }) == "'mean.npy' has 6 latents, but there are 2 labels");
  CHECK(refused([](const auto& folder) {
          save_npy(folder / "labels.npy", {count}, std::vector<std::int32_t>(count, -1));
        }) == "'mean.npy' comes with the label -1, where labels are 0 or more");
  CHECK(refused([](const auto& folder) { save_npy(folder / "mean.npy", last, constant(0.1f)); }) ==
        "latents times the scale 0.182150 have a root mean square of 0.018215, but it should "
        "be about 1: choose the scale of your autoencoder, or 1 if the files hold scaled "
        "latents");
  const TemporaryFolder empty;
  CHECK(message_of<FileError>([&] { (void)load_latents(empty.path()); }) ==
        "'" + empty.path().string() +
            "' has no latents: neither safetensors files nor mean.npy and std.npy.");
}
