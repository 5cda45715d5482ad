// SPDX-License-Identifier: MIT
// What every reader of files has in common: one sentence, which names the file, for whatever may
// stand in place of the file that was meant. What is particular to one is tested beside it.
#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <meanflow/data/cifar10.hpp>
#include <meanflow/data/image_array.hpp>
#include <meanflow/data/image_folder.hpp>
#include <meanflow/data/mnist.hpp>
#include <meanflow/data/point_set.hpp>
#include <meanflow/io/image.hpp>
#include <meanflow/io/jpeg.hpp>
#include <meanflow/io/npy.hpp>
#include <meanflow/io/safetensors.hpp>

#include "io/jpeg_bytes.hpp"
#include "io/temporary_folder.hpp"

using namespace meanflow;
using namespace meanflow_test;
using namespace std::string_literals;

namespace {

using Path = std::filesystem::path;

const Image picture{4, 5, 3, std::vector<std::uint8_t>(60, 77)};
const std::string idx_images = "\0\0\x08\x03\0\0\0\1\0\0\0\2\0\0\0\2"s + "abcd";
const std::string idx_labels = "\0\0\x08\x01\0\0\0\1"s + "\5";

std::string packed(const std::string& bytes) {
  const TemporaryFolder folder;
  gzFile file = gzopen((folder / "x").c_str(), "wb");
  gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size()));
  gzclose(file);
  return read_bytes(folder / "x");
}

void save_tensors(const Path& path) {
  SafetensorsWriter writer;
  writer.add("x", {2}, std::vector<float>{1, 2});
  writer.write(path);
}

struct Reader {
  std::string file;                       ///< the name, in a folder, of the file that is tried
  std::function<void(const Path&)> make;  ///< writes a good one of that name
  std::function<void(const Path&)> read;  ///< reads it, or the folder that it is in
  std::string empty, foreign;             ///< what is said of no bytes, and of some text
};

const std::string no_jpeg = "Not a JPEG file: starts with 0x54 0x68";
const std::string no_npy = "does not start with the magic string \\x93NUMPY";
const std::string no_idx = "does not start with a magic number of 4 bytes";
const std::string no_png = "is not a usable PNG file: it is empty";

const std::vector<Reader> readers{
    {"a.safetensors", save_tensors,
     [](const Path& path) { static_cast<void>(Safetensors(path).read<float>("x")); },
     "it has 0 bytes, fewer than the 8", "where at most 100000000 are allowed"},
    {"a.npy",
     [](const Path& path) {
       save_npy(path, {2}, std::vector{1.0F, 2.0F});
     },
     [](const Path& path) { static_cast<void>(load_npy<float>(path)); }, no_npy, no_npy},
    {"points.npy",
     [](const Path& path) {
       save_npy(path, {2, 1}, std::vector{1.0F, 2.0F});
     },
     [](const Path& path) { static_cast<void>(PointSet(path)); }, no_npy, no_npy},
    {"images.npy",
     [](const Path& path) {
       save_npy(path, {1, 1, 2}, std::vector{0.5F, -1.0F});
     },
     [](const Path& path) { static_cast<void>(load_image_array(path)); }, no_npy, no_npy},
    {"labels.npy", [](const Path& path) { save_npy(path, {1}, std::vector<std::int32_t>{3}); },
     [](const Path& path) {
       const TemporaryFolder other;
       save_npy(other / "x", {1, 1, 2}, std::vector{0.5F, -1.0F});
       static_cast<void>(load_image_array(other / "x", path));
     },
     no_npy, no_npy},
    {"a.png", [](const Path& path) { save_png(path, picture); },
     [](const Path& path) { static_cast<void>(load_png(path)); }, no_png, "Not a PNG file"},
    {"a.jpg", [](const Path& path) { write_bytes(path, jpeg_bytes(picture)); },
     [](const Path& path) { static_cast<void>(load_jpeg(path)); },
     "is not a usable JPEG file: it is empty", no_jpeg},
    {"in-folder.png", [](const Path& path) { save_png(path, picture); },
     [](const Path& path) { static_cast<void>(load_image_folder(path.parent_path())); }, no_png,
     "Not a PNG file"},
    {"in-folder.JPG", [](const Path& path) { write_bytes(path, jpeg_bytes(picture)); },
     [](const Path& path) { static_cast<void>(load_image_folder(path.parent_path())); },
     "is not a usable JPEG file: it is empty", no_jpeg},
    {"a-idx3-ubyte", [](const Path& path) { write_bytes(path, idx_images); },
     [](const Path& path) { static_cast<void>(load_idx(path)); }, no_idx, no_idx},
    {"a-idx3-ubyte.gz", [](const Path& path) { write_bytes(path, packed(idx_images)); },
     [](const Path& path) { static_cast<void>(load_idx(path)); }, no_idx, no_idx},
    {"train-images-idx3-ubyte",
     [](const Path& path) {
       write_bytes(path.parent_path() / "train-labels-idx1-ubyte", idx_labels);
       write_bytes(path, idx_images);
     },
     [](const Path& path) { static_cast<void>(load_mnist(path.parent_path())); }, no_idx, no_idx},
    {"train-labels-idx1-ubyte",
     [](const Path& path) {
       write_bytes(path.parent_path() / "train-images-idx3-ubyte", idx_images);
       write_bytes(path, idx_labels);
     },
     [](const Path& path) { static_cast<void>(load_mnist(path.parent_path())); }, no_idx, no_idx},
    {"test_batch.bin", [](const Path& path) { write_bytes(path, "\7" + std::string(3072, 'x')); },
     [](const Path& path) { static_cast<void>(load_cifar10(path.parent_path(), false)); },
     "it has 0 bytes, where a multiple of 3073", "it has 28 bytes, where a multiple of 3073"}};

