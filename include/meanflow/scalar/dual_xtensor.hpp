// SPDX-License-Identifier: MIT
/// \file
/// Lets xtensor's minima, maxima and clip take Dual; everything else works without this header.
#pragma once

#include <type_traits>

#include <xtl/xtype_traits.hpp>

#include <meanflow/scalar/dual.hpp>
#include <meanflow/scalar/math.hpp>

namespace xtl {

template <class T>
struct is_scalar<meanflow::Dual<T>> : std::true_type {};

}  // namespace xtl
