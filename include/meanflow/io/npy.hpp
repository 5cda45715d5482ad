// SPDX-License-Identifier: MIT
/// \file
/// Arrays in NumPy's NPY files (format 1.0, 2.0 and 3.0): numpy.load and numpy.save.
///
/// xtensor's reader is not used: version 0.24 misreads header lengths whose low byte is 128 or
/// more, allocates what the header claims before looking at the file's size, and accepts truncated
/// data.
#pragma once

#include <algorithm>
#include <bit>
#include <charconv>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <meanflow/error.hpp>
#include <meanflow/io/convert.hpp>
#include <meanflow/io/file.hpp>

namespace meanflow {

/// An array: values in row-major order, and the shape (empty for a single number).
template <class T>
struct NpyArray {
  std::vector<std::size_t> shape;
  std::vector<T> values;
};

namespace detail {

struct NpyHeader {
  char order = '<';  // of the bytes: '<', '>' or '|'
  char kind = 'f';   // 'f', 'i', 'u' or 'b'
  std::size_t width = 0;
  bool fortran = false;
  std::vector<std::size_t> shape;
  std::size_t count = 0;
  std::uint64_t data_begin = 0;
};

[[noreturn]] inline void npy_failure(const FileReader& file, const std::string& what) {
  throw FileError(quoted(file.path()) + " is not a usable NPY file: " + what + ".");
}

/// The text of the value behind 'key': in the header's Python dictionary, up to `last`.
inline std::string_view npy_entry(const FileReader& file, std::string_view header,
                                  std::string_view key, std::string_view last) {
  const std::string name = std::string("'").append(key).append("'");
  std::size_t begin = header.find(name);
  if (begin == std::string_view::npos) npy_failure(file, "its header has no " + name);
  begin = header.find_first_not_of(" :", begin + name.size());
  const std::size_t end =
      begin == std::string_view::npos ? begin : header.find_first_of(last, begin + 1);
  if (end == std::string_view::npos) npy_failure(file, "its header ends within " + name);
  return header.substr(begin, end - begin);
}

inline void parse_npy_type(const FileReader& file, std::string_view text, NpyHeader& header) {
  const auto refuse = [&] {
    npy_failure(file, "its elements are of type " + shown(text) +
                          ", where floats (f2, f4, f8), integers or booleans are expected");
  };
  if (!text.starts_with('\'')) refuse();
  text.remove_prefix(1);
  if (text.size() != 3) refuse();
  header.order = text[0];
  header.kind = text[1];
  header.width = static_cast<std::size_t>(text[2] - '0');
  const std::string_view widths = header.kind == 'f'                         ? "248"
                                  : header.kind == 'i' || header.kind == 'u' ? "1248"
                                  : header.kind == 'b'                       ? "1"
                                                                             : "";
  if (widths.find(text[2]) == std::string_view::npos) refuse();
  const bool one_byte = header.width == 1;
  if (header.order != '<' && header.order != '>' && !(one_byte && header.order == '|')) refuse();
}

inline void parse_npy_shape(const FileReader& file, std::string_view text, NpyHeader& header) {
  const auto refuse = [&] { npy_failure(file, "its shape reads " + shown(text)); };
  if (text.empty() || text[0] != '(') refuse();
  const char* place = text.data() + 1;
  const char* const end = text.data() + text.size();
  const auto skip_spaces = [&] {
    place = std::find_if(place, end, [](char c) { return c != ' '; });
  };
  for (skip_spaces(); place != end; skip_spaces()) {
    std::size_t extent = 0;
    const auto [next, error] = std::from_chars(place, end, extent);
    if (error != std::errc()) refuse();
    header.shape.push_back(extent);
    place = next;
    skip_spaces();
    if (place != end && *place++ != ',') refuse();
  }
}

/// Checks the shape against the bytes that are really there, before anything is allocated.
inline void check_npy_size(const FileReader& file, NpyHeader& header) {
  const std::uint64_t available = file.size() - header.data_begin;
  const bool empty = std::ranges::find(header.shape, 0U) != header.shape.end();
  std::uint64_t bytes = empty ? 0 : header.width;
  for (const std::size_t extent : header.shape) {
    if (!empty && bytes > available / extent) {
      npy_failure(file, "its header claims more data than the " + std::to_string(available) +
                            " bytes that follow, so it is truncated or damaged");
    }
    bytes *= extent;
  }
  if (bytes != available) {
    npy_failure(file, std::to_string(available) + " bytes of data follow where its header claims " +
                          std::to_string(bytes));
  }
  header.count = static_cast<std::size_t>(bytes / header.width);
}

inline NpyHeader read_npy_header(const FileReader& file) {
  unsigned char start[12] = {};
  const std::size_t got = static_cast<std::size_t>(std::min<std::uint64_t>(12, file.size()));
  file.read_at(0, std::as_writable_bytes(std::span(start, got)));
  if (got < 10 || std::memcmp(start, "\x93NUMPY", 6) != 0) {
    npy_failure(file, "it does not start with the magic string \\x93NUMPY");
  }
  if (start[6] < 1 || start[6] > 3) {
    npy_failure(file, "its format version is " + std::to_string(start[6]) +
                          ", where 1, 2 or 3 is expected");
  }
  const std::size_t size_begin = 8, size_width = start[6] == 1 ? 2 : 4;
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < size_width; ++i) {
    length |= static_cast<std::uint64_t>(start[size_begin + i]) << (8 * i);
  }
  NpyHeader header;
  header.data_begin = size_begin + size_width + length;
  const std::uint64_t longest = 1 << 20;
  if (header.data_begin > file.size() || length > longest) {
    npy_failure(file, "its header is said to have " + std::to_string(length) +
                          " bytes, which is more than the file contains or is absurd");
  }
  std::string text(static_cast<std::size_t>(length), '\0');
  file.read_at(size_begin + size_width, std::as_writable_bytes(std::span(text)));
  parse_npy_type(file, npy_entry(file, text, "descr", "'"), header);
  const std::string_view fortran = npy_entry(file, text, "fortran_order", ",} ");
  if (fortran != "True" && fortran != "False") {
    npy_failure(file, "its fortran_order reads " + shown(fortran));
  }
  header.fortran = fortran == "True";
  parse_npy_shape(file, npy_entry(file, text, "shape", ")"), header);
  check_npy_size(file, header);
  return header;
}

template <FileNumber T>
void read_npy_values(const FileReader& file, const NpyHeader& header, std::span<T> values) {
  const auto read = [&]<class From>() {
    read_values<From>(file, header.data_begin, values, "its data", header.order == '>');
  };
  const auto pick = [&]<class One, class Two, class Four, class Eight>() {
    if (header.width == 1) read.template operator()<One>();
    if (header.width == 2) read.template operator()<Two>();
    if (header.width == 4) read.template operator()<Four>();
    if (header.width == 8) read.template operator()<Eight>();
  };
  if (header.kind == 'f') {
    pick.template operator()<std::uint8_t, Float16, float, double>();  // one byte: never
  } else if (header.kind == 'i') {
    pick.template operator()<std::int8_t, std::int16_t, std::int32_t, std::int64_t>();
  } else {
    pick.template operator()<std::uint8_t, std::uint16_t, std::uint32_t, std::uint64_t>();
  }
}

/// Values of an array stored column by column (first index fastest), in row-major order.
template <class T>
[[nodiscard]] std::vector<T> row_major(const std::vector<T>& values,
                                       const std::vector<std::size_t>& shape) {
  std::vector<T> ordered(values.size());
  std::vector<std::size_t> index(shape.size(), 0);
  for (T& value : ordered) {
    std::size_t place = 0;
    for (std::size_t d = shape.size(); d-- > 0;) place = place * shape[d] + index[d];
    value = values[place];
    for (std::size_t d = shape.size(); d-- > 0 && ++index[d] == shape[d];) index[d] = 0;
  }
  return ordered;
}

}  // namespace detail

