// SPDX-License-Identifier: MIT
/// \file
/// Whether samples lie where the data are, and whether they are everywhere where the data are. An
/// average distance between two sets, such as the energy distance, hardly sees a few points between
/// the modes or a mode that is missing.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <nanoflann.hpp>

#include <meanflow/error.hpp>
#include <meanflow/eval/points.hpp>

namespace meanflow {

namespace detail {

/// Finds the neighbours of a point among points (N, dim), which it refers to.
template <class T>
class NeighbourTree {
 public:
  NeighbourTree(std::span<const T> points, std::size_t dim)
      : rows_{points, dim}, tree_(dim, rows_, nanoflann::KDTreeSingleIndexAdaptorParams(16)) {}

  /// The squared distance from every point of the tree to the k-th nearest of the others.
  [[nodiscard]] std::vector<T> squared_radii(std::size_t k) const {
    std::vector<T> radii(rows_.count());
#pragma omp parallel for schedule(dynamic, 64)
    for (std::size_t i = 0; i < radii.size(); ++i) {
      std::vector<std::size_t> at(k + 1);
      std::vector<T> squares(k + 1);  // in increasing order, the first that of the point itself
      tree_.knnSearch(rows_.row(i), k + 1, at.data(), squares.data());
      radii[i] = squares[k];
    }
    return radii;
  }

  /// Calls f(number) for each point of the tree within a ball, its border included.
  template <class F>
  void for_each_in_ball(const T* centre, T squared_radius, F f) const {
    struct Results {
      T radius;
      F& found;
      [[nodiscard]] bool full() const { return true; }
      [[nodiscard]] T worstDist() const { return radius; }
      bool addPoint(T square, std::size_t number) {
        if (square < radius) found(number);
        return true;
      }
      void sort() {}
    } results{std::nextafter(squared_radius, std::numeric_limits<T>::infinity()), f};
    tree_.findNeighbors(results, centre, {});
  }

 private:
  /// What nanoflann asks of a set of points.
  struct Rows {
    std::span<const T> values;
    std::size_t dim;
    [[nodiscard]] std::size_t count() const { return values.size() / dim; }
    [[nodiscard]] const T* row(std::size_t i) const { return values.data() + i * dim; }
    [[nodiscard]] std::size_t kdtree_get_point_count() const { return count(); }
    [[nodiscard]] T kdtree_get_pt(std::size_t i, std::size_t d) const { return row(i)[d]; }
    template <class Box>
    bool kdtree_get_bbox(Box&) const {
      return false;
    }
  };

