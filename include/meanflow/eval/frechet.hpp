// SPDX-License-Identifier: MIT
/// \file
/// The Frechet distance between two sets of features, each taken as a normal distribution: the FID,
/// where the features are those of the Inception network.
#pragma once

#include <Eigen/Core>
#include <Eigen/Eigenvalues>
#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include <meanflow/error.hpp>
#include <meanflow/io/safetensors.hpp>
#include <meanflow/tensor/eigen.hpp>
#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

/// Number, mean and covariance of rows that are added incrementally. All is kept in double, in
/// a form that loses no digits to large means: the mean, and the sum of squares about it (Chan,
/// Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances",
/// 1979). How rows are split among calls changes only the rounding.
class FeatureStatistics {
 public:
  /// No rows yet; the first ones determine the length of a row.
  FeatureStatistics() = default;

  /// From the count, mean() and covariance() of other statistics.
  /// \param count at least 2   \param mean (D)   \param covariance (D, D), symmetric
  /// Throws ShapeError if the shapes are not those, or the count is less than 2.
  /// Throws Error if a number is not finite or the covariance is not symmetric.
  [[nodiscard]] static FeatureStatistics from(std::uint64_t count, const Tensor<double>& mean,
                                              const Tensor<double>& covariance) {
    const std::size_t dimension = mean.size();
    if (count < 2 || dimension == 0 || mean.shape() != Shape{dimension} ||
        covariance.shape() != Shape{dimension, dimension}) {
      throw ShapeError("FeatureStatistics: " + std::to_string(count) + " rows with mean " +
                       to_string(mean.shape()) + " and covariance " +
                       to_string(covariance.shape()) + ", expected 2 or more, (D) and (D, D).");
    }
    const auto matrix = as_eigen(covariance);
    const bool finite = as_eigen(mean).allFinite() && matrix.allFinite();
    if (!finite || (matrix - matrix.transpose()).norm() > 1e-6 * matrix.norm()) {
      throw Error(
          "FeatureStatistics: mean or covariance have numbers that are not finite, or the "
          "covariance is not symmetric.");
    }
    FeatureStatistics statistics;
    statistics.count_ = count;
    statistics.mean_ = as_eigen(mean).transpose();
    statistics.scatter_ = (matrix + matrix.transpose()) * (double(count - 1) / 2);
    return statistics;
  }

  /// Adds rows (N, D) of float or double. Nothing is added unless all of them are usable.
  /// Throws ShapeError if D is 0 or not that of the rows before.
  /// Throws Error if a row has a number that is not finite; the message says which, counted from
  ///   the first one ever added as 0.
  template <std::floating_point T>
  void add(const Tensor<T>& rows) {
    check_shape(rows.shape());
    check_finite(rows);
    if (count_ == 0) start(rows.row_size());
    const std::size_t block = 256;  // rows whose double copy stays in a core's cache
    for (std::size_t first = 0; first < rows.rows(); first += block) {
      const Tensor<T> part = rows.rows(first, std::min(first + block, rows.rows()));
      add_block(as_eigen(part).template cast<double>());
    }
  }

  /// Adds the rows that `other` has seen, as if they had been added here.
  /// Throws ShapeError if their length differs.
  void merge(const FeatureStatistics& other) {
    if (other.count_ == 0) return;
    if (count_ == 0) {
      *this = other;
      return;
    }
    check_shape({0, other.dimension()});
    scatter_ += other.scatter_;
    combine(other.count_, other.mean_);
  }

  /// Rows added.
  [[nodiscard]] std::uint64_t count() const { return count_; }

  /// D; 0 before the first row.
  [[nodiscard]] std::size_t dimension() const { return static_cast<std::size_t>(mean_.size()); }

  /// The mean of the rows. // (D)
  /// Throws ShapeError if there are none.
  [[nodiscard]] Tensor<double> mean() const {
    check_count("mean", 1);
    return Tensor<double>::from({dimension()}, {mean_.data(), dimension()});
  }

