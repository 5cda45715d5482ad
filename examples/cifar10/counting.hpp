// SPDX-License-Identifier: MIT
// A device that counts: products and convolutions are added up instead of computed, everything else
// runs as on the processor.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include <meanflow/kernels/cpu.hpp>
#include <meanflow/kernels/cpu/attention.hpp>
#include <meanflow/kernels/cpu/conv.hpp>
#include <meanflow/kernels/cpu/norm.hpp>

namespace meanflow::kernels {

struct Counting : Cpu {
  static constexpr const char* name = "counting";

  static inline std::atomic<std::uint64_t> multiply_adds{0};
};

template <class T>
void gemm(Counting, Transpose, Transpose, std::size_t m, std::size_t n, std::size_t k, const T*,
          const T*, T, T* c) {
  Counting::multiply_adds += std::uint64_t{m} * n * k;
  std::fill_n(c, m * n, T(0));
}

template <class T>
void conv2d(Counting, const ConvShape& s, const T*, const T*, T* y) {
  const std::size_t size = s.rows * s.out_height() * s.out_width() * s.out;
  Counting::multiply_adds += std::uint64_t{size} * s.in * s.kernel.size();
  std::fill_n(y, size, T(0));
}

template <class T>
void conv2d_backward_data(Counting, const ConvShape& s, const T*, const T*, T* gx) {
  Counting::multiply_adds +=
      std::uint64_t{s.rows} * s.out_height() * s.out_width() * s.out * s.in * s.kernel.size();
  std::fill_n(gx, s.rows * s.height * s.width * s.in, T(0));
}

template <class T>
void attention(Counting, const AttentionShape& s, std::size_t tangent_rows, const T*, const T*,
               const T*, T* y, T*) {
  const std::uint64_t products = 2 * s.rows + 4 * tangent_rows;
  Counting::multiply_adds += products * s.heads * s.queries * s.keys * s.channels;
  std::fill_n(y, (s.rows + tangent_rows) * s.y.row, T(0));
}

}  // namespace meanflow::kernels
