// SPDX-License-Identifier: MIT
#include <Eigen/LU>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/eval/features.hpp>
#include <meanflow/eval/frechet.hpp>
#include <meanflow/random/philox.hpp>

#include "io/temporary_folder.hpp"

using namespace meanflow;
using namespace meanflow_test;

namespace {

template <class T = double>
Tensor<T> normal_rows(std::size_t count, std::size_t dimension, std::uint64_t step) {
  Tensor<T> rows({count, dimension});
  fill_normal_rows(rows.span(), dimension, 1, Purpose::user, step);
  return rows;
}

template <class T>
FeatureStatistics statistics_of(const Tensor<T>& rows) {
  FeatureStatistics statistics;
  statistics.add(rows);
  return statistics;
}

FeatureStatistics statistics(const std::vector<double>& mean, const Eigen::MatrixXd& covariance) {
  const std::size_t dimension = mean.size();
  RowMajorMatrix<double> matrix = covariance;
  return FeatureStatistics::from(1000, Tensor<double>::from({dimension}, mean), as_tensor(matrix));
}

double largest_difference(const Tensor<double>& a, const Tensor<double>& b) {
  REQUIRE(a.shape() == b.shape());
  return (as_eigen(a) - as_eigen(b)).cwiseAbs().maxCoeff();
}

double difference(const FeatureStatistics& a, const FeatureStatistics& b) {
  CHECK(a.count() == b.count());
  return std::max(largest_difference(a.mean(), b.mean()),
                  largest_difference(a.covariance(), b.covariance()));
}

/// A positive definite matrix, some way from being diagonal.
Eigen::MatrixXd random_covariance(std::size_t dimension, std::uint64_t step) {
  const Tensor<double> rows = normal_rows(dimension + 3, dimension, step);
  return as_eigen(rows).transpose() * as_eigen(rows);
}

/// An orthogonal matrix: the reflection at a random plane.
Eigen::MatrixXd random_basis(std::size_t dimension) {
  const Tensor<double> row = normal_rows(1, dimension, 77);
  const Eigen::VectorXd normal = as_eigen(row).transpose().normalized();
  const auto size = normal.size();
  return Eigen::MatrixXd::Identity(size, size) - 2 * normal * normal.transpose();
}

/// tr(M^{1/2}) by the iteration of Denman and Beavers.
double trace_of_root_by_iteration(const Eigen::MatrixXd& matrix) {
  Eigen::MatrixXd root = matrix, inverse = Eigen::MatrixXd::Identity(matrix.rows(), matrix.cols());
  for (int i = 0; i < 40; ++i) {
    const Eigen::MatrixXd next = (root + inverse.inverse()) / 2;
    inverse = ((inverse + root.inverse()) / 2).eval();
    root = next;
  }
  REQUIRE((root * root - matrix).cwiseAbs().maxCoeff() < 1e-9 * matrix.cwiseAbs().maxCoeff());
  return root.trace();
}

const std::vector<double> zeros(12);

std::vector<double> zero_mean(std::size_t dimension) {
  return {zeros.begin(), zeros.begin() + static_cast<std::ptrdiff_t>(dimension)};
}

}  // namespace

TEST_CASE("Mean and covariance by hand") {
  const auto rows = Tensor<float>::from({3, 2}, {1, 10, 2, 30, 6, 20});
  const FeatureStatistics statistics = statistics_of(rows);
  CHECK(statistics.count() == 3);
  CHECK(statistics.dimension() == 2);
  CHECK(statistics.mean()[0] == doctest::Approx(3));
  CHECK(statistics.mean()[1] == doctest::Approx(20));
  // deviations (-2, -10), (-1, 10), (3, 0)
  const std::vector<double> expected{7, 5, 5, 100};
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(statistics.covariance()[i] == doctest::Approx(expected[i]));
  }
}

