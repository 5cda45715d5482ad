// SPDX-License-Identifier: MIT
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <zlib.h>

#include <meanflow/data/mnist.hpp>

#include "io/temporary_folder.hpp"

using namespace meanflow;
using namespace meanflow_test;

namespace {

std::string idx(std::initializer_list<std::uint32_t> shape, const std::string& values,
                char type = 8) {
  std::string bytes{'\0', '\0', type, static_cast<char>(shape.size())};
  for (const std::uint32_t extent : shape) {
    for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(extent >> shift & 0xff);
  }
  return bytes + values;
}

std::string counted(std::size_t count) {
  std::string values;
  for (std::size_t i = 0; i < count; ++i) values += static_cast<char>(i * 3);
  return values;
}

std::string packed(const std::string& bytes) {
  const TemporaryFolder folder;
  gzFile file = gzopen((folder / "x").c_str(), "wb");
  gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size()));
  gzclose(file);
  return read_bytes(folder / "x");
}

const std::string images = idx({3, 4, 5}, counted(60)), labels = idx({3}, {7, 0, 9});

void check_pictures(const ImageSet& set) {
  CHECK_NOTHROW(set.check());
  CHECK(set.count == 3);
  CHECK(set.height == 4);
  CHECK(set.width == 5);
  CHECK(set.channels == 1);
  CHECK(set.classes == 10);
  CHECK(set.labels == std::vector<std::int32_t>{7, 0, 9});
  CHECK(std::string(set.pixels.begin(), set.pixels.end()) == counted(60));
}

std::string idx_refusal(const std::string& bytes) {
  const TemporaryFolder folder;
  write_bytes(folder / "some-idx", bytes);
  const std::string message =
      message_of<FileError>([&] { static_cast<void>(load_idx(folder / "some-idx")); });
  CHECK(contains(message, "some-idx' "));
  return message;
}

/// Every change of the file gives a FileError or the values of the whole file.
void check_error_or_same(const std::filesystem::path& path, const std::string& bytes,
                         std::size_t& accepted) {
  write_bytes(path, bytes);
  try {
    const IdxArray array = load_idx(path);
    ++accepted;
    REQUIRE(array.shape == std::vector<std::size_t>{3, 4, 5});
    REQUIRE(std::string(array.values.begin(), array.values.end()) == counted(60));
  } catch (const FileError& error) {
    REQUIRE(contains(error.what(), path.string()));
  }
}

}  // namespace

TEST_CASE("MNIST: plain, packed, and either for each file") {
  const TemporaryFolder temporary;
  write_bytes(temporary / "train-images-idx3-ubyte.gz", packed(images));
  write_bytes(temporary / "train-labels-idx1-ubyte", labels);
  write_bytes(temporary / "t10k-images-idx3-ubyte", images);
  write_bytes(temporary / "t10k-labels-idx1-ubyte.gz", packed(labels));
  const std::filesystem::path folder = temporary / "";
  // [docs:mnist]
  const ImageSet train = load_mnist(folder);
  const ImageSet test = load_mnist(folder, /*train=*/false);
  // [docs:end]
  check_pictures(train);
  check_pictures(test);
}

TEST_CASE("IDX: any number of extents") {
  const TemporaryFolder folder;
  write_bytes(folder / "a", idx({2, 0, 3}, ""));
  CHECK(load_idx(folder / "a").values.empty());
  write_bytes(folder / "a", idx({2, 2, 1, 2}, counted(8)));
  CHECK(load_idx(folder / "a").shape == std::vector<std::size_t>{2, 2, 1, 2});
}

TEST_CASE("IDX: a file cut off anywhere is refused, plain and packed") {
  const TemporaryFolder folder;
  std::size_t accepted = 0;
  for (const std::string& whole : {images, packed(images)}) {
    for (std::size_t size = 0; size < whole.size(); ++size) {
      check_error_or_same(folder / "a", whole.substr(0, size), accepted);
    }
    CHECK(accepted == 0);
  }
  check_error_or_same(folder / "a", packed(images), accepted);
  CHECK(accepted == 1);
}

TEST_CASE("IDX: a packed file with a wrong byte anywhere is refused or the same") {
  const TemporaryFolder folder;
  const std::string whole = packed(images);
  std::size_t accepted = 0;
  for (std::size_t i = 0; i < whole.size(); ++i) {
    std::string bytes = whole;
    bytes[i] = static_cast<char>(~bytes[i]);
    check_error_or_same(folder / "a", bytes, accepted);
  }
  CHECK(accepted < 10);  // the date, for example, does not matter
}

TEST_CASE("IDX: what is wrong is said") {
  CHECK(contains(idx_refusal(""), "does not start with a magic number"));
  CHECK(contains(idx_refusal("what is this"), "does not start with a magic number"));
  CHECK(contains(idx_refusal(idx({2}, counted(8), 13)), "of type 13, where 8"));
  CHECK(contains(idx_refusal(idx({}, "")), "0 extents, where 1 to 8"));
  CHECK(contains(idx_refusal(images.substr(0, 9)), "header is truncated"));
  CHECK(contains(idx_refusal(images.substr(0, 75)),
                 "header says 3 x 4 x 5 values, but only 59 follow"));
  CHECK(contains(idx_refusal(idx({4, 4, 5}, counted(60))),
                 "header says 4 x 4 x 5 values, more than its 76 bytes can hold"));
  CHECK(contains(idx_refusal(images + "x"), "more than the 3 x 4 x 5 values"));
  CHECK(contains(idx_refusal(packed(images + "x")), "more than the 3 x 4 x 5 values"));
  const std::uint32_t huge = 0xffffffffU;
  const std::string absurd = idx({huge, huge, huge, huge}, counted(60));
  CHECK(contains(idx_refusal(absurd), "bytes can hold"));
  CHECK(contains(idx_refusal(packed(absurd)), "bytes can hold"));
  CHECK(contains(idx_refusal(packed(idx({9, 4, 5}, counted(60)))), "but only 60 follow"));
  const std::string cut = packed(images).substr(0, 40);
  CHECK(contains(idx_refusal(cut), "is truncated: its compressed data end early"));
}

TEST_CASE("MNIST: files that are missing or do not fit together are named") {
  const auto refusal = [](const std::string& pictures, const std::string& classes) {
    const TemporaryFolder folder;
    if (!pictures.empty()) write_bytes(folder / "train-images-idx3-ubyte", pictures);
    if (!classes.empty()) write_bytes(folder / "train-labels-idx1-ubyte", classes);
    return message_of<FileError>([&] { static_cast<void>(load_mnist(folder / "")); });
  };
  CHECK(contains(refusal("", labels), "There is neither"));
  CHECK(contains(refusal("", labels), "train-images-idx3-ubyte'"));
  CHECK(contains(refusal(images, ""), "train-labels-idx1-ubyte'"));
  CHECK(contains(refusal(labels, labels), "1 extents and 3 values, where pictures"));
  CHECK(contains(refusal(images, images), "a label for each of 3 pictures"));
  CHECK(contains(refusal(images, idx({2}, counted(2))), "a label for each of 3 pictures"));
  CHECK(contains(refusal(images, idx({3}, {1, 10, 2})), "label 1 (counted from 0) is 10"));
  CHECK(contains(refusal(idx({0, 4, 5}, ""), idx({0}, "")), "3 extents and 0 values"));
}
