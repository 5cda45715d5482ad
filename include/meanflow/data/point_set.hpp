// SPDX-License-Identifier: MIT
/// \file
/// A user's own points, any table of N rows and D columns, as data to learn from.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <meanflow/data/fill_rows.hpp>
#include <meanflow/data/scaling.hpp>
#include <meanflow/error.hpp>
#include <meanflow/io/csv.hpp>
#include <meanflow/io/npy.hpp>
#include <meanflow/random/philox.hpp>
#include <meanflow/tensor/checksum.hpp>
#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

struct PointSetOptions {
  double holdout = 0.1;    ///< share of the rows kept for evaluation, in [0, 1)
  std::uint64_t seed = 0;  ///< chooses the rows kept for evaluation
  ScalingRule scaling = ScalingRule::per_column;  ///< what columns are divided by
};

/// N points of D numbers, each column centred and divided by its standard deviation, or all by one
/// factor (`PointSetOptions::scaling`). The rows are split once into training rows and held-out
/// rows; the same seed and number of rows give the same split.
class PointSet {
 public:
  /// Reads N x D numbers: from a file that ends in .csv, .tsv or .txt with or without a header
  /// (`load_csv`), from an NPY file otherwise.
  /// Throws FileError if the file is unusable, is not a table, has fewer than 2 rows, holds a value
  /// that is not finite, or has only equal rows; the message names the file and the row.
  /// Throws SettingError if the options are out of range (also below).
  explicit PointSet(const std::filesystem::path& path, const PointSetOptions& options = {})
      : PointSet(load(path), detail::quoted(path), options) {}

  /// Takes values (N, dim). Throws FileError and ShapeError on the conditions above.
  PointSet(std::span<const double> values, std::size_t dim, const PointSetOptions& options = {})
      : PointSet(table(values, dim), "The point set", options) {}

  /// Numbers per row.
  [[nodiscard]] std::size_t dim() const { return dim_; }

  /// The names of the columns; empty if the file has none.
  [[nodiscard]] const std::vector<std::string>& names() const { return names_; }

  /// Number of rows, training and held-out together.
  [[nodiscard]] std::size_t size() const { return rows_.size() / dim(); }

  /// The rows to learn from, normalised: (training_size, dim).
  [[nodiscard]] std::span<const float> training() const {
    return std::span(rows_).subspan(held_out_ * dim());
  }

  /// The rows kept for evaluation, normalised: round(holdout * size) x dim.
  [[nodiscard]] std::span<const float> held_out() const {
    return std::span(rows_).first(held_out_ * dim());
  }

  /// What was subtracted from each column, and then divided by.
  [[nodiscard]] const Scaling& scaling() const { return scaling_; }

  /// Draws training rows with replacement into points (N, dim), row i by RandomStream(seed,
  /// Purpose::data, step, first_row + i): drawing a batch in parts gives the same points.
  /// Throws ShapeError if the values are not a whole number of rows.
  void sample(std::span<float> points, std::uint64_t seed, std::uint64_t step,
              std::uint64_t first_row = 0) const {
    check_rows("sample", points.size());
    const std::span<const float> source = training();
    for (std::size_t i = 0; i < points.size() / dim(); ++i) {
      RandomStream random(seed, Purpose::data, step, first_row + i);
      const std::size_t row = random.below(source.size() / dim());
      std::ranges::copy(source.subspan(row * dim(), dim()), points.begin() + i * dim());
    }
  }

  /// As a source of training batches (`DataSource`): training rows, drawn with replacement.
  [[nodiscard]] Shape row_shape() const { return {dim()}; }
  [[nodiscard]] std::string description() const {
    return std::to_string(training().size() / dim()) + " rows, checksum " +
           detail::checksum(training());
  }
  void fill(Tensor<float>& x, std::uint64_t seed, std::uint64_t number) const {
    detail::fill_rows(x, [&](std::span<float> rows, std::size_t first) {
      sample(rows, seed, 0, number * x.rows() + first);
    });
  }

