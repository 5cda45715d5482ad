// SPDX-License-Identifier: MIT
/// \file
/// MNIST and its relatives (Fashion-MNIST, KMNIST), and the IDX files they come in, plain or
/// compressed with gzip.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <zlib.h>

#include <meanflow/data/image_set.hpp>
#include <meanflow/error.hpp>
#include <meanflow/io/file.hpp>

namespace meanflow {

/// What an IDX file holds: bytes in row-major order, and the shape.
struct IdxArray {
  std::vector<std::size_t> shape;
  std::vector<std::uint8_t> values;
};

namespace detail {

/// A file read from its beginning through zlib, which passes plain files through unchanged.
class GzipReader {
 public:
  explicit GzipReader(const std::filesystem::path& path)
      : path_(path), size_(FileReader(path).size()), file_(::gzopen(path.c_str(), "rb")) {
    if (file_ == nullptr) fail("cannot be opened for reading");
    static_cast<void>(::gzbuffer(file_.get(), 1 << 17));
  }

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

  /// The size of the file as stored.
  [[nodiscard]] std::uint64_t size() const { return size_; }

  /// The most bytes that can come out: Deflate compresses at most 1032 to 1.
  [[nodiscard]] std::uint64_t largest() const {
    return ::gzdirect(file_.get()) != 0 ? size_ : size_ * 1032;
  }

  /// Fills `bytes` as far as there are any, and returns how many there were.
  /// Throws FileError if the compressed data are damaged or end early.
  std::size_t read(std::span<std::uint8_t> bytes) {
    std::size_t done = 0;
    while (done < bytes.size()) {
      const std::size_t part = std::min(bytes.size() - done, largest_transfer);
      const int got = ::gzread(file_.get(), bytes.data() + done, static_cast<unsigned>(part));
      if (got > 0) done += static_cast<std::size_t>(got);
      if (got <= 0) break;
    }
    int code = Z_OK;
    const char* const reason = ::gzerror(file_.get(), &code);
    if (code == Z_BUF_ERROR) fail("is truncated: its compressed data end early");
    if (code != Z_OK && code != Z_STREAM_END) {
      // zlib's own text starts with the path.
      const std::string text = reason;
      const std::string prefix = path_.string() + ": ";
      fail("cannot be inflated: " + (text.starts_with(prefix) ? text.substr(prefix.size()) : text));
    }
    return done;
  }

 private:
  struct Close {
    void operator()(gzFile_s* file) const { static_cast<void>(::gzclose_r(file)); }
  };

  [[noreturn]] void fail(const std::string& what) const {
    throw FileError(quoted(path_) + " " + what + ".");
  }