  /// The covariance of the rows, unbiased: divided by N - 1. // (D, D)
  /// Throws ShapeError if there are fewer than 2.
  [[nodiscard]] Tensor<double> covariance() const {
    check_count("covariance", 2);
    Tensor<double> covariance({dimension(), dimension()});
    as_eigen(covariance) = scatter_.selfadjointView<Eigen::Lower>();
    as_eigen(covariance) /= double(count_ - 1);
    return covariance;
  }

 private:
  void check_shape(const Shape& rows) const {
    const bool usable = rows.rank() == 2 && rows.last() > 0;
    if (usable && (count_ == 0 || rows.last() == dimension())) return;
    throw ShapeError("FeatureStatistics: rows of shape " + to_string(rows) + ", expected (N, " +
                     (count_ == 0 ? "D" : std::to_string(dimension())) + ").");
  }

  template <class T>
  void check_finite(const Tensor<T>& rows) const {
    for (std::size_t i = 0; i < rows.rows(); ++i) {
      if (as_eigen(rows.rows(i, i + 1)).allFinite()) continue;
      throw Error("FeatureStatistics: row " + std::to_string(count_ + i) +
                  " has a number that is not finite.");
    }
  }

  void check_count(const char* what, std::uint64_t least) const {
    if (count_ >= least) return;
    throw ShapeError(std::string("FeatureStatistics: the ") + what + " of " +
                     std::to_string(count_) + " rows was asked for, expected " +
                     std::to_string(least) + " or more.");
  }

  void start(std::size_t dimension) {
    const auto size = static_cast<Eigen::Index>(dimension);
    mean_ = Eigen::VectorXd::Zero(size);
    scatter_ = Eigen::MatrixXd::Zero(size, size);
  }

  void add_block(Eigen::MatrixXd rows) {
    const Eigen::VectorXd mean = rows.colwise().mean();
    rows.rowwise() -= mean.transpose();
    scatter_.selfadjointView<Eigen::Lower>().rankUpdate(rows.transpose());
    combine(static_cast<std::uint64_t>(rows.rows()), mean);
  }

  // The squares of both groups about their own means are in scatter_ already. With d the step from
  // one mean to the other, those about the common mean are n m / (n + m) d d^T more.
  void combine(std::uint64_t count, const Eigen::VectorXd& mean) {
    const double n = double(count_), m = double(count);
    const Eigen::VectorXd step = mean - mean_;
    scatter_.selfadjointView<Eigen::Lower>().rankUpdate(step, n * m / (n + m));
    mean_ += step * (m / (n + m));
    count_ += count;
  }

  std::uint64_t count_ = 0;
  Eigen::VectorXd mean_;
  Eigen::MatrixXd scatter_;  // sum of (x - mean)(x - mean)^T; the lower triangle alone
};

namespace detail {

[[nodiscard]] inline Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> eigen_solver(
    const Eigen::MatrixXd& matrix, int wanted) {
  Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(matrix, wanted);
  if (solver.info() != Eigen::Success) {
    throw Error("frechet_distance: the eigenvalues of a covariance could not be computed.");
  }
  return solver;
}

/// tr((A^{1/2} B A^{1/2})^{1/2}). With A = F F^T, F = V L^{1/2} from A's eigenvectors and
/// eigenvalues, the matrix F^T B F has the same eigenvalues, whose roots are added.
[[nodiscard]] inline double trace_of_root(const Eigen::MatrixXd& a, const Eigen::MatrixXd& b) {
  const auto first = eigen_solver(a, Eigen::ComputeEigenvectors);
  const Eigen::MatrixXd factor =
      first.eigenvectors() * first.eigenvalues().cwiseMax(0.0).cwiseSqrt().asDiagonal();
  const Eigen::MatrixXd product = factor.transpose() * b * factor;
  const auto second = eigen_solver(product, Eigen::EigenvaluesOnly);
  return second.eigenvalues().cwiseMax(0.0).cwiseSqrt().sum();
}

}  // namespace detail

