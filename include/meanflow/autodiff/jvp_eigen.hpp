// SPDX-License-Identifier: MIT
/// \file
/// `jvp` of functions of Eigen matrices and arrays: the function sees matrices of Dual.
#pragma once

#include <Eigen/Core>
#include <cstddef>
#include <utility>

#include <meanflow/autodiff/jvp.hpp>
#include <meanflow/scalar/dual_eigen.hpp>

namespace meanflow {

namespace detail {

template <class Matrix, class DualMatrix>
struct eigen_dual_traits {
  using Scalar = typename Matrix::Scalar;
  static constexpr int depth = dual_depth<Scalar>;
  using dual_type = DualMatrix;

  [[nodiscard]] static dual_type join(const Matrix& x, const Matrix& dx) {
    if (dx.rows() != x.rows() || dx.cols() != x.cols()) throw_jvp_shape_error(shape(dx), shape(x));
    return x.binaryExpr(dx, [](const Scalar& a, const Scalar& da) { return Dual<Scalar>(a, da); });
  }
  [[nodiscard]] static Matrix zero(const Matrix& x) {
    return Matrix::Constant(x.rows(), x.cols(), Scalar(0));
  }

 private:
  static Shape shape(const Matrix& x) {
    return {static_cast<std::size_t>(x.rows()), static_cast<std::size_t>(x.cols())};
  }
};

template <class Plain, class Matrix>
[[nodiscard]] std::pair<Plain, Plain> split_eigen(const Matrix& y) {
  return {y.unaryExpr([](const auto& a) { return a.primal; }),
          y.unaryExpr([](const auto& a) { return a.tangent; })};
}

}  // namespace detail

template <class S, int R, int C, int O, int MR, int MC>
struct dual_traits<Eigen::Matrix<S, R, C, O, MR, MC>>
    : detail::eigen_dual_traits<Eigen::Matrix<S, R, C, O, MR, MC>,
                                Eigen::Matrix<Dual<S>, R, C, O, MR, MC>> {
  [[nodiscard]] static auto split(const Eigen::Matrix<S, R, C, O, MR, MC>& y)
    requires is_dual<S>
  {
    return detail::split_eigen<
        Eigen::Matrix<typename scalar_traits<S>::value_type, R, C, O, MR, MC>>(y);
  }
};

template <class S, int R, int C, int O, int MR, int MC>
struct dual_traits<Eigen::Array<S, R, C, O, MR, MC>>
    : detail::eigen_dual_traits<Eigen::Array<S, R, C, O, MR, MC>,
                                Eigen::Array<Dual<S>, R, C, O, MR, MC>> {
  [[nodiscard]] static auto split(const Eigen::Array<S, R, C, O, MR, MC>& y)
    requires is_dual<S>
  {
    return detail::split_eigen<
        Eigen::Array<typename scalar_traits<S>::value_type, R, C, O, MR, MC>>(y);
  }
};

}  // namespace meanflow
