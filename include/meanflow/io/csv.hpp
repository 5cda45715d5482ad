// SPDX-License-Identifier: MIT
/// \file
/// Tables of numbers in text files: CSV, as spreadsheets and pandas write it.
///
/// Neither libcsv, which would be a library to link, nor a header with a number of columns that is
/// known when a program is compiled serves for tables of any width.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <meanflow/error.hpp>
#include <meanflow/io/file.hpp>

namespace meanflow {

/// A table of numbers, row by row.
struct CsvTable {
  std::vector<std::string> names;  ///< of the columns; empty if the file has no header
  std::size_t columns = 0;
  std::vector<double> values;  ///< (N, columns)

  [[nodiscard]] std::size_t rows() const { return columns == 0 ? 0 : values.size() / columns; }
};

namespace detail {

[[nodiscard]] inline std::string_view trimmed(std::string_view text) {
  const auto is_blank = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"')
    text = text.substr(1, text.size() - 2);
  return text;
}

/// The fields of a line; a separator between quotation marks is part of its field.
[[nodiscard]] inline std::vector<std::string_view> csv_fields(std::string_view line,
                                                              char separator) {
  std::vector<std::string_view> fields;
  bool quoted = false;
  std::size_t begin = 0;
  for (std::size_t i = 0; i <= line.size(); ++i) {
    if (i < line.size() && line[i] == '"') quoted = !quoted;
    if (i < line.size() && (quoted || line[i] != separator)) continue;
    fields.push_back(trimmed(line.substr(begin, i - begin)));
    begin = i + 1;
  }
  return fields;
}

[[nodiscard]] inline std::optional<double> csv_number(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// The first of comma, semicolon and tab that stands outside quotation marks.
[[nodiscard]] inline char csv_separator(std::string_view line) {
  for (const char separator : {',', ';', '\t'})
    if (csv_fields(line, separator).size() > 1) return separator;
  return ' ';  // as numpy.savetxt writes it; a single column has none
}

/// Fields that blanks separate, one or more of them.
[[nodiscard]] inline std::vector<std::string_view> blank_separated(std::string_view line) {
  auto fields = csv_fields(line, ' ');
  std::erase_if(fields, [](std::string_view field) { return field.empty(); });
  return fields;
}

/// Calls f(line, its number from 1) for each line that is not blank.
template <class F>
void for_each_line(std::string_view text, F f) {
  std::size_t number = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.find_first_not_of(" \t") != std::string_view::npos) f(line, number);
  }
}

}  // namespace detail

/// Reads a text file of numbers, one row a line, in columns that commas, semicolons, tabs or spaces
/// separate. A first line without any number is the header, whether or not it begins with "#", as
/// numpy.savetxt writes it. Numbers are written as in C, with a point. Throws FileError, naming the
/// line and the column, on a field that is no number and on lines of different lengths.
[[nodiscard]] inline CsvTable load_csv(const std::filesystem::path& path) {
  const FileReader file(path);
  std::string text(static_cast<std::size_t>(file.size()), '\0');
  file.read_at(0, std::as_writable_bytes(std::span(text)));
  std::string_view rest = text;
  if (rest.starts_with("\xef\xbb\xbf")) rest.remove_prefix(3);  // a byte-order mark
  CsvTable table;
  char separator = 0;
  bool first = true;
  detail::for_each_line(rest, [&](std::string_view line, std::size_t number) {
    if (first && line.starts_with('#')) line.remove_prefix(1);
    if (first) separator = detail::csv_separator(line);
    const auto fields =
        separator == ' ' ? detail::blank_separated(line) : detail::csv_fields(line, separator);
    const bool is_header = first && std::ranges::none_of(fields, [](std::string_view field) {
                             return detail::csv_number(field).has_value();
                           });
    if (first) table.columns = fields.size();
    first = false;
    if (is_header) {
      table.names.assign(fields.begin(), fields.end());
      return;
    }
    if (fields.size() != table.columns)
      throw FileError(detail::quoted(path) + ", line " + std::to_string(number) + ": has " +
                      std::to_string(fields.size()) + " fields, where the first line has " +
                      std::to_string(table.columns) + ".");
    for (std::size_t column = 0; column < fields.size(); ++column) {
      const auto value = detail::csv_number(fields[column]);
      if (!value)
        throw FileError(detail::quoted(path) + ", line " + std::to_string(number) + ", column " +
                        std::to_string(column + 1) + ": " + detail::shown(fields[column]) +
                        " is not a number.");
      table.values.push_back(*value);
    }
  });
  return table;
}

}  // namespace meanflow