TEST_CASE("Two passes over all rows give the same covariance") {
  const std::size_t count = 700, dimension = 9;  // more than one block, and not a whole number
  const Tensor<float> rows = normal_rows<float>(count, dimension, 1);
  std::vector<long double> mean(dimension);
  for (std::size_t i = 0; i < rows.size(); ++i) mean[i % dimension] += rows[i] / (long double)count;
  Tensor<double> covariance({dimension, dimension});
  for (std::size_t a = 0; a < dimension; ++a) {
    for (std::size_t b = 0; b < dimension; ++b) {
      long double sum = 0;
      for (std::size_t i = 0; i < count; ++i) {
        sum += (rows.row(i)[a] - mean[a]) * (rows.row(i)[b] - mean[b]);
      }
      covariance[a * dimension + b] = double(sum / (count - 1));
    }
  }
  const FeatureStatistics statistics = statistics_of(rows);
  CHECK(largest_difference(statistics.covariance(), covariance) < 1e-14);
  for (std::size_t d = 0; d < dimension; ++d) {
    CHECK(std::abs(statistics.mean()[d] - double(mean[d])) < 1e-15);
  }
}

TEST_CASE("A large mean costs no digits") {
  Tensor<double> rows = normal_rows(1000, 3, 2);
  Tensor<double> shifted = rows.clone();
  const double shift = 1 << 20;
  for (double& value : shifted.span()) value += shift;
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = shifted[i] - shift;  // as it was rounded
  const Tensor<double> expected = statistics_of(rows).covariance();
  CHECK(largest_difference(statistics_of(shifted).covariance(), expected) < 1e-10);
}

TEST_CASE("Incrementally, merged in any order, and at once are the same") {
  Tensor<double> rows = normal_rows(1000, 5, 3);
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] += double(i) / 1000;  // a drifting mean
  const FeatureStatistics whole = statistics_of(rows);
  for (const std::size_t batch : {1U, 7U, 256U, 999U}) {
    FeatureStatistics streamed;
    for (std::size_t first = 0; first < 1000; first += batch) {
      streamed.add(rows.rows(first, std::min<std::size_t>(first + batch, 1000)));
    }
    CHECK(difference(streamed, whole) < 1e-12);
  }
  const FeatureStatistics a = statistics_of(rows.rows(0, 1)), b = statistics_of(rows.rows(1, 300)),
                          c = statistics_of(rows.rows(300, 1000));
  FeatureStatistics left = a, right = c, pair = b;
  left.merge(b);
  left.merge(c);
  pair.merge(a);
  right.merge(pair);
  CHECK(difference(left, whole) < 1e-12);
  CHECK(difference(right, whole) < 1e-12);

  FeatureStatistics empty;
  empty.add(Tensor<float>({0, 5}));
  left.merge(empty);
  CHECK(difference(left, whole) < 1e-12);
  empty.merge(whole);
  CHECK(difference(empty, whole) == 0);
  FeatureStatistics twice = whole;
  twice.merge(twice);
  CHECK(twice.count() == 2000);
  CHECK(largest_difference(twice.mean(), whole.mean()) == 0);
  CHECK(twice.covariance()[0] == doctest::Approx(whole.covariance()[0] * 2 * 999 / 1999));
}

TEST_CASE("Diagonal covariances: the distance by hand") {
  // |m1 - m2|^2 + sum of (s1 - s2)^2
  const auto a = statistics({1, 2, 3}, Eigen::Vector3d(1, 4, 9).asDiagonal());
  const auto b = statistics({1, 0, 4}, Eigen::Vector3d(4, 4, 0.25).asDiagonal());
  const double exact = (4 + 1) + (1 + 0 + 2.5 * 2.5);
  CHECK(frechet_distance(a, b) == doctest::Approx(exact).epsilon(1e-14));
  CHECK(frechet_distance(b, a) == doctest::Approx(exact).epsilon(1e-14));
}

TEST_CASE("Covariances of two dimensions: the root by a closed form") {
  // tr(M^{1/2}) = (tr M + 2 det(M)^{1/2})^{1/2} for a 2 x 2 matrix with positive eigenvalues.
  Eigen::Matrix2d a, b;
  a << 2, 1, 1, 3;
  b << 5, -2, -2, 1;
  const Eigen::Matrix2d product = a * b;
  REQUIRE((product - b * a).norm() > 1);  // they do not commute
  const double root = std::sqrt(product.trace() + 2 * std::sqrt(product.determinant()));
  const double exact = 2 + a.trace() + b.trace() - 2 * root;
  CHECK(frechet_distance(statistics({0, 1}, a), statistics({1, 0}, b)) ==
        doctest::Approx(exact).epsilon(1e-13));
}

