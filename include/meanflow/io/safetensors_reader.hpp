// SPDX-License-Identifier: MIT
/// \file
/// Reads safetensors files.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <meanflow/error.hpp>
#include <meanflow/io/convert.hpp>
#include <meanflow/io/file.hpp>
#include <meanflow/io/safetensors_dtype.hpp>
#include <meanflow/io/safetensors_header.hpp>

namespace meanflow {

/// A safetensors file open for reading. Opening it reads and checks the header alone; data are read
/// when asked for. Copies share the open file, and reading is safe from several threads.
///
/// Opening accepts what the format's specification allows and nothing else: the tensors must cover
/// the data exactly, without gaps or overlaps, so a truncated file is noticed at once.
class Safetensors {
 public:
  /// Throws FileError if the file is missing, truncated or damaged; the message says where.
  explicit Safetensors(const std::filesystem::path& path) : file_(path) {
    std::uint64_t data_begin = 0;
    header_ = read_header(data_begin);
    check_offsets(data_begin);
  }

  [[nodiscard]] const std::filesystem::path& path() const { return file_.path(); }

  /// The names of all tensors, sorted.
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> names;
    names.reserve(header_.tensors.size());
    for (const auto& [name, entry] : header_.tensors) names.push_back(name);
    return names;
  }

  [[nodiscard]] bool contains(const std::string& name) const {
    return header_.tensors.contains(name);
  }

  /// Throws FileError if there is no such tensor (so do all members below that take a name).
  [[nodiscard]] const std::vector<std::size_t>& shape(const std::string& name) const {
    return entry(name).shape;
  }

  [[nodiscard]] DType dtype(const std::string& name) const { return entry(name).dtype; }

  /// Number of elements.
  [[nodiscard]] std::size_t size(const std::string& name) const { return size(entry(name)); }

  /// The file's `__metadata__`; empty if it has none.
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const {
    return header_.metadata;
  }

  /// The tensor's values in row-major order. Floats of any width (also f16 and bf16) are rounded to
  /// T; other conversions must be exact; booleans become 0 and 1.
  /// Throws FileError if T cannot hold a value; the message names the element.
  template <FileNumber T>
  [[nodiscard]] std::vector<T> read(const std::string& name) const {
    std::vector<T> values(size(name));
    read_values(name, entry(name), std::span<T>(values));
    return values;
  }

  /// Like read(), into the caller's memory. Throws ShapeError if the size is not the tensor's.
  template <FileNumber T>
  void read_into(const std::string& name, std::span<T> values) const {
    const detail::TensorEntry& tensor = entry(name);
    if (values.size() != size(tensor)) {
      throw ShapeError("read_into: tensor " + detail::shown(name) + " of " +
                       detail::quoted(path()) + " has the shape " +
                       detail::shape_text(tensor.shape) + ", which is " +
                       std::to_string(size(tensor)) + " elements, but there is room for " +
                       std::to_string(values.size()) + ".");
    }
    read_values(name, tensor, values);
  }

  /// Values from element number `first` on, in row-major order, into the caller's memory.
  /// Throws ShapeError if the tensor has fewer.
  template <FileNumber T>
  void read_part(const std::string& name, std::uint64_t first, std::span<T> values) const {
    detail::TensorEntry part = entry(name);
    if (first > size(part) || values.size() > size(part) - first)
      throw ShapeError("read_part: elements " + std::to_string(first) + " to " +
                       std::to_string(first + values.size()) + " of tensor " + detail::shown(name) +
                       " of " + detail::quoted(path()) + ", which has " +
                       std::to_string(size(part)));
    part.begin += first * size_of(part.dtype);
    read_values(name, part, values);
  }

  /// The tensor's bytes as stored in the file.
  [[nodiscard]] std::vector<std::byte> read_bytes(const std::string& name) const {
    const detail::TensorEntry& tensor = entry(name);
    std::vector<std::byte> bytes(static_cast<std::size_t>(tensor.end - tensor.begin));
    file_.read_at(tensor.begin, bytes);
    return bytes;
  }

 private:
  static constexpr std::uint64_t length_size = 8;
  static constexpr std::uint64_t longest_header = 100'000'000;  // the format's own limit

  [[noreturn]] void fail(const std::string& what) const {
    throw FileError(detail::quoted(path()) + " is not a usable safetensors file: " + what + ".");
  }

