// SPDX-License-Identifier: MIT
/// \file
/// Products by oneDNN (2.x and 3.x), where the build found it.
#pragma once

#ifdef MEANFLOW_WITH_ONEDNN
#include <cstddef>
#include <string>

#include <oneapi/dnnl/dnnl.h>

#include <meanflow/error.hpp>

namespace meanflow::kernels::detail {

[[nodiscard]] inline bool onednn_has_bfloat16() {
  const auto needed = static_cast<unsigned>(dnnl_cpu_isa_avx512_core_bf16);
  return (static_cast<unsigned>(dnnl_get_effective_cpu_isa()) & needed) == needed;
}

[[nodiscard]] inline std::string product_text(std::size_t m, std::size_t n, std::size_t k) {
  return "the product (" + std::to_string(m) + ", " + std::to_string(k) + ") x (" +
         std::to_string(k) + ", " + std::to_string(n) + ")";
}

/// c (m, n) = op(a) (m, k) op(b) (k, n) + beta c
inline void onednn_gemm(bool transpose_a, bool transpose_b, std::size_t m, std::size_t n,
                        std::size_t k, const float* a, const float* b, float beta, float* c) {
  const auto extent = [](std::size_t value) { return static_cast<dnnl_dim_t>(value); };
  const dnnl_status_t status = dnnl_sgemm(
      transpose_a ? 'T' : 'N', transpose_b ? 'T' : 'N', extent(m), extent(n), extent(k), 1.0f, a,
      extent(transpose_a ? m : k), b, extent(transpose_b ? k : n), beta, c, extent(n));
  if (status != dnnl_success)
    throw Error("oneDNN: " + product_text(m, n, k) + " failed with status " +
                std::to_string(static_cast<int>(status)));
}

}  // namespace meanflow::kernels::detail
#endif
