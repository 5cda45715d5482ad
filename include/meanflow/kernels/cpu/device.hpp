// SPDX-License-Identifier: MIT
/// \file
/// The processor as a device: what it can compute in, and its memory.
#pragma once

#include <algorithm>
#include <cstddef>

#include <meanflow/error.hpp>
#include <meanflow/kernels/cpu/threads.hpp>
#include <meanflow/kernels/onednn/engine.hpp>
#include <meanflow/kernels/precision.hpp>

namespace meanflow::kernels {

inline void check_precision(Cpu, Precision wanted) {
  if (wanted == Precision::float32) return;
  if (wanted == Precision::tf32) throw SettingError("precision is tf32, which only GPUs support");
#ifdef MEANFLOW_WITH_ONEDNN
  if (detail::onednn_has_bfloat16()) return;
  throw SettingError(
      "precision is bfloat16, but this processor has no instructions for it (AVX-512 BF16, AMX)");
#else
  throw SettingError("precision is bfloat16, but this build has no oneDNN, which computes in it");
#endif
}

template <class T>
void fill(Cpu, std::size_t n, T value, T* y) {
  parallel_for(Cpu{}, n, detail::parallel_grain,
               [=](std::size_t first, std::size_t last) { std::fill(y + first, y + last, value); });
}

template <class T>
void copy(Cpu, std::size_t n, const T* x, T* y) {
  parallel_for(Cpu{}, n, detail::parallel_grain, [=](std::size_t first, std::size_t last) {
    std::copy(x + first, x + last, y + first);
  });
}

}  // namespace meanflow::kernels
