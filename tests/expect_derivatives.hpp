// SPDX-License-Identifier: MIT
/// \file
/// One helper that proves a differentiable function of one variable in every scalar type.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <unsupported/Eigen/SpecialFunctions>
#include <vector>

#include <doctest/doctest.h>
#include <xsimd/xsimd.hpp>

#include <meanflow/scalar/dual.hpp>
#include <meanflow/scalar/dual_eigen.hpp>
#include <meanflow/scalar/math.hpp>

namespace meanflow::test {

/// The relative errors allowed: of first and second derivatives in double against central
/// differences, and of any other scalar type against the plain one.
struct DerivativeTolerance {
  double first = 1e-8;
  double second = 1e-6;
  double single = 2e-5;
  double pack = 1e-13;
};

inline double scaled_error(double x, double reference) {
  if (x == reference || (x != x && reference != reference)) return 0;
  return std::abs(x - reference) / std::max(1.0, std::abs(reference));
}

// (f(x - 2h) - 8 f(x - h) + 8 f(x + h) - f(x + 2h)) / 12 h
template <class F>
double central_difference(const F& f, double x) {
  const double h = 1e-3 * std::max(0.1, std::min(1.0, std::abs(x)));
  return (f(x - 2 * h) - 8 * f(x - h) + 8 * f(x + h) - f(x + 2 * h)) / (12 * h);
}

template <class T>
std::vector<double> parts(const T& x) {
  if constexpr (requires { x.get(std::size_t{}); }) {
    std::vector<double> v;
    for (std::size_t i = 0; i < T::size; ++i) v.push_back(x.get(i));
    return v;
  } else if constexpr (requires { x.data(); }) {
    return std::vector<double>(x.data(), x.data() + x.size());
  } else {
    return {static_cast<double>(x)};
  }
}

// f in Dual<T>, for T a number or a pack of numbers filled by fill(i) and of reference(i) values.
template <class T, class F>
void expect_rules(const F& f, const T& x, const T& dx, const std::vector<double>& df,
                  double tolerance) {
  const T y = f(x);
  const Dual<T> unit = f(Dual<T>(x, detail::full_like(x, root_scalar<T>(1))));
  const Dual<T> dual = f(Dual<T>(x, dx));
  const T product = unit.tangent * dx;
  CHECK_MESSAGE(same(dual.primal, y), "primal of Dual ", dual, " is not f(x) = ", y, " at ", x);
  CHECK_MESSAGE(same(unit.primal, y), "primal of Dual ", unit, " is not f(x) = ", y, " at ", x);
  CHECK_MESSAGE(same(dual.tangent, product), dual, " is not f'(x) dx = ", product, " at ", x);
  const std::vector<double> tangents = parts(unit.tangent);
  REQUIRE(tangents.size() == df.size());
  for (std::size_t i = 0; i < df.size(); ++i) {
    CHECK_MESSAGE(scaled_error(tangents[i], df[i]) <= tolerance, "f'(x) = ", df[i], " but ",
                  tangents[i], " at ", parts(x)[i]);
  }
}

/// Runs the generic lambda f, built of functions of one variable whose rules are (y, f'(x) dx),
/// at each of xs and in T, Dual<T>, Dual<Dual<T>>, Dual<xsimd::batch<T>> and Dual<Eigen::Array>
/// (unless told that Eigen has no such function of arrays).
template <bool with_eigen = true, class F>
void expect_derivatives(const F& f, const std::vector<double>& xs,
                        DerivativeTolerance tolerance = {}) {
  const auto first = [&](double x) { return f(Dual<double>(x, 1.0)).tangent; };
  std::vector<double> dfs, dfs_single;
  for (const double x : xs) {
    INFO("x = ", x);
    const double df = first(x);
    CHECK(scaled_error(df, central_difference(f, x)) <= tolerance.first);
    const Dual<double> inner(x, 1.0);
    const Dual<Dual<double>> nested = f(Dual<Dual<double>>(inner, Dual<double>(1.0)));
    CHECK(same(nested.primal.primal, f(x)));
    CHECK(scaled_error(nested.primal.tangent, df) <= tolerance.pack);
    CHECK(scaled_error(nested.tangent.primal, df) <= tolerance.pack);
    CHECK(scaled_error(nested.tangent.tangent, central_difference(first, x)) <= tolerance.second);
    dfs.push_back(df);
    dfs_single.push_back(first(static_cast<float>(x)));
    expect_rules(f, x, -0.7, {df}, 0.0);
    expect_rules(f, static_cast<float>(x), 1.3f, {dfs_single.back()}, tolerance.single);
  }

  const auto expect_batches = [&]<class R>(R dx, const std::vector<double>& df, double limit) {
    using Batch = xsimd::batch<R>;
    for (std::size_t i = 0; i < xs.size(); i += Batch::size) {
      alignas(Batch) std::array<R, Batch::size> values;
      std::vector<double> expected;
      for (std::size_t k = 0; k < Batch::size; ++k) {
        const std::size_t j = std::min(i + k, xs.size() - 1);
        values[k] = static_cast<R>(xs[j]);
        expected.push_back(df[j]);
      }
      expect_rules(f, Batch(Batch::load_aligned(values.data())), Batch(dx), expected, limit);
    }
  };
  expect_batches(0.6f, dfs_single, tolerance.single);
  expect_batches(-1.7, dfs, tolerance.pack);

  if constexpr (with_eigen) {
    Eigen::ArrayXd x(static_cast<Eigen::Index>(xs.size()));
    std::copy(xs.begin(), xs.end(), x.data());
    expect_rules(f, x, Eigen::ArrayXd::Constant(x.size(), 0.3).eval(), dfs, tolerance.pack);
  }
}

}  // namespace meanflow::test
