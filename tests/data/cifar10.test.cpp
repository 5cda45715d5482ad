// SPDX-License-Identifier: MIT
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

#include <doctest/doctest.h>

#include <meanflow/data/cifar10.hpp>

#include "io/temporary_folder.hpp"

using namespace meanflow;
using namespace meanflow_test;

namespace {

const std::size_t record = 3073;

/// A value that tells pictures, channels and places apart.
std::uint8_t pixel(std::size_t image, std::size_t channel, std::size_t place) {
  return static_cast<std::uint8_t>(image * 31 + channel * 85 + place * 7);
}

/// Pictures first .. first + count - 1 with labels first % 10 and so on.
std::string batch(std::size_t first, std::size_t count) {
  std::string bytes;
  for (std::size_t i = first; i < first + count; ++i) {
    bytes += static_cast<char>(i % 10);
    for (std::size_t c = 0; c < 3; ++c) {
      for (std::size_t place = 0; place < 1024; ++place) {
        bytes += static_cast<char>(pixel(i, c, place));
      }
    }
  }
  return bytes;
}

void check_pictures(const ImageSet& set) {
  CHECK_NOTHROW(set.check());
  CHECK(set.height == 32);
  CHECK(set.width == 32);
  CHECK(set.channels == 3);
  CHECK(set.classes == 10);
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < set.count; ++i) {
    wrong += set.labels[i] != static_cast<std::int32_t>(i % 10);
    for (std::size_t j = 0; j < set.image_size(); ++j) {
      wrong += set.image(i)[j] != pixel(i, j % 3, j / 3);
    }
  }
  CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("CIFAR-10: five files in order, planes become channels") {
  const TemporaryFolder temporary;
  for (std::size_t i = 0; i < 5; ++i) {
    write_bytes(temporary / ("data_batch_" + std::to_string(i + 1) + ".bin"), batch(3 * i, 3));
  }
  write_bytes(temporary / "test_batch.bin", batch(0, 2));
  const std::filesystem::path folder = temporary / "";
  // [docs:cifar10]
  const ImageSet train = load_cifar10(folder);
  const ImageSet test = load_cifar10(folder, /*train=*/false);
  // [docs:end]
  CHECK(train.count == 15);
  check_pictures(train);
  CHECK(test.count == 2);
  check_pictures(test);
}

TEST_CASE("CIFAR-10: a file cut off anywhere is refused, or holds the pictures before") {
  const TemporaryFolder folder;
  const std::string whole = batch(0, 2);
  std::size_t accepted = 0;
  for (std::size_t size = 0; size < whole.size(); ++size) {
    write_bytes(folder / "test_batch.bin", whole.substr(0, size));
    try {
      const ImageSet set = load_cifar10(folder / "", false);
      ++accepted;
      REQUIRE(size == record);
      CHECK(set.count == 1);
      check_pictures(set);
    } catch (const FileError& error) {
      REQUIRE(size % record + (size == 0) != 0);
      REQUIRE(contains(error.what(), "test_batch.bin"));
    }
  }
  CHECK(accepted == 1);
}

TEST_CASE("CIFAR-10: missing files and wrong labels are named") {
  const TemporaryFolder folder;
  for (int i : {1, 2, 3, 5}) {
    write_bytes(folder / ("data_batch_" + std::to_string(i) + ".bin"), batch(0, 1));
  }
  const auto refusal = [&](bool train) {
    return message_of<FileError>([&] { static_cast<void>(load_cifar10(folder / "", train)); });
  };
  CHECK(contains(refusal(true), "data_batch_4.bin' cannot be opened for reading"));
  CHECK(contains(refusal(false), "test_batch.bin' cannot be opened for reading"));
  std::string bytes = batch(0, 3);
  bytes[2 * record] = 10;
  write_bytes(folder / "test_batch.bin", bytes);
  CHECK(contains(refusal(false), "picture 2 (counted from 0) has the label 10"));
  write_bytes(folder / "test_batch.bin", "not pictures");
  CHECK(contains(refusal(false), "it has 12 bytes, where a multiple of 3073 is expected"));
}
