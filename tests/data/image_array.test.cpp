// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/data/image_array.hpp>

#include "io/temporary_folder.hpp"

using namespace meanflow;
using namespace meanflow_test;

namespace {

std::vector<std::uint8_t> counted(std::size_t count) {
  std::vector<std::uint8_t> values;
  for (std::size_t i = 0; i < count; ++i) values.push_back(static_cast<std::uint8_t>(i * 5));
  return values;
}

template <class T>
std::string refusal(const std::vector<std::size_t>& shape, const std::vector<T>& values) {
  const TemporaryFolder folder;
  save_npy(folder / "x.npy", shape, values);
  const std::string message =
      message_of<FileError>([&] { static_cast<void>(load_image_array(folder / "x.npy")); });
  CHECK(contains(message, (folder / "x.npy").string()));
  return message;
}

/// What is said of labels for 2 pictures.
template <class T>
std::string label_refusal(const std::vector<std::size_t>& shape, const std::vector<T>& labels) {
  const TemporaryFolder folder;
  save_npy(folder / "x.npy", {2, 1, 3}, counted(6));
  save_npy(folder / "labels.npy", shape, labels);
  const std::string message = message_of<FileError>(
      [&] { static_cast<void>(load_image_array(folder / "x.npy", folder / "labels.npy")); });
  CHECK(contains(message, (folder / "labels.npy").string()));
  return message;
}

}  // namespace

TEST_CASE("Bytes and labels from NPY files") {
  const TemporaryFolder folder;
  const auto images_path = folder / "images.npy", labels_path = folder / "labels.npy";
  save_npy(images_path, {3, 2, 4, 3}, counted(72));
  save_npy(labels_path, {3}, std::vector<std::int64_t>{4, 0, 2});
  // [docs:image_array]
  const ImageSet images = load_image_array(images_path);  // (N, H, W, C) or (N, H, W)
  const ImageSet labelled = load_image_array(images_path, labels_path);
  // [docs:end]
  CHECK_NOTHROW(images.check());
  CHECK(images.count == 3);
  CHECK(images.height == 2);
  CHECK(images.width == 4);
  CHECK(images.channels == 3);
  CHECK(images.pixels == counted(72));
  CHECK(images.labels.empty());
  CHECK(images.classes == 0);
  CHECK_NOTHROW(labelled.check());
  CHECK(labelled.pixels == images.pixels);
  CHECK(labelled.labels == std::vector<std::int32_t>{4, 0, 2});
  CHECK(labelled.classes == 5);
}

TEST_CASE("Grey pictures with and without an extent for it") {
  const TemporaryFolder folder;
  for (const std::vector<std::size_t>& shape :
       {std::vector<std::size_t>{2, 3, 4}, std::vector<std::size_t>{2, 3, 4, 1}}) {
    save_npy(folder / "x.npy", shape, counted(24));
    const ImageSet images = load_image_array(folder / "x.npy");
    CHECK(images.count == 2);
    CHECK(images.height == 3);
    CHECK(images.width == 4);
    CHECK(images.channels == 1);
    CHECK(images.pixels == counted(24));
  }
}

TEST_CASE("Floats in [-1, 1] of any width become the nearest bytes") {
  const TemporaryFolder folder;
  std::vector<float> floats;
  std::vector<std::uint8_t> bytes;
  for (int byte = 0; byte < 256; ++byte) {
    bytes.push_back(static_cast<std::uint8_t>(byte));
    floats.push_back(unit_from_pixel(bytes.back()));
  }
  save_npy(folder / "x.npy", {1, 16, 16}, floats);
  CHECK(load_image_array(folder / "x.npy").pixels == bytes);
  const std::vector<double> doubles(floats.begin(), floats.end());
  save_npy(folder / "x.npy", {1, 16, 16}, doubles);
  CHECK(load_image_array(folder / "x.npy").pixels == bytes);
}

TEST_CASE("Floats outside of [-1, 1] are refused with the range found") {
  CHECK(contains(refusal<float>({1, 1, 3}, {0, 17, 255}),
                 "holds values from 0.000000 to 255.000000, where floats are expected to lie in "
                 "[-1, 1]"));
  CHECK(contains(refusal<double>({1, 1, 2}, {-1.25, 1}), "values from -1.250000 to 1.000000"));
  CHECK(contains(refusal<float>({1, 1, 2}, {0, NAN}), "values that are NaN"));
  CHECK(contains(refusal<float>({1, 1, 2}, {0, INFINITY}), "values from 0.000000 to inf"));
}

TEST_CASE("Arrays of other types and shapes are refused") {
  CHECK(contains(refusal<std::int64_t>({1, 1, 2}, {0, 1}), "holds elements of type 'i8', where"));
  CHECK(contains(refusal<std::int8_t>({1, 1, 2}, {0, 1}), "holds elements of type 'i1', where"));
  CHECK(contains(refusal<std::uint16_t>({1, 1, 2}, {0, 1}), "holds elements of type 'u2', where"));
  CHECK(contains(refusal({2, 3}, counted(6)), "an array of shape (2, 3), where pictures"));
  CHECK(contains(refusal({1, 3, 2, 5}, counted(30)), "of shape (1, 3, 2, 5), where pictures"));
  CHECK(contains(refusal({1, 1, 1, 1, 3}, counted(3)), "of shape (1, 1, 1, 1, 3), where"));
  CHECK(contains(refusal({0, 2, 2}, counted(0)), "of shape (0, 2, 2), where pictures"));
}

TEST_CASE("Labels that do not fit are refused") {
  CHECK(contains(label_refusal<std::int32_t>({3}, {0, 1, 2}),
                 "elements of type 'i4' of shape (3), where an integer label for each of 2 "
                 "pictures is expected"));
  CHECK(contains(label_refusal<std::int32_t>({2, 1}, {0, 1}), "of shape (2, 1), where"));
  CHECK(contains(label_refusal<float>({2}, {0, 1}), "elements of type 'f4' of shape (2), where"));
  CHECK(contains(label_refusal<std::int64_t>({2}, {0, -1}),
                 "holds the label -1 at 1 (counted from 0), where labels are 0 or more"));
  CHECK(contains(label_refusal<std::int64_t>({2}, {0, std::int64_t(1) << 40}),
                 "element 1 of its data is 1099511627776"));
}
