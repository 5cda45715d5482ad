// SPDX-License-Identifier: MIT
/// \file
/// Products of blocks that lie in a core's caches, where a library's call would spend its time on
/// packing. Sums stay in registers: a block of rows of a times a few vectors of columns of b.
#pragma once

#include <cstddef>

#include <meanflow/kernels/cpu/simd.hpp>

namespace meanflow::kernels::detail {

/// A matrix in memory: element (i, j) lies at data[i * row + j * column].
template <class T>
struct MatrixView {
  const T* data;
  std::size_t row, column = 1;

  [[nodiscard]] MatrixView transposed() const { return {data, column, row}; }
};

/// As many accumulators as registers hold beside what they are computed from: 6 rows of 4 vectors
/// of 32 registers, 6 rows of 2 of 16.
inline constexpr std::size_t block_rows = 6;
template <class T>
inline constexpr std::size_t block_vectors = xsimd::batch<T>::size * sizeof(T) == 64 ? 4 : 2;

/// Nothing that is needed next has to be fetched meanwhile.
struct NothingAhead {
  void operator()(std::size_t /*row*/, std::size_t /*k*/) const {}
};

/// c (R, V vectors) = scale a (R, depth) b (depth, V vectors), added to c if `add`; ahead(k) is
/// called on the way.
template <std::size_t R, std::size_t V, class T, class Lanes, class Ahead>
inline void product_block(Lanes lanes, std::size_t depth, const MatrixView<T>& a, const T* b,
                          std::size_t b_row, T scale, bool add, T* c, std::size_t c_row,
                          Ahead ahead) {
  using Batch = xsimd::batch<T>;
  constexpr std::size_t width = Batch::size;
  Batch sums[R][V];
  for (std::size_t i = 0; i < R; ++i)
    for (std::size_t j = 0; j < V; ++j) sums[i][j] = Batch(T(0));
  for (std::size_t k = 0; k < depth; ++k) {
    ahead(k);
    Batch columns[V];
    for (std::size_t j = 0; j < V; ++j) columns[j] = lanes.load(b + k * b_row + j * width);
    for (std::size_t i = 0; i < R; ++i) {
      const Batch value(a.data[i * a.row + k * a.column]);
      for (std::size_t j = 0; j < V; ++j)
        sums[i][j] = meanflow::detail::BatchFunctions<Batch>::fused(value, columns[j], sums[i][j]);
    }
  }
  for (std::size_t i = 0; i < R; ++i)
    for (std::size_t j = 0; j < V; ++j) {
      T* const to = c + i * c_row + j * width;
      const Batch scaled = sums[i][j] * Batch(scale);
      lanes.store(to, add ? lanes.load(to) + scaled : scaled);
    }
}

/// The same for any number of rows, `Most` at a time; ahead(first row, k) is called on the way.
template <std::size_t V, std::size_t Most = block_rows, class T, class Lanes,
          class Ahead = NothingAhead>
inline void product_columns(Lanes lanes, std::size_t rows, std::size_t depth, MatrixView<T> a,
                            const T* b, std::size_t b_row, T scale, bool add, T* c,
                            std::size_t c_row, Ahead ahead = {}) {
  std::size_t i = 0;
  const auto block = [&]<std::size_t R>() {
    for (; i + R <= rows; i += R)
      product_block<R, V>(lanes, depth, {a.data + i * a.row, a.row, a.column}, b, b_row, scale, add,
                          c + i * c_row, c_row, [&](std::size_t k) { ahead(i, k); });
  };
  block.template operator()<Most>();
  if constexpr (Most > 8) block.template operator()<8>();
  if constexpr (Most > 4) block.template operator()<4>();
  block.template operator()<2>();
  block.template operator()<1>();
}

/// c (m, n) = scale a (m, k) b (k, n), added to c if `add`; rows of b and c are contiguous.
template <class T>
void small_product(std::size_t m, std::size_t n, std::size_t k, MatrixView<T> a, const T* b,
                   std::size_t b_row, T scale, bool add, T* c, std::size_t c_row) {
  constexpr std::size_t width = FullLanes<T>::count, together = block_vectors<T> * width;
  std::size_t j = 0;
  for (; j + together <= n; j += together)
    product_columns<block_vectors<T>>(FullLanes<T>{}, m, k, a, b + j, b_row, scale, add, c + j,
                                      c_row);
  for (; j + width <= n; j += width)
    product_columns<1>(FullLanes<T>{}, m, k, a, b + j, b_row, scale, add, c + j, c_row);
  if (j < n)
    product_columns<1>(SomeLanes<T>{n - j}, m, k, a, b + j, b_row, scale, add, c + j, c_row);
}

}  // namespace meanflow::kernels::detail
