// SPDX-License-Identifier: MIT
/// \file
/// Mathematical functions of numbers, SIMD batches, arrays and Duals, with their derivatives.
#pragma once

#include <meanflow/scalar/activation.hpp>  // IWYU pragma: export
#include <meanflow/scalar/elementary.hpp>  // IWYU pragma: export
#include <meanflow/scalar/pack.hpp>        // IWYU pragma: export
#include <meanflow/scalar/piecewise.hpp>   // IWYU pragma: export
