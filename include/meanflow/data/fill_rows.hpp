// SPDX-License-Identifier: MIT
/// \file
/// Rows of a batch written on all cores.
#pragma once

#include <cstddef>

#include <meanflow/kernels/cpu/threads.hpp>
#include <meanflow/tensor/tensor.hpp>

namespace meanflow::detail {

/// f(points of rows [first, last), first) for all rows of x, on all cores.
template <class F>
void fill_rows(Tensor<float>& x, F f) {
  parallel_for(Cpu{}, x.rows(), 64,
               [&](std::size_t first, std::size_t last) { f(x.rows(first, last).span(), first); });
}

}  // namespace meanflow::detail