TEST_CASE("Covariances that commute, in a basis of their own") {
  const Eigen::MatrixXd basis = random_basis(4);
  const Eigen::Vector4d a(0.1, 1, 4, 100), b(9, 2, 0.5, 81);
  const double exact = (a.cwiseSqrt() - b.cwiseSqrt()).squaredNorm();
  const auto first = statistics(zero_mean(4), basis * a.asDiagonal() * basis.transpose());
  const auto second = statistics(zero_mean(4), basis * b.asDiagonal() * basis.transpose());
  CHECK(frechet_distance(first, second) == doctest::Approx(exact).epsilon(1e-12));
}

TEST_CASE("Covariances that do not commute: an iteration for the root agrees") {
  for (const std::size_t dimension : {1U, 2U, 5U, 12U}) {
    const Eigen::MatrixXd a = random_covariance(dimension, 10),
                          b = random_covariance(dimension, 11);
    const double exact = a.trace() + b.trace() - 2 * trace_of_root_by_iteration(a * b);
    const auto first = statistics(zero_mean(dimension), a);
    const auto second = statistics(zero_mean(dimension), b);
    CHECK(frechet_distance(first, second) == doctest::Approx(exact).epsilon(1e-9));
    CHECK(frechet_distance(second, first) == doctest::Approx(exact).epsilon(1e-9));
  }
}

TEST_CASE("Singular covariances") {
  // Of rank one, u u^T and v v^T: tr C1 + tr C2 - 2 |u.v|.
  const Eigen::VectorXd u = Eigen::Vector3d(1, 2, 2), v = Eigen::Vector3d(3, 0, -4);
  const auto a = statistics(zero_mean(3), u * u.transpose());
  const auto b = statistics(zero_mean(3), v * v.transpose());
  CHECK(frechet_distance(a, b) == doctest::Approx(9 + 25 - 2 * 5).epsilon(1e-6));
  const auto none = statistics(zero_mean(3), Eigen::Matrix3d::Zero());
  CHECK(frechet_distance(a, none) == doctest::Approx(9));
  CHECK(frechet_distance(none, none) == 0);
  const FeatureStatistics few = statistics_of(normal_rows(5, 40, 4));  // rank 4 of 40
  CHECK(std::abs(frechet_distance(few, few)) < 1e-5);
}

TEST_CASE("Equal statistics are at distance 0") {
  const FeatureStatistics statistics = statistics_of(normal_rows(500, 20, 5));
  CHECK(std::abs(frechet_distance(statistics, statistics)) < 1e-12);
}

TEST_CASE("The distance between samples of two normal distributions") {
  // [docs:frechet]
  const auto reference = normal_rows<float>(20000, 3, 6);  // (N, D)
  auto generated = normal_rows<float>(20000, 3, 7);
  for (float& value : generated.span()) value = 2 * value + 1;

  FeatureStatistics a, b;
  a.add(reference);  // as often as there are batches
  b.add(generated);
  const double distance = frechet_distance(a, b);
  // [docs:end]
  CHECK(distance == doctest::Approx(3 * (1 + 1)).epsilon(0.03));
}

TEST_CASE("Statistics are kept in a file") {
  const TemporaryFolder folder;
  const auto path = folder / "reference.safetensors";
  const FeatureStatistics statistics = statistics_of(normal_rows(300, 6, 8));
  // [docs:statistics]
  save_statistics(path, statistics, {{"set", "train"}});
  const FeatureStatistics loaded = load_statistics(path);
  // [docs:end]
  CHECK(difference(loaded, statistics) < 1e-15);
  CHECK(Safetensors(path).metadata().at("set") == "train");
  CHECK(Safetensors(path).read<double>("mean")[2] == statistics.mean()[2]);
  CHECK(Safetensors(path).shape("covariance") == std::vector<std::size_t>{6, 6});
  FeatureStatistics more = loaded, expected = statistics;  // more rows are added
  more.add(normal_rows(10, 6, 9));
  expected.add(normal_rows(10, 6, 9));
  CHECK(difference(more, expected) < 1e-14);
}

