// SPDX-License-Identifier: MIT
#include "nets.hpp"

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "classifier.hpp"
#include "configuration.hpp"
#include "data.hpp"
#include "information.hpp"
#include "io/temporary_folder.hpp"
#include "sampling.hpp"

using namespace cifar10;
using meanflow_test::TemporaryFolder;
using meanflow_test::write_bytes;

namespace {

const std::filesystem::path configs = CIFAR10_CONFIGS;

std::size_t parameters(const Settings& s, const ImageFormat& format) {
  const meanflow::Undrawn sizes_alone;
  return with_net(s, format, [](const auto& net) { return net.parameters().count(); });
}

/// An IDX file of bytes.
std::string idx(const std::vector<std::uint8_t>& shape, const std::string& values) {
  std::string bytes{0, 0, 8, static_cast<char>(shape.size())};
  for (const std::uint8_t extent : shape) bytes += std::string{0, 0, 0, static_cast<char>(extent)};
  return bytes + values;
}

}  // namespace

TEST_CASE("every configuration that is shipped parses and builds its net") {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(configs)) {
    CAPTURE(entry.path().string());
    if (entry.is_directory()) continue;
    const Settings s = read_configuration(entry.path());
    CHECK(parameters(s, known_format(s.data)) > 100'000);
    const std::string text = to_yaml(s);
    CHECK(to_yaml(parse_configuration(text, "again")) == text);
    ++count;
  }
  CHECK(count == 39);
}

TEST_CASE("pictures without classes get their turn for a class") {
  const meanflow::ImageSet square{.count = 1,
                                  .height = 2,
                                  .width = 2,
                                  .channels = 1,
                                  .pixels = {1, 2,  //
                                             3, 4},
                                  .labels = {}};
  const meanflow::ImageSet four = turned(square);
  four.check();
  CHECK(four.labels == std::vector<std::int32_t>{0, 1, 2, 3});
  CHECK(four.pixels == std::vector<std::uint8_t>{1, 2, 3, 4,  //
                                                 2, 4, 1, 3,  //
                                                 4, 3, 2, 1,  //
                                                 3, 1, 4, 2});
  const meanflow::ImageSet wide{.count = 1,
                                .height = 1,
                                .width = 2,
                                .channels = 3,
                                .pixels = {1, 2, 3, 4, 5, 6},
                                .labels = {}};
  const meanflow::ImageSet two = turned(wide);
  two.check();
  CHECK(two.classes == 2);
  CHECK(two.pixels == std::vector<std::uint8_t>{1, 2, 3, 4, 5, 6, 4, 5, 6, 1, 2, 3});
}

TEST_CASE("parameters and work are those of the published nets") {
  const Settings mean_flow_net = read_configuration(configs / "meanflownet.yaml");
  CHECK(parameters(mean_flow_net, {}) == 14'933'443);
  CHECK(double(multiply_adds(mean_flow_net, {})) == doctest::Approx(2.03e9).epsilon(0.005));
  Settings attending = mean_flow_net;
  std::get<meanflow::MeanFlowNetSettings>(attending.net).attention_levels = {1, 2};
  CHECK(multiply_adds(attending, {}) > multiply_adds(mean_flow_net, {}));
  const Settings paper = read_configuration(configs / "paper.yaml");
  CHECK(parameters(paper, {}) == 55'932'419);
  CHECK(double(multiply_adds(paper, {})) == doctest::Approx(21.2e9).epsilon(0.005));
  const Settings dit = read_configuration(configs / "dit-b4-latents.yaml");
  CHECK(double(multiply_adds(dit, known_format(dit.data))) ==
        doctest::Approx(5.56e9).epsilon(0.005));
}

TEST_CASE("a song_unet is told the classes of pictures that have labels") {
  Settings s = read_configuration(configs / "paper.yaml");
  CHECK(with_net(s, {}, [](const auto& net) { return net.parameters().count(); }) == 55'932'419);
  s.data.labels = true;
  CHECK(parameters(s, {}) == 55'932'419 + (10 + 1) * 512);
}