/// The squared Frechet distance between normal distributions with the means m and covariances C of
/// two sets of features,
///
///     |m1 - m2|^2 + tr(C1 + C2 - 2 (C1^{1/2} C2 C1^{1/2})^{1/2})
///
/// (Dowson and Landau, "The Frechet distance between multivariate normal distributions", 1982; as a
/// measure of generated images: Heusel et al., arXiv 1706.08500, eq. 6, where it is called FID and
/// is not squared again). 0 if both are equal, and positive otherwise.
///
/// Rounding may make eigenvalues that should be 0 negative; these count as 0. So sets of fewer rows
/// than D are fine, with an error of about 1e-8 of the largest eigenvalue for each that should be
/// 0; the result may then be below 0 by that much. Takes of the order of D^3 operations. Throws
/// ShapeError if the dimensions differ or a set has fewer than 2 rows.
[[nodiscard]] inline double frechet_distance(const FeatureStatistics& a,
                                             const FeatureStatistics& b) {
  if (a.dimension() != b.dimension()) {
    throw ShapeError("frechet_distance: features of dimension " + std::to_string(a.dimension()) +
                     " and " + std::to_string(b.dimension()) + ", expected the same.");
  }
  const Tensor<double> covariance_a = a.covariance(), covariance_b = b.covariance();
  const Tensor<double> mean_a = a.mean(), mean_b = b.mean();
  const Eigen::MatrixXd first = as_eigen(covariance_a), second = as_eigen(covariance_b);
  return (as_eigen(mean_a) - as_eigen(mean_b)).squaredNorm() + first.trace() + second.trace() -
         2 * detail::trace_of_root(first, second);
}

/// Adds statistics to a file: "count" (), "mean" (D) and "covariance" (D, D). Throws ShapeError if
/// there are fewer than 2 rows.
inline void add_statistics(SafetensorsWriter& writer, const FeatureStatistics& statistics) {
  const Tensor<double> mean = statistics.mean(), covariance = statistics.covariance();
  const std::size_t dimension = statistics.dimension();
  writer.add("count", {}, std::vector<std::uint64_t>{statistics.count()});
  writer.add("mean", {dimension}, std::span<const double>(mean.span()));
  writer.add("covariance", {dimension, dimension}, std::span<const double>(covariance.span()));
}

/// Writes statistics to a safetensors file, so that those of a reference set are computed once:
/// "count" (), "mean" (D) and "covariance" (D, D), and `metadata` as strings. Whole or not at all.
/// Throws ShapeError if there are fewer than 2 rows. Throws FileError if it cannot be written.
inline void save_statistics(const std::filesystem::path& path, const FeatureStatistics& statistics,
                            const std::map<std::string, std::string>& metadata = {}) {
  SafetensorsWriter writer;
  for (const auto& [key, value] : metadata) writer.metadata(key, value);
  add_statistics(writer, statistics);
  writer.write(path);
}

/// Reads what save_statistics() wrote, the same up to rounding.
/// Throws FileError if the file is missing, damaged, or holds something else.
[[nodiscard]] inline FeatureStatistics load_statistics(const std::filesystem::path& path) {
  const Safetensors file(path);
  const auto read = [&](const char* name) {
    Shape shape;
    for (const std::size_t extent : file.shape(name)) shape.push_back(extent);
    const std::vector<double> values = file.read<double>(name);
    return Tensor<double>::from(shape, values);
  };
  const std::vector<std::uint64_t> count = file.read<std::uint64_t>("count");
  try {
    return FeatureStatistics::from(count.size() == 1 ? count[0] : 0, read("mean"),
                                   read("covariance"));
  } catch (const FileError&) {
    throw;
  } catch (const Error& error) {
    throw FileError(detail::quoted(path) + " holds no usable statistics: " + error.what());
  }
}

}  // namespace meanflow