/// Checks that reading gives one sentence, which names the file and holds `part`.
void check_refused(const Reader& reader, const Path& path, const std::string& part) {
  CAPTURE(reader.file);
  const std::string message = message_of<FileError>([&] { reader.read(path); });
  CAPTURE(message);
  CHECK(contains(message, path.string()));
  CHECK(contains(message, part));
  CHECK(message.ends_with('.'));
  CHECK(!message.ends_with(".."));
  CHECK(!contains(message, "\n"));
  CHECK(message.size() < 400);
}

/// The rights of a user who owns nothing, while the object lives; needs those of root.
class AsNobody {
 public:
  AsNobody() { REQUIRE(::seteuid(65534) == 0); }
  AsNobody(const AsNobody&) = delete;
  AsNobody& operator=(const AsNobody&) = delete;
  ~AsNobody() { static_cast<void>(::seteuid(0)); }
};

}  // namespace

TEST_CASE("Readers read what they should, so that what follows is the fault of the file") {
  for (const Reader& reader : readers) {
    CAPTURE(reader.file);
    const TemporaryFolder folder;
    reader.make(folder / reader.file);
    CHECK_NOTHROW(reader.read(folder / reader.file));
  }
}

TEST_CASE("Readers say of an empty file, and of text, that it is not theirs") {
  for (const Reader& reader : readers) {
    const TemporaryFolder folder;
    reader.make(folder / reader.file);
    write_bytes(folder / reader.file, "");
    check_refused(reader, folder / reader.file, reader.empty);
    write_bytes(folder / reader.file, "This is a file of plain text");
    check_refused(reader, folder / reader.file, reader.foreign);
  }
}

TEST_CASE("Readers notice that the last byte is missing") {
  for (const Reader& reader : readers) {
    const TemporaryFolder folder;
    const Path path = folder / reader.file;
    reader.make(path);
    // The last chunk of a PNG file holds nothing: the picture ends 12 bytes before.
    const std::size_t missing = path.extension() == ".png" ? 13 : 1;
    std::filesystem::resize_file(path, std::filesystem::file_size(path) - missing);
    check_refused(reader, path, "");
  }
}

TEST_CASE("Readers say of a folder or a pipe in place of a file that it is not a regular file") {
  for (const Reader& reader : readers) {
    if (reader.file.starts_with("in-folder")) continue;  // there, a folder would be a class
    const TemporaryFolder folder;
    const Path path = folder / reader.file;
    reader.make(path);
    std::filesystem::remove(path);
    std::filesystem::create_directory(path);
    check_refused(reader, path, "is not a regular file");
    std::filesystem::remove(path);
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    check_refused(reader, path, "is not a regular file");
  }
}

TEST_CASE("Readers say why a file may not be read") {
  for (const Reader& reader : readers) {
    const TemporaryFolder folder;
    const Path path = folder / reader.file;
    reader.make(path);
    std::filesystem::permissions(folder.path(), std::filesystem::perms::all);
    std::filesystem::permissions(path, std::filesystem::perms::none);
    const std::string wanted = "cannot be opened for reading: Permission denied";
    if (::geteuid() != 0) {
      check_refused(reader, path, wanted);
    } else {
      const AsNobody nobody;
      check_refused(reader, path, wanted);
    }
  }
}
