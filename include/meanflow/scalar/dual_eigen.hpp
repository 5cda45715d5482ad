// SPDX-License-Identifier: MIT
/// \file
/// Eigen matrices and arrays of Dual: products, solvers and functions, also mixed with plain ones.
#pragma once

#include <Eigen/Core>
#include <concepts>
#include <type_traits>

#include <meanflow/scalar/dual.hpp>
#include <meanflow/scalar/math.hpp>

namespace Eigen {

template <class T>
struct NumTraits<meanflow::Dual<T>> : GenericNumTraits<meanflow::Dual<T>> {
  using Real = meanflow::Dual<T>;
  using NonInteger = meanflow::Dual<T>;
  using Nested = meanflow::Dual<T>;
  using Literal = T;

  enum {
    IsComplex = 0,
    IsInteger = 0,
    IsSigned = 1,
    RequireInitialization = NumTraits<T>::RequireInitialization,
    ReadCost = 2 * int(NumTraits<T>::ReadCost),
    AddCost = 2 * int(NumTraits<T>::AddCost),
    MulCost = 3 * int(NumTraits<T>::MulCost) + int(NumTraits<T>::AddCost)
  };

  static Real epsilon() { return Real(NumTraits<T>::epsilon()); }
  static Real dummy_precision() { return Real(NumTraits<T>::dummy_precision()); }
  static Real highest() { return Real(NumTraits<T>::highest()); }
  static Real lowest() { return Real(NumTraits<T>::lowest()); }
  static Real infinity() { return Real(NumTraits<T>::infinity()); }
  static Real quiet_NaN() { return Real(NumTraits<T>::quiet_NaN()); }
  static int digits10() { return NumTraits<T>::digits10(); }
};

// A plain matrix, or one with fewer levels of Dual, next to a matrix of Dual.
template <class T, class S, class Operation>
  requires meanflow::ConstantOf<S, T> &&
           (!std::is_arithmetic_v<S> || std::same_as<S, meanflow::root_scalar<T>>)
struct ScalarBinaryOpTraits<meanflow::Dual<T>, S, Operation> {
  using ReturnType = meanflow::Dual<T>;
};

template <class T, class S, class Operation>
  requires meanflow::ConstantOf<S, T> &&
           (!std::is_arithmetic_v<S> || std::same_as<S, meanflow::root_scalar<T>>)
struct ScalarBinaryOpTraits<S, meanflow::Dual<T>, Operation> {
  using ReturnType = meanflow::Dual<T>;
};

namespace internal {

// Eigen's blocked products want one type of scalar, or a complex and its real type; a plain matrix
// times a matrix of Dual is summed coefficient by coefficient.
template <class Lhs, class Rhs>
concept MixedWithDual =
    (meanflow::is_dual<typename Lhs::Scalar> ||
     meanflow::is_dual<typename Rhs::Scalar>)&&!std::same_as<typename Lhs::Scalar,
                                                             typename Rhs::Scalar>;

template <class Lhs, class Rhs>
struct mixed_dual_product
    : generic_product_impl<Lhs, Rhs, DenseShape, DenseShape, CoeffBasedProductMode> {
  using Scalar = typename Product<Lhs, Rhs>::Scalar;

  template <class Destination>
  static void scaleAndAddTo(Destination& y, const Lhs& a, const Rhs& b, const Scalar& alpha) {
    y += alpha * a.lazyProduct(b);
  }
};

template <class Lhs, class Rhs>
  requires MixedWithDual<Lhs, Rhs>
struct generic_product_impl<Lhs, Rhs, DenseShape, DenseShape, GemmProduct>
    : mixed_dual_product<Lhs, Rhs> {};

template <class Lhs, class Rhs>
  requires MixedWithDual<Lhs, Rhs>
struct generic_product_impl<Lhs, Rhs, DenseShape, DenseShape, GemvProduct>
    : mixed_dual_product<Lhs, Rhs> {};

}  // namespace internal
}  // namespace Eigen
