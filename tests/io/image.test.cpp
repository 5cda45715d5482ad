// SPDX-License-Identifier: MIT
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/io/image.hpp>

#include "io/temporary_folder.hpp"

using namespace meanflow;
using namespace meanflow_test;

namespace {

Image test_picture(std::size_t height, std::size_t width, std::size_t channels) {
  Image image{height, width, channels, {}};
  for (std::size_t i = 0; i < height * width * channels; ++i) {
    image.pixels.push_back(static_cast<std::uint8_t>(i * 37 + i / 7));
  }
  return image;
}

std::string refusal(const TemporaryFolder& folder, const std::string& bytes) {
  write_bytes(folder / "x.png", bytes);
  return message_of<FileError>([&] { (void)load_png(folder / "x.png"); });
}

}  // namespace

TEST_CASE("Pictures survive a round trip") {
  const TemporaryFolder folder;
  for (const std::size_t channels : {1U, 3U}) {
    for (const auto& [height, width] : {std::pair{1U, 1U}, {5U, 7U}, {32U, 32U}}) {
      const Image image = test_picture(height, width, channels);
      save_png(folder / "x.png", image);
      const Image read = load_png(folder / "x.png");
      CHECK(read.height == height);
      CHECK(read.width == width);
      CHECK(read.channels == channels);
      CHECK(read.pixels == image.pixels);
    }
  }
  CHECK(folder.count() == 1);
}

TEST_CASE("A picture in memory is what the file holds") {
  const TemporaryFolder folder;
  const Image image = test_picture(5, 7, 3);
  save_png(folder / "x.png", image);
  const std::vector<std::byte> bytes = encode_png(image);
  CHECK(read_bytes(folder / "x.png") ==
        std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  CHECK(contains(message_of<ShapeError>([] { (void)encode_png({2, 2, 2, {}}); }), "encode_png"));
}

TEST_CASE("Pictures that do not fit together are refused") {
  const TemporaryFolder folder;
  const auto refused = [&](const Image& image) {
    CHECK_THROWS_AS(save_png(folder / "x.png", image), ShapeError);
  };
  refused({2, 2, 3, std::vector<std::uint8_t>(11)});
  refused({2, 2, 2, std::vector<std::uint8_t>(8)});
  refused({0, 2, 3, {}});
  refused({});
  CHECK(folder.count() == 0);
  CHECK_THROWS_AS(save_png(folder / "missing" / "x.png", test_picture(2, 2, 3)), FileError);
}

TEST_CASE("Damaged PNG files are refused in a sentence") {
  const TemporaryFolder folder;
  CHECK(contains(message_of<FileError>([&] { (void)load_png(folder / "missing.png"); }),
                 "No such file or directory"));
  CHECK(contains(refusal(folder, ""), "it is empty"));
  CHECK(contains(refusal(folder, "GIF89a, or so it says"), "is not a usable PNG file"));

  save_png(folder / "good.png", test_picture(4, 4, 3));
  const std::string good = read_bytes(folder / "good.png");
  std::string wide = good;
  wide[16] = '\x7f';  // the upper byte of the width, and a checksum that now is wrong
  CHECK(contains(refusal(folder, wide), "is not a usable PNG file"));
  const std::size_t end_chunk = 12;  // says nothing but that the file ends here
  CHECK(refusal(folder, good.substr(0, good.size() - end_chunk)).empty());
  for (std::size_t length = 0; length < good.size() - end_chunk; ++length) {
    CHECK_MESSAGE(!refusal(folder, good.substr(0, length)).empty(), length);
  }
  for (std::size_t place = 0; place < good.size(); ++place) {
    for (const int change : {1, 16, 128, 255}) {
      std::string damaged = good;
      damaged[place] = static_cast<char>(damaged[place] ^ change);
      (void)refusal(folder, damaged);
    }
  }
}

TEST_CASE("Values of [-1, 1] become bytes") {
  CHECK(pixel_from_unit(-1) == 0);
  CHECK(pixel_from_unit(1) == 255);
  CHECK(pixel_from_unit(0) == 128);
  CHECK(pixel_from_unit(-5) == 0);
  CHECK(pixel_from_unit(5) == 255);
  CHECK(pixel_from_unit(std::numeric_limits<float>::infinity()) == 255);
  CHECK(pixel_from_unit(std::numeric_limits<float>::quiet_NaN()) == 0);
  for (int byte = 0; byte < 256; ++byte) {
    CHECK(int(pixel_from_unit(float(byte) / 127.5F - 1)) == byte);
  }
}

TEST_CASE("A grid of images") {
  const TemporaryFolder folder;
  const auto path = folder / "samples.png";
  std::vector<float> samples(5 * 2 * 3, 1.0F);
  for (std::size_t i = 0; i < 5; ++i) samples[i * 6] = float(i) / 127.5F - 1;
  // [docs:grid]
  const Image grid = image_grid(samples, 2, 3, 1, {.columns = 3, .padding = 1, .background = 50});
  save_png(path, grid);
  // [docs:end]
  CHECK(grid.height == 1 + 2 * (2 + 1));
  CHECK(grid.width == 1 + 3 * (3 + 1));
  const auto at = [&](std::size_t y, std::size_t x) {
    return int(grid.pixels[y * grid.width + x]);
  };
  for (std::size_t i = 0; i < 5; ++i) CHECK(at(1 + i / 3 * 3, 1 + i % 3 * 4) == int(i));
  CHECK(at(0, 0) == 50);
  CHECK(at(1, 2) == 255);
  CHECK(at(1, 4) == 50);
  CHECK(at(2, 3) == 255);
  CHECK(at(3, 1) == 50);
  CHECK(at(5, 10) == 50);  // the sixth place is empty
  CHECK(load_png(path).pixels == grid.pixels);
}

TEST_CASE("Grids are as square as possible, and colours stay together") {
  const std::vector<float> samples(7 * 4 * 4 * 3, -1.0F);
  const Image grid = image_grid(samples, 4, 4, 3, {.padding = 0});
  CHECK(grid.height == 12);
  CHECK(grid.width == 12);
  CHECK(image_grid(samples, 4, 4, 3, {.columns = 100, .padding = 0}).width == 28);
  const std::vector<float> colour{-1, 0, 1};
  CHECK(image_grid(colour, 1, 1, 3, {.padding = 0}).pixels ==
        std::vector<std::uint8_t>{0, 128, 255});
  CHECK_THROWS_AS((void)image_grid(samples, 4, 4, 2), ShapeError);
  CHECK_THROWS_AS((void)image_grid(samples, 5, 4, 3), ShapeError);
  CHECK_THROWS_AS((void)image_grid({}, 4, 4, 3), ShapeError);
  CHECK_THROWS_AS((void)image_grid(samples, 0, 4, 3), ShapeError);
}
