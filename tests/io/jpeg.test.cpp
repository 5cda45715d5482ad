// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <string>

#include <doctest/doctest.h>

#include <meanflow/io/jpeg.hpp>

#include "io/jpeg_bytes.hpp"
#include "io/temporary_folder.hpp"

using namespace meanflow;
using namespace meanflow_test;

namespace {

/// Smooth, so that little is lost, and different along both sides and in every channel.
Image test_picture(std::size_t height, std::size_t width, std::size_t channels) {
  Image image{height, width, channels, {}};
  for (std::size_t y = 0; y < height; ++y) {
    for (std::size_t x = 0; x < width; ++x) {
      for (std::size_t c = 0; c < channels; ++c) {
        image.pixels.push_back(static_cast<std::uint8_t>(40 + 3 * x + 2 * y + 50 * c));
      }
    }
  }
  return image;
}

int largest_difference(const Image& a, const Image& b) {
  REQUIRE(a.height == b.height);
  REQUIRE(a.width == b.width);
  REQUIRE(a.channels == b.channels);
  REQUIRE(a.pixels.size() == b.pixels.size());
  int largest = 0;
  for (std::size_t i = 0; i < a.pixels.size(); ++i) {
    largest = std::max(largest, std::abs(int(a.pixels[i]) - int(b.pixels[i])));
  }
  return largest;
}

Image loaded(const TemporaryFolder& folder, const std::string& bytes) {
  write_bytes(folder / "x.jpg", bytes);
  return load_jpeg(folder / "x.jpg");
}

std::string refusal(const TemporaryFolder& folder, const std::string& bytes) {
  const std::string message = message_of<FileError>([&] { (void)loaded(folder, bytes); });
  if (!message.empty()) {
    CHECK(contains(message, (folder / "x.jpg").string()));
    CHECK(contains(message, "is not a usable JPEG file: "));
    CHECK(message.ends_with('.'));
    CHECK(!contains(message, "\n"));
  }
  return message;
}

/// Where the two-byte marker is in a file, from a place on.
std::size_t find_mark(const std::string& bytes, char mark, std::size_t from = 0) {
  return bytes.find(std::string{'\xff', mark}, from);
}

}  // namespace

TEST_CASE("JPEG files of every kind that is read") {
  const TemporaryFolder folder;
  const Image grey = test_picture(21, 13, 1), colour = test_picture(21, 13, 3);
  CHECK(largest_difference(loaded(folder, jpeg_bytes(grey)), grey) <= 3);
  CHECK(largest_difference(loaded(folder, jpeg_bytes(grey, {.progressive = true})), grey) <= 3);
  for (const bool progressive : {false, true}) {
    CHECK(largest_difference(
              loaded(folder, jpeg_bytes(colour, {.progressive = progressive, .full_colour = true})),
              colour) <= 5);
  }
  CHECK(largest_difference(loaded(folder, jpeg_bytes(colour, {.store = JCS_RGB})), colour) <= 3);
  // With colours of half the resolution, a picture of one colour keeps it.
  const Image plain{33, 17, 3, std::vector<std::uint8_t>(33 * 17 * 3, 200)};
  CHECK(largest_difference(loaded(folder, jpeg_bytes(plain)), plain) <= 1);
  const Image dot{1, 1, 3, {10, 20, 30}};
  CHECK(largest_difference(loaded(folder, jpeg_bytes(dot)), dot) <= 4);
}

TEST_CASE("A progressive file and a sequential one give the same pixels") {
  const TemporaryFolder folder;
  const Image image = test_picture(40, 24, 3);
  const Image sequential = loaded(folder, jpeg_bytes(image));
  CHECK(loaded(folder, jpeg_bytes(image, {.progressive = true})).pixels == sequential.pixels);
  CHECK(loaded(folder, jpeg_bytes(image, {.one_scan_per_channel = true})).pixels ==
        sequential.pixels);
}