  std::filesystem::path path_;
  std::uint64_t size_;
  std::unique_ptr<gzFile_s, Close> file_;
};

[[noreturn]] inline void idx_failure(const std::filesystem::path& path, const std::string& what) {
  throw FileError(quoted(path) + " is not a usable IDX file: " + what + ".");
}

/// The file `name` or `name`.gz in a folder; the plain one if there are both.
inline std::filesystem::path find_idx(const std::filesystem::path& folder,
                                      const std::string& name) {
  std::error_code unknown;  // counts as missing
  for (const char* const ending : {"", ".gz"}) {
    std::filesystem::path path = folder / (name + ending);
    if (std::filesystem::exists(path, unknown)) return path;
  }
  throw FileError("There is neither " + quoted(folder / name) + " nor a .gz version of it.");
}

}  // namespace detail

/// Reads an IDX file of unsigned bytes, plain or gzip-compressed: two zeros, the type 8, the number
/// of extents, the extents as 32-bit integers with the high byte first, and the values.
/// Throws FileError if the file is missing, damaged, of another type, or holds fewer or more
///   values than its header says.
[[nodiscard]] inline IdxArray load_idx(const std::filesystem::path& path) {
  detail::GzipReader file(path);
  std::array<std::uint8_t, 4> magic{};
  if (file.read(magic) != magic.size() || magic[0] != 0 || magic[1] != 0) {
    detail::idx_failure(path, "it does not start with a magic number of 4 bytes, the first two 0");
  }
  const std::uint8_t unsigned_bytes = 8, most_extents = 8;
  if (magic[2] != unsigned_bytes) {
    detail::idx_failure(path, "its values are of type " + std::to_string(magic[2]) +
                                  ", where 8 (unsigned bytes) is expected");
  }
  if (magic[3] == 0 || magic[3] > most_extents) {
    detail::idx_failure(
        path, "it has " + std::to_string(magic[3]) + " extents, where 1 to 8 are expected");
  }
  std::vector<std::uint8_t> extents(std::size_t(4) * magic[3]);
  if (file.read(extents) != extents.size()) detail::idx_failure(path, "its header is truncated");
  IdxArray array;
  std::uint64_t size = 1;
  const std::uint64_t largest = file.largest();
  bool too_large = false;
  std::string shape;
  for (std::size_t i = 0; i < extents.size(); i += 4) {
    const std::uint32_t extent = std::uint32_t(extents[i]) << 24 |
                                 std::uint32_t(extents[i + 1]) << 16 |
                                 std::uint32_t(extents[i + 2]) << 8 | extents[i + 3];
    array.shape.push_back(extent);
    shape += (i > 0 ? " x " : "") + std::to_string(extent);
    too_large = too_large || (extent > 0 && size > largest / extent);
    size = too_large ? 0 : size * extent;
  }
  if (too_large) {
    detail::idx_failure(path, "its header says " + shape + " values, more than its " +
                                  std::to_string(file.size()) +
                                  " bytes can hold, so it is truncated or damaged");
  }
  // In parts, so that a lying header cannot allocate the memory it claims.
  const std::uint64_t largest_part = std::uint64_t(1) << 24;
  std::size_t got = 0;
  while (got == array.values.size() && got < size) {
    array.values.resize(got + static_cast<std::size_t>(std::min(size - got, largest_part)));
    got += file.read(std::span(array.values).subspan(got));
  }
  if (got != size) {
    detail::idx_failure(
        path, "its header says " + shape + " values, but only " + std::to_string(got) + " follow");
  }
  std::array<std::uint8_t, 1> beyond{};
  if (file.read(beyond) != 0) {
    detail::idx_failure(path, "more than the " + shape + " values of its header follow");
  }
  return array;
}

/// Reads MNIST, or a set that comes in the same files, from a folder: train-images-idx3-ubyte and
/// train-labels-idx1-ubyte for training, else t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte,
/// each plain or with .gz.
/// \return pictures (N, H, W, 1) with labels 0 to 9; H = W = 28 in the published files
/// Throws FileError if a file is missing or unusable (`load_idx`), is not of the rank expected, is
///   empty, the numbers of pictures and labels differ, or a label is above 9.
[[nodiscard]] inline ImageSet load_mnist(const std::filesystem::path& folder, bool train = true) {
  const std::string part = train ? "train" : "t10k";
  const auto images_path = detail::find_idx(folder, part + "-images-idx3-ubyte");
  const auto labels_path = detail::find_idx(folder, part + "-labels-idx1-ubyte");
  const std::size_t classes = 10;
  IdxArray images = load_idx(images_path);
  const IdxArray labels = load_idx(labels_path);
  if (images.shape.size() != 3 || images.values.empty()) {
    detail::idx_failure(images_path, "it has " + std::to_string(images.shape.size()) +
                                         " extents and " + std::to_string(images.values.size()) +
                                         " values, where pictures with 3 extents are expected");
  }
  if (labels.shape.size() != 1 || labels.values.size() != images.shape[0]) {
    detail::idx_failure(labels_path, "it has " + std::to_string(labels.shape.size()) +
                                         " extents and " + std::to_string(labels.values.size()) +
                                         " values, where 1 and a label for each of " +
                                         std::to_string(images.shape[0]) +
                                         " pictures are expected");
  }
  for (std::size_t i = 0; i < labels.values.size(); ++i) {
    if (labels.values[i] < classes) continue;
    detail::idx_failure(labels_path, "label " + std::to_string(i) + " (counted from 0) is " +
                                         std::to_string(labels.values[i]) +
                                         ", where 0 to 9 is expected");
  }
  return {images.shape[0],
          images.shape[1],
          images.shape[2],
          1,
          std::move(images.values),
          {labels.values.begin(), labels.values.end()},
          classes};
}

}  // namespace meanflow
