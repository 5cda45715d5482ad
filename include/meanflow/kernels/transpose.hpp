// SPDX-License-Identifier: MIT
/// \file
/// How a matrix enters a product.
#pragma once

namespace meanflow {

/// As it is stored, or transposed.
enum class Transpose : bool { no, yes };

}  // namespace meanflow
