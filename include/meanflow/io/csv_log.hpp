// SPDX-License-Identifier: MIT
/// \file
/// A table of numbers that grows by a row per step, and continues where a resumed run does.
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <meanflow/error.hpp>
#include <meanflow/io/convert.hpp>
#include <meanflow/io/file.hpp>

namespace meanflow {

namespace detail {

/// The shortest text that reads back as the same number: "0.1", "nan", "-inf".
template <FileNumber T>
void append_number(std::string& text, T value) {
  if constexpr (std::floating_point<T>) {
    if (std::isnan(value)) {  // without a sign, which few programs read
      text += "nan";
      return;
    }
  }
  std::array<char, 32> digits{};
  const auto result = std::to_chars(digits.data(), digits.data() + digits.size(), value);
  text.append(digits.data(), result.ptr);
}

}  // namespace detail

/// A CSV file with a fixed set of columns, the first of which is the step. The header is written
/// once; each row is handed to the system as a whole when it is added. One writer at a time.
class CsvLog {
 public:
  /// Starts the log, or appends to an existing one.
  /// \param columns their names, the step's first; without commas, quotes and line breaks
  /// \param first_step rows of this step and later ones are removed, so that a run that
  ///   resumes there logs no step twice; empty: all rows stay
  /// A last line that was not finished is removed as well. The file is replaced whole or not at
  /// all, and only if something changes.
  /// Throws SettingError if there is no column, or a name is empty, appears twice or has one of
  ///   those characters.
  /// Throws FileError if the file has other columns, is damaged, or cannot be written.
  CsvLog(const std::filesystem::path& path, const std::vector<std::string>& columns,
         std::optional<std::uint64_t> first_step = std::nullopt)
      : columns_(columns.size()),
        file_(prepared(path, Format{header_of(columns), columns.size(), first_step})) {}

  [[nodiscard]] const std::filesystem::path& path() const { return file_.path(); }

  /// Adds a row: the step, and a number for each of the other columns. Numbers are written so that
  /// they read back exactly, also those that are infinite or NaN.
  /// Throws ShapeError if there are more or fewer numbers than columns.
  /// Throws FileError if the disk is full; the row then waits and is written before the next one.
  template <FileNumber... Numbers>
  void row(std::uint64_t step, Numbers... numbers) {
    check_count(sizeof...(numbers));
    std::string line = std::to_string(step);
    ((line += ',', detail::append_number(line, numbers)), ...);
    add(std::move(line));
  }

  /// As above, for columns that are chosen when the program runs.
  void row(std::uint64_t step, std::span<const double> numbers) {
    check_count(numbers.size());
    std::string line = std::to_string(step);
    for (const double number : numbers) {
      line += ',';
      detail::append_number(line, number);
    }
    add(std::move(line));
  }

 private:
  struct Format {
    std::string header;
    std::size_t columns;
    std::optional<std::uint64_t> first_step;
  };

  [[nodiscard]] static std::string header_of(const std::vector<std::string>& columns) {
    if (columns.empty()) throw SettingError("CsvLog: no columns, expected at least the step's.");
    std::string header;
    for (std::size_t i = 0; i < columns.size(); ++i) {
      const bool again = std::ranges::find(columns, columns[i]) !=
                         columns.begin() + static_cast<std::ptrdiff_t>(i);
      if (again || columns[i].empty() || columns[i].find_first_of(",\"\r\n") != std::string::npos) {
        throw SettingError("CsvLog: column " + std::to_string(i) + " is named " +
                           detail::shown(columns[i]) +
                           (again ? ", as is one before it."
                                  : ", expected a name without commas, quotes and line breaks."));
      }
      header += (i > 0 ? "," : "") + columns[i];
    }
    return header;
  }

  /// Prepares the file for rows to be appended. Returns its path.
  [[nodiscard]] static const std::filesystem::path& prepared(const std::filesystem::path& path,
                                                             const Format& format) {
    std::string text;
    std::error_code unknown;  // then writing it says why
    if (std::filesystem::exists(path, unknown)) {
      const FileReader file(path);
      text.resize(static_cast<std::size_t>(file.size()));
      file.read_at(0, std::as_writable_bytes(std::span(text)));
    }
    const std::string kept = kept_lines(path, text, format);
    if (kept == text) return path;
    AtomicFile file(path);
    file.write(kept);
    file.commit();
    return path;
  }

  [[nodiscard]] static std::string kept_lines(const std::filesystem::path& path,
                                              std::string_view text, const Format& format) {
    const std::string_view first = text.substr(0, text.find('\n'));
    const bool finished = first.size() < text.size();
    if (finished ? first != format.header : !format.header.starts_with(first)) {
      throw FileError(detail::quoted(path) + " has the columns " + detail::shown(first) +
                      ", expected " + detail::shown(format.header) + ".");
    }
    std::string kept = format.header + "\n";
    if (!finished) return kept;
    std::size_t begin = first.size() + 1;
    for (std::size_t number = 2; begin < text.size(); ++number) {
      const std::size_t end = text.find('\n', begin);
      if (end == std::string_view::npos) break;
      const std::string_view line = text.substr(begin, end + 1 - begin);
      const std::uint64_t step = step_of(path, line, number, format);
      if (!format.first_step || step < *format.first_step) kept += line;
      begin = end + 1;
    }
    return kept;
  }

  [[nodiscard]] static std::uint64_t step_of(const std::filesystem::path& path,
                                             std::string_view line, std::size_t number,
                                             const Format& format) {
    std::uint64_t step = 0;
    const char* last = line.data() + std::min(line.find(','), line.size() - 1);
    const auto result = std::from_chars(line.data(), last, step);
    const auto commas = static_cast<std::size_t>(std::ranges::count(line, ','));
    if (result.ec == std::errc() && result.ptr == last && commas + 1 == format.columns) return step;
    throw FileError(detail::quoted(path) + " is not a usable log: line " + std::to_string(number) +
                    " is " + detail::shown(line.substr(0, line.size() - 1)) +
                    ", expected a step and " + std::to_string(format.columns - 1) + " numbers.");
  }

  void check_count(std::size_t numbers) const {
    if (numbers + 1 == columns_) return;
    throw ShapeError("CsvLog::row: " + std::to_string(numbers) +
                     " numbers after the step, where the columns of " + detail::quoted(path()) +
                     " expect " + std::to_string(columns_ - 1) + ".");
  }

  void add(std::string line) {
    line += '\n';
    file_.append(line);
    file_.flush();
  }

  std::size_t columns_;
  AppendFile file_;
};

}  // namespace meanflow