  /// Maps normalised points (N, dim), such as a model's samples, to the file's own units, in place.
  void to_original(std::span<float> points) const {
    check_rows("to_original", points.size());
    scaling_.undo(points);
  }

 private:
  struct Table {
    std::vector<double> values;
    std::size_t dim;
    std::vector<std::string> names{};
  };

  PointSet(const Table& table, const std::string& name, const PointSetOptions& options)
      : dim_(table.dim), names_(table.names) {
    const std::size_t count = table.values.size() / table.dim;
    if (!(options.holdout >= 0 && options.holdout < 1)) {
      throw SettingError("PointSet: holdout is " + std::to_string(options.holdout) +
                         ", where a share of at least 0 and less than 1 is expected.");
    }
    check_values(table, count, name);
    scaling_ = measure_scaling(table.values, dim_, options.scaling, name);
    held_out_ = static_cast<std::size_t>(std::llround(options.holdout * double(count)));
    held_out_ = std::min(held_out_, count - 1);
    std::vector<double> scaled = table.values;
    scaling_.apply(std::span(scaled));
    for (const double value : scaled)
      if (!std::isfinite(static_cast<float>(value)))
        throw FileError(name + " holds values too large for single precision.");
    rows_.reserve(scaled.size());
    for (const std::size_t row : permutation(count, options.seed))
      for (std::size_t d = 0; d < dim_; ++d)
        rows_.push_back(static_cast<float>(scaled[row * dim_ + d]));
  }

  [[nodiscard]] static Table load(const std::filesystem::path& path) {
    const std::string ending = path.extension().string();
    if (ending == ".csv" || ending == ".tsv" || ending == ".txt") {
      CsvTable csv = load_csv(path);
      if (csv.columns == 0) throw FileError(detail::quoted(path) + " holds no numbers.");
      return {std::move(csv.values), csv.columns, std::move(csv.names)};
    }
    NpyArray<double> array = load_npy<double>(path);
    if (array.shape.size() != 2 || array.shape[1] == 0) {
      std::string shape;
      for (const std::size_t extent : array.shape) {
        shape += (shape.empty() ? "" : " x ") + std::to_string(extent);
      }
      throw FileError(detail::quoted(path) + " holds an array of shape (" + shape +
                      "), where a table of N rows and D columns is expected.");
    }
    return {std::move(array.values), array.shape[1]};
  }

  [[nodiscard]] static Table table(std::span<const double> values, std::size_t dim) {
    if (dim == 0 || values.size() % dim != 0) {
      throw ShapeError("PointSet: " + std::to_string(values.size()) +
                       " values are not a whole number of rows of " + std::to_string(dim) + ".");
    }
    return {{values.begin(), values.end()}, dim};
  }

  static void check_values(const Table& table, std::size_t count, const std::string& name) {
    if (count < 2) {
      throw FileError(name + " has " + std::to_string(count) +
                      " rows, where at least 2 are expected.");
    }
    const auto bad =
        std::ranges::find_if(table.values, [](double value) { return !std::isfinite(value); });
    if (bad != table.values.end()) {
      const auto place = static_cast<std::size_t>(bad - table.values.begin());
      throw FileError(name + " holds a value that is not finite in row " +
                      std::to_string(place / table.dim) + ", column " +
                      std::to_string(place % table.dim) + " (counted from 0).");
    }
  }

  void check_rows(const char* function, std::size_t values) const {
    if (values % dim() != 0) {
      throw ShapeError("PointSet::" + std::string(function) + ": " + std::to_string(values) +
                       " values are not a whole number of rows of " + std::to_string(dim()) + ".");
    }
  }

  std::vector<float> rows_;  // held-out rows first
  std::size_t dim_ = 0;
  std::vector<std::string> names_;
  Scaling scaling_;
  std::size_t held_out_ = 0;
};

}  // namespace meanflow
