// SPDX-License-Identifier: MIT
/// \file
/// Arrays in files that are larger than memory: parts are read when they are asked for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <meanflow/error.hpp>
#include <meanflow/io/file.hpp>
#include <meanflow/io/npy.hpp>
#include <meanflow/io/safetensors_reader.hpp>

namespace meanflow {

/// An array in an NPY file, or a tensor of a safetensors file. Opening it reads the header alone.
/// Copies share the open file, and reading is safe from several threads.
class ArrayFile {
 public:
  /// An NPY file whose array is stored row by row.
  /// Throws FileError if it is missing, damaged, or stored column by column.
  explicit ArrayFile(const std::filesystem::path& npy) : source_(Npy{FileReader(npy), {}}) {
    Npy& opened = std::get<Npy>(source_);
    opened.header = detail::read_npy_header(opened.file);
    if (opened.header.fortran && opened.header.shape.size() > 1)
      detail::npy_failure(opened.file,
                          "it is stored column by column, where rows are expected one by one");
    shape_ = opened.header.shape;
    name_ = detail::quoted(npy);
  }

  /// A tensor of an open safetensors file. Throws FileError if there is none of that name.
  ArrayFile(const Safetensors& file, const std::string& tensor)
      : source_(Part{file, tensor}),
        shape_(file.shape(tensor)),
        name_("tensor " + detail::shown(tensor) + " of " + detail::quoted(file.path())) {}

  [[nodiscard]] const std::vector<std::size_t>& shape() const { return shape_; }
  /// What it is, for messages.
  [[nodiscard]] const std::string& name() const { return name_; }

  /// The number of values.
  [[nodiscard]] std::uint64_t size() const {
    return std::accumulate(shape_.begin(), shape_.end(), std::uint64_t{1}, std::multiplies<>{});
  }

  /// Values from number `first` on. Throws ShapeError if there are fewer, FileError if T cannot
  /// hold one of them.
  template <FileNumber T>
  void read(std::uint64_t first, std::span<T> values) const {
    if (first > size() || values.size() > size() - first)
      throw ShapeError("values " + std::to_string(first) + " to " +
                       std::to_string(first + values.size()) + " of " + name_ + ", which has " +
                       std::to_string(size()));
    if (const auto* part = std::get_if<Part>(&source_))
      return part->file.read_part<T>(part->tensor, first, values);
    const Npy& npy = std::get<Npy>(source_);
    detail::NpyHeader header = npy.header;
    header.data_begin += first * header.width;
    detail::read_npy_values<T>(npy.file, header, values);
  }

 private:
  struct Npy {
    FileReader file;
    detail::NpyHeader header;
  };
  struct Part {
    Safetensors file;
    std::string tensor;
  };

  std::variant<Npy, Part> source_;
  std::vector<std::size_t> shape_;
  std::string name_;
};

}  // namespace meanflow
