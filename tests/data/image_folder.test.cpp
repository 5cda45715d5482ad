// SPDX-License-Identifier: MIT
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/data/image_folder.hpp>
#include <meanflow/io/image.hpp>

#include "io/jpeg_bytes.hpp"
#include "io/temporary_folder.hpp"

using namespace meanflow;
using namespace meanflow_test;

namespace {

void save(const std::filesystem::path& path, std::uint8_t value, std::size_t channels = 1,
          std::size_t width = 3) {
  save_png(path, {2, width, channels, std::vector<std::uint8_t>(2 * width * channels, value)});
}

std::string refusal(const TemporaryFolder& folder) {
  return message_of<FileError>([&] { static_cast<void>(load_image_folder(folder / "")); });
}

}  // namespace

TEST_CASE("Sub-folders are classes, in sorted order") {
  const TemporaryFolder temporary;
  for (const char* name : {"dog", "cat", "eel", ".hidden"}) {
    std::filesystem::create_directory(temporary / name);
  }
  save(temporary / "dog/b.png", 20);
  save(temporary / "dog/a.PNG", 21);
  save(temporary / "cat/z.png", 10);
  save(temporary / "eel/1.png", 30);
  write_bytes(temporary / "eel/notes.txt", "not a picture");
  write_bytes(temporary / "dog/._b.png", "not a picture");
  const std::filesystem::path folder = temporary / "";
  // [docs:image_folder]
  const ImageSet images = load_image_folder(folder);
  const std::vector<std::string> names = image_folder_classes(folder);  // of labels 0, 1, ...
  // [docs:end]
  CHECK_NOTHROW(images.check());
  CHECK(names == std::vector<std::string>{"cat", "dog", "eel"});
  CHECK(images.labels == std::vector<std::int32_t>{0, 1, 1, 2});
  CHECK(images.classes == 3);
  CHECK(images.channels == 1);
  CHECK(images.image(0)[0] == 10);
  CHECK(images.image(1)[0] == 21);
  CHECK(images.image(3)[5] == 30);
}

TEST_CASE("A folder without sub-folders has no labels") {
  const TemporaryFolder folder;
  save(folder / "b.png", 2);
  save(folder / "a.png", 1);
  const ImageSet images = load_image_folder(folder / "");
  CHECK(images.count == 2);
  CHECK(images.labels.empty());
  CHECK(images.classes == 0);
  CHECK(images.pixels == std::vector<std::uint8_t>{1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2});
  CHECK(image_folder_classes(folder / "").empty());
}

TEST_CASE("Grey pictures among colour ones become colour pictures") {
  const TemporaryFolder folder;
  save(folder / "a.png", 1);
  save_png(folder / "b.png", {2, 3, 3, {9, 8, 7, 9, 8, 7, 9, 8, 7, 9, 8, 7, 9, 8, 7, 9, 8, 7}});
  save(folder / "c.png", 3);
  const ImageSet images = load_image_folder(folder / "");
  CHECK_NOTHROW(images.check());
  CHECK(images.channels == 3);
  CHECK(images.image(0)[17] == 1);
  CHECK(images.image(1)[17] == 7);
  CHECK(images.image(2)[0] == 3);
}

TEST_CASE("PNG and JPEG files side by side, with extensions in upper or lower case") {
  const TemporaryFolder folder;
  const auto jpeg = [](std::uint8_t value, std::size_t channels) {
    return jpeg_bytes({2, 3, channels, std::vector<std::uint8_t>(6 * channels, value)});
  };
  write_bytes(folder / "a.jpg", jpeg(50, 1));
  save(folder / "b.Png", 60);
  write_bytes(folder / "c.JPEG", jpeg(70, 3));
  write_bytes(folder / "d.Jpg", jpeg(80, 1));
  write_bytes(folder / "e.jpeg", jpeg(90, 1));
  const ImageSet images = load_image_folder(folder / "");
  CHECK_NOTHROW(images.check());
  REQUIRE(images.count == 5);
  CHECK(images.channels == 3);
  for (std::size_t i = 0; i < images.count; ++i) {
    for (const std::uint8_t value : images.image(i)) CHECK(std::abs(value - int(50 + 10 * i)) <= 1);
  }
}

TEST_CASE("What does not fit is named") {
  const TemporaryFolder folder;
  CHECK(contains(refusal(folder), "holds no PNG or JPEG files"));
  CHECK(contains(message_of<FileError>([&] { static_cast<void>(load_image_folder(folder / "x")); }),
                 "cannot be read as a folder"));
  save(folder / "a.png", 1);
  save(folder / "b.png", 1, 1, 4);
  CHECK(contains(refusal(folder), "b.png' has 2 x 4 pixels, where 2 x 3 are expected"));
  write_bytes(folder / "b.png", "no");
  CHECK(contains(refusal(folder), "b.png' is not a usable PNG file"));
  std::filesystem::remove(folder / "b.png");
  write_bytes(folder / "c.JPG", "picture");
  CHECK(contains(refusal(folder), "c.JPG' is not a usable JPEG file"));
  write_bytes(folder / "c.JPG", jpeg_bytes({5, 3, 1, std::vector<std::uint8_t>(15)}));
  CHECK(contains(refusal(folder), "c.JPG' has 5 x 3 pixels, where 2 x 3 are expected"));
  std::filesystem::remove(folder / "c.JPG");
  write_bytes(folder / "c.TIF", "picture");
  CHECK(contains(refusal(folder), "c.TIF' is a picture, but neither PNG nor JPEG"));
  std::filesystem::remove(folder / "c.TIF");
  std::filesystem::create_directories(folder / "dog/puppy");
  CHECK(contains(refusal(folder), "a.png' lies beside sub-folders"));
  std::filesystem::remove(folder / "a.png");
  CHECK(contains(refusal(folder), "puppy' is a folder within that of a class"));
  std::filesystem::remove(folder / "dog/puppy");
  CHECK(contains(refusal(folder), "dog' holds no PNG or JPEG files"));
}