TEST_CASE("Files without usable statistics are refused") {
  const TemporaryFolder folder;
  const auto path = folder / "x.safetensors";
  const auto refusal = [&](std::uint64_t count, const std::vector<std::size_t>& shape,
                           const std::vector<double>& covariance) {
    SafetensorsWriter writer;
    writer.add("count", {}, std::vector<std::uint64_t>{count});
    writer.add("mean", {2}, std::vector<double>{1, 2});
    writer.add("covariance", shape, covariance);
    writer.write(path);
    return message_of<FileError>([&] { (void)load_statistics(path); });
  };
  CHECK(refusal(2, {2, 2}, {1, 0.5, 0.5, 1}).empty());
  CHECK(contains(refusal(1, {2, 2}, {1, 0, 0, 1}), "1 rows"));
  CHECK(contains(refusal(1, {2, 2}, {1, 0, 0, 1}), path.string()));
  CHECK(contains(refusal(2, {4}, {1, 0, 0, 1}), "(4)"));
  CHECK(contains(refusal(2, {1, 1, 1, 2, 1, 2}, {1, 0, 0, 1}), path.string()));
  CHECK(contains(refusal(2, {2, 2}, {1, 0.5, 0.25, 1}), "not symmetric"));
  CHECK(contains(refusal(2, {2, 2}, {1, 0, 0, std::nan("")}), "not finite"));
  CHECK(contains(refusal(2, {2, 2}, {HUGE_VAL, 0, 0, 1}), "not finite"));
  CHECK_THROWS_AS((void)load_statistics(folder / "missing"), FileError);
  SafetensorsWriter().write(path);
  CHECK(contains(message_of<FileError>([&] { (void)load_statistics(path); }), "'count'"));
  CHECK_THROWS_AS(save_statistics(path, statistics_of(normal_rows(1, 2, 1))), ShapeError);
}

TEST_CASE("Rows that do not fit are refused, and nothing is added") {
  FeatureStatistics statistics = statistics_of(normal_rows(10, 3, 1));
  CHECK(contains(message_of<ShapeError>([&] { statistics.add(normal_rows(2, 4, 1)); }),
                 "(2, 4), expected (N, 3)"));
  CHECK_THROWS_AS(statistics.add(Tensor<float>({2, 3, 1})), ShapeError);
  CHECK_THROWS_AS(statistics.merge(statistics_of(normal_rows(2, 4, 1))), ShapeError);
  CHECK_THROWS_AS(FeatureStatistics().add(Tensor<float>({2, 0})), ShapeError);
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Tensor<float> rows = normal_rows<float>(300, 3, 2);
    rows.row(270)[1] = bad;
    CHECK(contains(message_of<Error>([&] { statistics.add(rows); }), "row 280"));
  }
  CHECK(difference(statistics, statistics_of(normal_rows(10, 3, 1))) == 0);
}

TEST_CASE("Too few rows give no distance") {
  const FeatureStatistics none, one = statistics_of(normal_rows(1, 3, 1)),
                                two = statistics_of(normal_rows(2, 3, 1));
  CHECK(one.mean()[0] == normal_rows(1, 3, 1)[0]);
  CHECK(contains(message_of<ShapeError>([&] { (void)none.mean(); }), "0 rows"));
  CHECK(contains(message_of<ShapeError>([&] { (void)frechet_distance(one, two); }), "1 rows"));
  CHECK(contains(message_of<ShapeError>([&] { (void)frechet_distance(two, one); }), "1 rows"));
  CHECK(contains(message_of<ShapeError>([&] { (void)frechet_distance(none, none); }), "0 rows"));
  CHECK(contains(message_of<ShapeError>(
                     [&] { (void)frechet_distance(two, statistics_of(normal_rows(2, 4, 1))); }),
                 "dimension 3 and 4"));
}

TEST_CASE("Features of images go in batch by batch") {
  const auto pixels = normal_rows<float>(50, 2 * 2 * 3, 12);
  const Tensor<float> images = pixels.reshaped({50, 2, 2, 3});
  // [docs:features]
  const auto first_pixel = [](const Tensor<float>& batch) {  // (B, H, W, C) to (B, D)
    Tensor<float> features({batch.rows(), batch.shape().last()});
    for (std::size_t i = 0; i < batch.rows(); ++i) {
      std::copy_n(batch.row(i), features.row_size(), features.row(i));
    }
    return features;
  };
  FeatureStatistics statistics;
  add_features(statistics, first_pixel, images, 16);
  // [docs:end]
  CHECK(difference(statistics, statistics_of(first_pixel(images))) < 1e-15);
}