/// Reads an NPY file of floats (2, 4 or 8 bytes), integers or booleans, in either byte order and
/// either memory order. Floats are rounded to T; an integer that T cannot hold exactly is an error.
/// Throws FileError if the file is missing, damaged, truncated or of another type.
template <FileNumber T>
[[nodiscard]] NpyArray<T> load_npy(const std::filesystem::path& path) {
  const FileReader file(path);
  const detail::NpyHeader header = detail::read_npy_header(file);
  NpyArray<T> array{header.shape, std::vector<T>(header.count)};
  detail::read_npy_values<T>(file, header, array.values);
  if (header.fortran && header.shape.size() > 1) {
    array.values = detail::row_major(array.values, array.shape);
  }
  return array;
}

/// Writes an NPY file (format 1.0, row-major, little-endian), whole or not at all.
/// Throws ShapeError if the shape does not fit the number of values.
/// Throws FileError if the file cannot be written.
template <std::ranges::contiguous_range Values>
  requires FileNumber<std::ranges::range_value_t<Values>>
void save_npy(const std::filesystem::path& path, const std::vector<std::size_t>& shape,
              const Values& values) {
  using T = std::ranges::range_value_t<Values>;
  std::string extents;
  std::size_t count = 1;
  for (const std::size_t extent : shape) {
    count *= extent;
    extents += std::to_string(extent) + (shape.size() == 1 ? "," : ", ");
  }
  if (shape.size() > 1) extents.resize(extents.size() - 2);
  if (count != std::ranges::size(values)) {
    throw ShapeError("save_npy: the shape (" + extents + ") has " + std::to_string(count) +
                     " elements, but " + std::to_string(std::ranges::size(values)) +
                     " values were given.");
  }
  const char kind = std::floating_point<T> ? 'f' : std::signed_integral<T> ? 'i' : 'u';
  std::string header = std::string("{'descr': '") + (sizeof(T) == 1 ? '|' : '<') + kind +
                       std::to_string(sizeof(T)) + "', 'fortran_order': False, 'shape': (" +
                       extents + "), }";
  const std::size_t start = 10, alignment = 64;
  header.append(alignment - (start + header.size() + 1) % alignment, ' ').push_back('\n');
  if (header.size() > 0xffff) {
    throw ShapeError("save_npy: a shape of " + std::to_string(shape.size()) +
                     " dimensions does not fit an NPY header.");
  }
  AtomicFile file(path);
  file.write(std::string("\x93NUMPY\x01\0", 8) + static_cast<char>(header.size() & 0xff) +
             static_cast<char>(header.size() >> 8) + header);
  file.write(std::as_bytes(std::span(values)));
  file.commit();
}

}  // namespace meanflow
