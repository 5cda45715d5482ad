// SPDX-License-Identifier: MIT
/// \file
/// Matrices transposed block by block, in registers where the processor has instructions for it.
#pragma once

#include <cstddef>
#include <type_traits>

#include <meanflow/kernels/cpu/simd.hpp>

namespace meanflow::kernels::detail {

#if XSIMD_WITH_AVX512F
/// The transpose of 16 x 16 floats: blocks of 1, 2, 4 and 8 of them change places. Without a mask,
/// of which nothing is left, GCC 12 warns of variables in its own header.
inline void transpose_block_512(xsimd::batch<float>* rows) {
  constexpr __mmask16 all = 0xFFFF;
  __m512 x[16], y[16];
  for (int i = 0; i < 16; i += 2) {
    y[i] = _mm512_maskz_unpacklo_ps(all, rows[i], rows[i + 1]);
    y[i + 1] = _mm512_maskz_unpackhi_ps(all, rows[i], rows[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    x[i] = _mm512_maskz_shuffle_ps(all, y[i], y[i + 2], 0x44);
    x[i + 1] = _mm512_maskz_shuffle_ps(all, y[i], y[i + 2], 0xEE);
    x[i + 2] = _mm512_maskz_shuffle_ps(all, y[i + 1], y[i + 3], 0x44);
    x[i + 3] = _mm512_maskz_shuffle_ps(all, y[i + 1], y[i + 3], 0xEE);
  }
  for (int i = 0; i < 4; ++i)
    for (int half = 0; half < 16; half += 8) {
      y[half + i] = _mm512_maskz_shuffle_f32x4(all, x[half + i], x[half + i + 4], 0x88);
      y[half + i + 4] = _mm512_maskz_shuffle_f32x4(all, x[half + i], x[half + i + 4], 0xDD);
    }
  for (int i = 0; i < 8; ++i) {
    rows[i] = _mm512_maskz_shuffle_f32x4(all, y[i], y[i + 8], 0x88);
    rows[i + 8] = _mm512_maskz_shuffle_f32x4(all, y[i], y[i + 8], 0xDD);
  }
}
#else
void transpose_block_512(xsimd::batch<float>* rows);
#endif

/// The transpose of a square block, a vector for each row: in registers if they are of 512 bits,
/// otherwise by way of memory.
template <class T>
inline void transpose_block(xsimd::batch<T>* rows) {
  constexpr std::size_t width = FullLanes<T>::count;
  if constexpr (std::is_same_v<T, float> && width == 16) {
    transpose_block_512(rows);
  } else {
    alignas(64) T from[width][width], to[width][width];
    for (std::size_t i = 0; i < width; ++i) rows[i].store_aligned(from[i]);
    for (std::size_t i = 0; i < width; ++i)
      for (std::size_t j = 0; j < width; ++j) to[j][i] = from[i][j];
    for (std::size_t j = 0; j < width; ++j) rows[j] = xsimd::load_aligned(to[j]);
  }
}

/// to (columns, rows) = the transpose of from (rows, columns), or what is there plus it if `add`;
/// rows lie apart by from_row and to_row numbers.
template <bool add = false, class T>
void transpose(std::size_t rows, std::size_t columns, const T* from, std::size_t from_row, T* to,
               std::size_t to_row) {
  using Batch = xsimd::batch<T>;
  constexpr std::size_t width = FullLanes<T>::count;
  for_each_batch<T>(0, columns, [&](auto across, std::size_t column) {
    for_each_batch<T>(0, rows, [&](auto down, std::size_t row) {
      Batch block[width];
      for (std::size_t i = 0; i < width; ++i)
        block[i] = i < down.count ? across.load(from + (row + i) * from_row + column) : Batch(T(0));
      transpose_block(block);
      for (std::size_t j = 0; j < width; ++j) {
        if (j >= across.count) break;
        T* const place = to + (column + j) * to_row + row;
        down.store(place, add ? down.load(place) + block[j] : block[j]);
      }
    });
  });
}

}  // namespace meanflow::kernels::detail
