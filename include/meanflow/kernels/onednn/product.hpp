// SPDX-License-Identifier: MIT
/// \file
/// Large products in bfloat16 by oneDNN (2.x and 3.x), where the build found it.
#pragma once

#ifdef MEANFLOW_WITH_ONEDNN
#include <cstddef>

#include <meanflow/kernels/onednn/conv.hpp>
#include <meanflow/kernels/onednn/engine.hpp>

namespace meanflow::kernels::detail {

/// Products of fewer operations gain nothing from being rounded first.
inline constexpr std::size_t least_bfloat16_product = std::size_t{1} << 27;

inline void bfloat16_matmul(bool transpose_a, bool transpose_b, std::size_t m, std::size_t n,
                            std::size_t k, const float* a, const float* b, float beta, float* c) {
  using dnnl::memory;
  const auto dim = [](std::size_t value) { return static_cast<memory::dim>(value); };
  const auto tag = [](bool transposed) {
    return transposed ? memory::format_tag::ba : memory::format_tag::ab;
  };
  const PlanForThisRegion plan;
  dnnl::stream stream(onednn_engine());
  const auto rounded = [&](const memory::dims& shape, bool transposed, const float* values,
                           void* place) {
    const memory::desc plain(shape, memory::data_type::f32, tag(transposed));
    memory from(plain, onednn_engine(), const_cast<float*>(values));
    memory to({shape, memory::data_type::bf16, tag(transposed)}, onednn_engine(), place);
    dnnl::reorder(from, to).execute(stream, from, to);
    return to;
  };
  const meanflow::detail::Storage a_place(2 * m * k + 64), b_place(2 * k * n + 64);
  const memory left = rounded({dim(m), dim(k)}, transpose_a, a, a_place.data());
  const memory right = rounded({dim(k), dim(n)}, transpose_b, b, b_place.data());
  const memory result({{dim(m), dim(n)}, memory::data_type::f32, memory::format_tag::ab},
                      onednn_engine(), c);
  dnnl::primitive_attr attributes;
  if (beta != 0) {
    dnnl::post_ops sum;
    sum.append_sum(1);
    attributes.set_post_ops(sum);
  }
#if DNNL_VERSION_MAJOR >= 3
  const dnnl::matmul::primitive_desc description(onednn_engine(), left.get_desc(), right.get_desc(),
                                                 result.get_desc(), attributes);
#else
  const dnnl::matmul::primitive_desc description(
      {left.get_desc(), right.get_desc(), result.get_desc()}, attributes, onednn_engine());
#endif
  dnnl::matmul(description)
      .execute(stream, {{DNNL_ARG_SRC, left}, {DNNL_ARG_WEIGHTS, right}, {DNNL_ARG_DST, result}});
  stream.wait();
}

/// c (m, n) = op(a) (m, k) op(b) (k, n) + beta c, beta 0 or 1, with a and b rounded to bfloat16 and
/// sums in float32.
inline void onednn_bfloat16_gemm(bool transpose_a, bool transpose_b, std::size_t m, std::size_t n,
                                 std::size_t k, const float* a, const float* b, float beta,
                                 float* c) {
  rethrow_onednn([&] { bfloat16_matmul(transpose_a, transpose_b, m, n, k, a, b, beta, c); },
                 [&] { return product_text(m, n, k); });
}

}  // namespace meanflow::kernels::detail
#endif