  [[nodiscard]] detail::SafetensorsHeader read_header(std::uint64_t& data_begin) const {
    if (file_.size() < length_size) {
      fail("it has " + std::to_string(file_.size()) + " bytes, fewer than the 8 it starts with");
    }
    std::uint64_t length = 0;
    file_.read_at(0, std::as_writable_bytes(std::span(&length, 1)));
    if (length > longest_header) {
      fail("its header is said to have " + std::to_string(length) +
           " bytes, where at most 100000000 are allowed");
    }
    if (length > file_.size() - length_size) {
      fail("its header is said to have " + std::to_string(length) + " bytes, but only " +
           std::to_string(file_.size() - length_size) + " follow, so it is truncated or damaged");
    }
    std::string text(static_cast<std::size_t>(length), '\0');
    file_.read_at(length_size, std::as_writable_bytes(std::span(text)));
    data_begin = length_size + length;
    if (!text.starts_with('{')) fail("its header does not start with '{'");
    return detail::SafetensorsHeaderParser(path()).parse(text);
  }

  /// Checks each tensor against its shape and all of them against the file, then turns offsets into
  /// places in the file.
  void check_offsets(std::uint64_t data_begin) {
    const std::uint64_t available = file_.size() - data_begin;
    std::vector<std::pair<const std::string*, detail::TensorEntry*>> order;
    for (auto& [name, tensor] : header_.tensors) {
      check_entry(name, tensor, available);
      order.emplace_back(&name, &tensor);
    }
    std::ranges::sort(order, {}, [](const auto& item) {
      return std::pair(item.second->begin, item.second->end);
    });
    std::uint64_t end = 0;
    for (const auto& [name, tensor] : order) {
      if (tensor->begin != end) {
        fail("the data of tensor " + detail::shown(*name) + " begin at byte " +
             std::to_string(tensor->begin) +
             (tensor->begin < end ? " and overlap those before, which end at "
                                  : " and leave a gap after those before, which end at ") +
             std::to_string(end));
      }
      end = tensor->end;
      tensor->begin += data_begin;
      tensor->end += data_begin;
    }
    if (end != available) {
      fail("its tensors take " + std::to_string(end) + " bytes, but " + std::to_string(available) +
           " follow the header");
    }
  }

  void check_entry(const std::string& name, const detail::TensorEntry& tensor,
                   std::uint64_t available) const {
    const std::string offsets =
        std::string("[") + std::to_string(tensor.begin) + ", " + std::to_string(tensor.end) + "]";
    if (tensor.begin > tensor.end) {
      fail("the offsets " + offsets + " of tensor " + detail::shown(name) + " run backwards");
    }
    if (tensor.end > available) {
      fail("tensor " + detail::shown(name) + " should lie at " + offsets + ", but only " +
           std::to_string(available) + " bytes of data follow, so it is truncated or damaged");
    }
    const std::optional<std::uint64_t> bytes = detail::byte_count(tensor.dtype, tensor.shape);
    if (bytes != tensor.end - tensor.begin) {
      fail("tensor " + detail::shown(name) + " of type " + std::string(name_of(tensor.dtype)) +
           " and shape " + detail::shape_text(tensor.shape) + " needs " +
           (bytes ? std::to_string(*bytes) : "more than 2^64") + " bytes, but its offsets are " +
           offsets);
    }
  }

  [[nodiscard]] const detail::TensorEntry& entry(const std::string& name) const {
    const auto found = header_.tensors.find(name);
    if (found == header_.tensors.end()) {
      throw FileError(detail::quoted(path()) + " has no tensor named " + detail::shown(name) + ".");
    }
    return found->second;
  }

  [[nodiscard]] static std::size_t size(const detail::TensorEntry& tensor) {
    return static_cast<std::size_t>((tensor.end - tensor.begin) / size_of(tensor.dtype));
  }

  template <FileNumber T>
  void read_values(const std::string& name, const detail::TensorEntry& tensor,
                   std::span<T> values) const {
    const auto read = [&]<class From>() {
      detail::read_values<From>(file_, tensor.begin, values, "tensor " + detail::shown(name));
    };
    switch (tensor.dtype) {
      case DType::f64:
        return read.template operator()<double>();
      case DType::f32:
        return read.template operator()<float>();
      case DType::f16:
        return read.template operator()<detail::Float16>();
      case DType::bf16:
        return read.template operator()<detail::BFloat16>();
      case DType::i64:
        return read.template operator()<std::int64_t>();
      case DType::i32:
        return read.template operator()<std::int32_t>();
      case DType::i16:
        return read.template operator()<std::int16_t>();
      case DType::i8:
        return read.template operator()<std::int8_t>();
      case DType::u64:
        return read.template operator()<std::uint64_t>();
      case DType::u32:
        return read.template operator()<std::uint32_t>();
      case DType::u16:
        return read.template operator()<std::uint16_t>();
      case DType::u8:
      case DType::boolean:
        return read.template operator()<std::uint8_t>();
    }
  }

  FileReader file_;
  detail::SafetensorsHeader header_;
};

}  // namespace meanflow