TEST_CASE("the pictures of MNIST get a border") {
  const TemporaryFolder folder;
  for (const std::string part : {"train", "t10k"}) {
    write_bytes(folder / (part + "-images-idx3-ubyte"), idx({2, 28, 28}, std::string(2 * 784, 9)));
    write_bytes(folder / (part + "-labels-idx1-ubyte"), idx({2}, std::string{3, 7}));
  }
  const Pictures pictures = load_pictures({.kind = DataKind::mnist}, folder.path());
  CHECK(format_of(pictures.training) == ImageFormat{32, 32, 1, 10});
  CHECK(format_of(pictures.training) == known_format({.kind = DataKind::mnist}));
  const auto image = pictures.test.image(1);
  CHECK(std::ranges::count(image, 9) == 784);
  CHECK(image[2 * 32 + 2] == 9);
  CHECK(image[29 * 32 + 29] == 9);
  CHECK(image[2 * 32 + 1] == 0);
  CHECK(image[30 * 32 + 29] == 0);
}

TEST_CASE("every tenth picture of a folder is kept for testing") {
  const TemporaryFolder folder;
  for (const int i : {10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}) {
    std::filesystem::create_directories(folder / (i % 2 == 0 ? "even" : "odd"));
    meanflow::save_png(
        folder / (i % 2 == 0 ? "even" : "odd") / (std::to_string(i) + ".png"),
        {.height = 4, .width = 6, .channels = 3, .pixels = std::vector<std::uint8_t>(72)});
  }
  const Pictures pictures = load_pictures({.kind = DataKind::folder}, folder.path());
  CHECK(format_of(pictures.training) == ImageFormat{4, 6, 3, 2});
  CHECK(pictures.training.count == 10);
  CHECK(pictures.test.count == 1);
  CHECK_THROWS_AS(static_cast<void>(known_format({.kind = DataKind::folder})),
                  meanflow::SettingError);
}

TEST_CASE("a share of a folder's pictures is a share of every class") {
  const TemporaryFolder folder;
  for (const char* name : {"a", "b", "c"}) {
    std::filesystem::create_directories(folder / name);
    for (int i = 0; i < 10; ++i)
      meanflow::save_png(
          folder / name / (std::to_string(i) + ".png"),
          {.height = 4, .width = 4, .channels = 3, .pixels = std::vector<std::uint8_t>(48)});
  }
  const auto training =
      load_pictures({.kind = DataKind::folder, .fraction = 0.5}, folder.path()).training;
  CHECK(training.count == 14);
  for (const std::int32_t label : {0, 1, 2})
    CHECK(std::count(training.labels.begin(), training.labels.end(), label) >= 4);
}

TEST_CASE("a share of the training pictures is at least one") {
  const TemporaryFolder folder;
  write_bytes(folder / "test_batch.bin", std::string(3073, 1));
  for (int i = 1; i <= 5; ++i)
    write_bytes(folder / ("data_batch_" + std::to_string(i) + ".bin"), std::string(2 * 3073, 1));
  const auto count = [&](double fraction) {
    return load_pictures({.fraction = fraction}, folder.path()).training.count;
  };
  CHECK(count(1) == 10);
  CHECK(count(0.5) == 5);
  CHECK(count(0.001) == 1);
}

TEST_CASE("grids have one class to a row") {
  CHECK(grid_columns(80, 10) == 8);
  CHECK(grid_columns(64, 10) == 7);
  CHECK(grid_columns(5, 0) == 0);
  CHECK_FALSE(grid_labels(64, 0));
  const Labels labels = grid_labels(64, 10);
  CHECK(labels(0) == 0);
  CHECK(labels(6) == 0);
  CHECK(labels(7) == 1);
  CHECK(labels(63) == 9);
}

TEST_CASE("a picture does not depend on the batch that it is sampled in") {
  const Settings s = parse_configuration("net: {base: 8, multipliers: [1], blocks: 1}", "test");
  const ImageFormat format{4, 4, 3, 10};
  with_net(s, format, [&](const auto& net) {
    const auto sampled = [&](std::size_t batch) {
      return all_pictures({}, format, 5, batch, [&](std::size_t first, std::size_t count) {
        return sample_batch(net, format, first, count, grid_labels(5, 10), {.seed = 3});
      });
    };
    const auto whole = sampled(5), parts = sampled(2);
    for (std::size_t i = 0; i < whole.size(); ++i)
      CHECK(whole[i] == doctest::Approx(parts[i]).epsilon(1e-5));
  });
}