TEST_CASE("JPEG files of kinds that are not read") {
  const TemporaryFolder folder;
  CHECK(contains(refusal(folder, jpeg_bytes({8, 8, 4, std::vector<std::uint8_t>(256, 9)})),
                 "it has 4 channels, where grey, or red, green and blue, is expected"));
  CHECK(contains(refusal(folder, jpeg_bytes(test_picture(8, 8, 3), {.arithmetic = true})),
                 "uses arithmetic coding"));
}

TEST_CASE("Damaged JPEG files are refused in a sentence") {
  const TemporaryFolder folder;
  CHECK(contains(message_of<FileError>([&] { (void)load_jpeg(folder / "missing.jpg"); }),
                 "No such file or directory"));
  CHECK(contains(refusal(folder, ""), "it is empty"));
  CHECK(contains(refusal(folder, "GIF89a, or so it says"), "starts with 0x47 0x49"));
  const Image image = test_picture(16, 16, 3);
  for (const bool progressive : {false, true}) {
    const std::string good = jpeg_bytes(image, {.progressive = progressive});
    const Image whole = loaded(folder, good);
    for (std::size_t length = 0; length < good.size(); ++length) {
      CHECK_MESSAGE(!refusal(folder, good.substr(0, length)).empty(), length);
    }
    CHECK(refusal(folder, good + "what follows the end does not matter").empty());
    for (std::size_t place = 0; place < good.size(); ++place) {
      for (const int change : {1, 16, 128, 255}) {
        std::string damaged = good;
        damaged[place] = static_cast<char>(damaged[place] ^ change);
        (void)refusal(folder, damaged);
      }
    }
  }
}

TEST_CASE("What libjpeg only warns of is an error: data too many") {
  const TemporaryFolder folder;
  std::string bytes = jpeg_bytes(test_picture(16, 16, 1));
  bytes.insert(bytes.size() - 2, "more than the decoder reads ahead");
  CHECK(contains(refusal(folder, bytes), "extraneous bytes"));
}

TEST_CASE("A JPEG file that claims more than it can hold is refused before memory is taken") {
  const TemporaryFolder folder;
  for (const bool progressive : {false, true}) {
    std::string bytes = jpeg_bytes(test_picture(16, 16, 1), {.progressive = progressive});
    const std::size_t frame = find_mark(bytes, progressive ? '\xc2' : '\xc0');
    REQUIRE(frame != std::string::npos);
    for (const std::size_t side : {5U, 7U}) {  // 16 bits of the height, then of the width
      bytes[frame + side] = '\xff';
      bytes[frame + side + 1] = '\xdc';
    }
    CHECK(contains(refusal(folder, bytes), "it claims 65500 x 65500 pixels in"));
  }
}

TEST_CASE("A JPEG file that is as small as its pixels allow is read") {
  const TemporaryFolder folder;
  const Image plain{512, 512, 1, std::vector<std::uint8_t>(512 * 512, 128)};
  for (const bool progressive : {false, true}) {
    const std::string bytes = jpeg_bytes(plain, {.quality = 1, .progressive = progressive});
    CHECK(loaded(folder, bytes).pixels == plain.pixels);
  }
}

TEST_CASE("A JPEG file of very many scans is refused") {
  const TemporaryFolder folder;
  const std::string bytes = jpeg_bytes(test_picture(16, 16, 3), {.one_scan_per_channel = true});
  std::size_t last = find_mark(bytes, '\xda');
  while (find_mark(bytes, '\xda', last + 1) != std::string::npos) {
    last = find_mark(bytes, '\xda', last + 1);
  }
  const std::string scan = bytes.substr(last, bytes.size() - 2 - last);
  const auto with_scans = [&](int count) {
    std::string more = bytes.substr(0, last);
    for (int i = 2; i < count; ++i) more += scan;
    return more + "\xff\xd9";
  };
  CHECK(refusal(folder, with_scans(100)).empty());
  CHECK(contains(refusal(folder, with_scans(101)), "it has more than 100 scans"));
}
