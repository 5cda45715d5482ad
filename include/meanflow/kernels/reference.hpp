// SPDX-License-Identifier: MIT
/// \file
/// The kernels of the device `Reference`: plain loops over any scalar type, evidently
/// correct, and the oracle of the other devices' own; with those that are written once for all
/// devices, which tests compare with loops of their own. Their signatures are those of all devices.
///
/// Conventions: matrices are row-major. `rows` are value rows; `tangent_rows` <= `rows` are the
/// tangents of the first of them and follow the values in the same buffer. A kernel knows no
/// differentiation: what it computes is written in its comment. Convolutions and normalisations
/// have headers that are included by themselves.
#pragma once

#include <meanflow/kernels/elementwise.hpp>
#include <meanflow/kernels/embedding.hpp>
#include <meanflow/kernels/random.hpp>
#include <meanflow/kernels/reference/broadcast.hpp>
#include <meanflow/kernels/reference/device.hpp>
#include <meanflow/kernels/reference/product.hpp>
#include <meanflow/kernels/reference/reductions.hpp>
#include <meanflow/kernels/reference/shapes.hpp>
#include <meanflow/kernels/rows.hpp>