  Rows rows_;
  nanoflann::KDTreeSingleIndexAdaptor<nanoflann::L2_Simple_Adaptor<T, Rows, T>, Rows, -1,
                                      std::size_t>
      tree_;
};

template <class T>
void check_neighbour_sets(const char* who, std::span<const T> x, std::span<const T> y,
                          std::size_t dim, std::size_t k) {
  if (k == 0) throw SettingError(std::string(who) + ": k is 0, but must be at least 1");
  if (dim == 0 || x.size() % dim != 0 || y.size() % dim != 0 || x.size() / dim <= k ||
      y.size() / dim <= k)
    throw ShapeError(std::string(who) + ": " + std::to_string(x.size()) + " and " +
                     std::to_string(y.size()) + " values are not more than " + std::to_string(k) +
                     " rows of " + std::to_string(dim) + " each");
  check_finite(who, "the first set", x, dim);
  check_finite(who, "the second set", y, dim);
}

/// How the points fill the balls around the centres that reach to their k-th nearest neighbours.
struct BallCover {
  double points_in_balls;    ///< share of the points that lie in at least one ball
  double balls_with_points;  ///< share of the balls that hold at least one point
  double pairs;              ///< of a point and a ball that it lies in
};

template <class T>
[[nodiscard]] BallCover cover(std::span<const T> points, std::span<const T> centres,
                              std::size_t dim, std::size_t k) {
  const NeighbourTree<T> around(points, dim);
  const std::vector<T> radii = NeighbourTree<T>(centres, dim).squared_radii(k);
  std::vector<std::atomic<bool>> inside(points.size() / dim);
  std::size_t filled = 0, pairs = 0;
#pragma omp parallel for schedule(dynamic, 64) reduction(+ : filled, pairs)
  for (std::size_t j = 0; j < radii.size(); ++j) {
    std::size_t held = 0;
    around.for_each_in_ball(centres.data() + j * dim, radii[j], [&](std::size_t i) {
      inside[i].store(true, std::memory_order_relaxed);
      ++held;
    });
    filled += held > 0;
    pairs += held;
  }
  const auto count =
      std::count_if(inside.begin(), inside.end(), [](const auto& is) { return is.load(); });
  return {static_cast<double>(count) / static_cast<double>(inside.size()),
          static_cast<double>(filled) / static_cast<double>(radii.size()),
          static_cast<double>(pairs)};
}

}  // namespace detail

/// What `precision_recall` finds.
struct PrecisionRecall {
  double precision = 0;  ///< share of the samples within reach of the data
  double recall = 0;     ///< share of the data within reach of the samples
};

/// What `density_coverage` finds.
struct DensityCoverage {
  double density = 0;   ///< how many samples the data's balls hold, beside how many they would;
                        ///< above 1 where samples crowd
  double coverage = 0;  ///< share of the data with a sample nearby
};

namespace detail {

template <class T>
[[nodiscard]] PrecisionRecall precision_recall(std::span<const T> samples, std::span<const T> data,
                                               std::size_t dim, std::size_t k) {
  check_neighbour_sets("precision_recall", samples, data, dim, k);
  return {cover(samples, data, dim, k).points_in_balls,
          cover(data, samples, dim, k).points_in_balls};
}

template <class T>
[[nodiscard]] DensityCoverage density_coverage(std::span<const T> samples, std::span<const T> data,
                                               std::size_t dim, std::size_t k) {
  check_neighbour_sets("density_coverage", samples, data, dim, k);
  const BallCover found = cover(samples, data, dim, k);
  const double expected = static_cast<double>(k) * static_cast<double>(samples.size() / dim);
  return {found.pairs / expected, found.balls_with_points};
}

}  // namespace detail

/// Improved precision and recall (Kynkaanniemi et al., arXiv 1904.06991): a point is within reach
/// of a set if it lies in the ball around one of the set's points that reaches to the k-th nearest
/// other one. Two sets of one distribution give a little less than 1 (8,000 points in the plane and
/// k = 3: 0.98), which is the best that samples can reach. Compare results of as many points only.
///
/// \param samples (N, dim), N > k   \param data (M, dim), M > k
/// Throws ShapeError if the sizes are not those, Error on a value that is not finite. Of the order
/// of (N + M) log(N + M) operations in few dimensions, of (N + M)^2 in many.
[[nodiscard]] inline PrecisionRecall precision_recall(std::span<const float> samples,
                                                      std::span<const float> data, std::size_t dim,
                                                      std::size_t k = 3) {
  return detail::precision_recall(samples, data, dim, k);
}

/// \copydoc precision_recall
[[nodiscard]] inline PrecisionRecall precision_recall(std::span<const double> samples,
                                                      std::span<const double> data, std::size_t dim,
                                                      std::size_t k = 3) {
  return detail::precision_recall(samples, data, dim, k);
}

/// Density and coverage (Naeem et al., arXiv 2002.09797), which outliers among the samples and
/// among the data sway less: both look at the balls around the data alone.
///
/// \param samples (N, dim), N > k   \param data (M, dim), M > k
/// Throws as `precision_recall`.
[[nodiscard]] inline DensityCoverage density_coverage(std::span<const float> samples,
                                                      std::span<const float> data, std::size_t dim,
                                                      std::size_t k = 5) {
  return detail::density_coverage(samples, data, dim, k);
}

/// \copydoc density_coverage
[[nodiscard]] inline DensityCoverage density_coverage(std::span<const double> samples,
                                                      std::span<const double> data, std::size_t dim,
                                                      std::size_t k = 5) {
  return detail::density_coverage(samples, data, dim, k);
}

}  // namespace meanflow
