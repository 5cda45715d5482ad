// SPDX-License-Identifier: MIT
/// \file
/// The transforms of Winograd's F(4 x 4, 3 x 3), which makes 4 x 4 pixels of a convolution by 3 x 3
/// taps with 36 products, where the definition takes 144.
///
/// A tile of 6 x 6 pixels d and a filter g of 3 x 3 are taken as polynomials, evaluated at the
/// points 0, +-p, +-q and infinity in both directions, multiplied there, and brought back (Lavin
/// and Gray, arXiv 1509.09308; the adjoint of Toom and Cook's product of polynomials):
///
///   y  = A^T [(G g G^T) * (B^T d B)] A        4 x 4 pixels
///   gw = G^T [(A y A^T) * (B^T d B)] G        the gradient by g, summed over tiles
///
/// with p = 5/8 and q = 3/2, whose rounding errors are a third of those of 1 and 2.
#pragma once

#include <array>
#include <cstddef>

#include <meanflow/kernels/cpu/simd.hpp>

namespace meanflow::kernels::detail::winograd {

inline constexpr std::size_t in_side = 6, out_side = 4, points = 36;
inline constexpr float p = 5.0F / 8, q = 3.0F / 2, p2 = p * p, q2 = q * q;

// Products that are added are fused with the sum explicitly: left to the compiler, copies of these
// functions would round differently, and results would depend on the number of threads.

/// even + x odd and even - x odd
template <class V>
[[nodiscard]] inline std::array<V, 2> at_both_signs(float x, const V& even, const V& odd) {
  using F = meanflow::detail::BatchFunctions<V>;
  return {F::fused(V(x), odd, even), F::fused(V(-x), odd, even)};
}

/// B^T d: the coefficients of d against those of the polynomials that vanish at all points but one.
template <class V>
[[nodiscard]] inline std::array<V, 6> input(const std::array<V, 6>& d) {
  using F = meanflow::detail::BatchFunctions<V>;
  const V middle(-(p2 + q2)), outer(p2 * q2);
  const auto [at_p, at_minus_p] =
      at_both_signs(p, F::fused(V(-q2), d[2], d[4]), F::fused(V(-q2), d[1], d[3]));
  const auto [at_q, at_minus_q] =
      at_both_signs(q, F::fused(V(-p2), d[2], d[4]), F::fused(V(-p2), d[1], d[3]));
  return {F::fused(outer, d[0], F::fused(middle, d[2], d[4])), at_p, at_minus_p, at_q, at_minus_q,
          F::fused(outer, d[1], F::fused(middle, d[3], d[5]))};
}

/// One over the product of a point's distances from the others.
inline constexpr float scale_0 = 1 / (p2 * q2), scale_p = 1 / (2 * p2 * (p2 - q2)),
                       scale_q = 1 / (2 * q2 * (q2 - p2));

/// G g: the values of g at the points, scaled.
template <class V>
[[nodiscard]] inline std::array<V, 6> filter(const std::array<V, 3>& g) {
  using F = meanflow::detail::BatchFunctions<V>;
  const auto [at_p, at_minus_p] = at_both_signs(p, F::fused(V(p2), g[2], g[0]), g[1]);
  const auto [at_q, at_minus_q] = at_both_signs(q, F::fused(V(q2), g[2], g[0]), g[1]);
  return {V(scale_0) * g[0], V(scale_p) * at_p,       V(scale_p) * at_minus_p,
          V(scale_q) * at_q, V(scale_q) * at_minus_q, g[2]};
}

/// G^T m
template <class V>
[[nodiscard]] inline std::array<V, 3> filter_adjoint(const std::array<V, 6>& m) {
  using F = meanflow::detail::BatchFunctions<V>;
  const V even_p = m[1] + m[2], odd_p = m[1] - m[2], even_q = m[3] + m[4], odd_q = m[3] - m[4];
  return {F::fused(V(scale_0), m[0], F::fused(V(scale_p), even_p, V(scale_q) * even_q)),
          F::fused(V(scale_p * p), odd_p, V(scale_q * q) * odd_q),
          F::fused(V(scale_p * p2), even_p, F::fused(V(scale_q * q2), even_q, m[5]))};
}

/// A y: the values of y at the points.
template <class V>
[[nodiscard]] inline std::array<V, 6> output_adjoint(const std::array<V, 4>& y) {
  using F = meanflow::detail::BatchFunctions<V>;
  const auto [at_p, at_minus_p] =
      at_both_signs(p, F::fused(V(p2), y[2], y[0]), F::fused(V(p2), y[3], y[1]));
  const auto [at_q, at_minus_q] =
      at_both_signs(q, F::fused(V(q2), y[2], y[0]), F::fused(V(q2), y[3], y[1]));
  return {y[0], at_p, at_minus_p, at_q, at_minus_q, y[3]};
}

/// A^T m
template <class V>
[[nodiscard]] inline std::array<V, 4> output(const std::array<V, 6>& m) {
  using F = meanflow::detail::BatchFunctions<V>;
  const V even_p = m[1] + m[2], odd_p = m[1] - m[2], even_q = m[3] + m[4], odd_q = m[3] - m[4];
  return {m[0] + even_p + even_q, F::fused(V(p), odd_p, V(q) * odd_q),
          F::fused(V(p2), even_p, V(q2) * even_q),
          F::fused(V(p2 * p), odd_p, F::fused(V(q2 * q), odd_q, m[5]))};
}

/// transform(transform(x)^T)^T, that is T x T^T: `load(i, j)` gives x, `store(i, j, value)` takes
/// the result.
template <class V, std::size_t From, std::size_t To, class Transform, class Load, class Store>
inline void both_ways(Transform transform, Load load, Store store) {
  std::array<std::array<V, From>, To> half;
  for (std::size_t j = 0; j < From; ++j) {
    std::array<V, From> column;
    for (std::size_t i = 0; i < From; ++i) column[i] = load(i, j);
    const std::array<V, To> values = transform(column);
    for (std::size_t i = 0; i < To; ++i) half[i][j] = values[i];
  }
  for (std::size_t i = 0; i < To; ++i) {
    const std::array<V, To> values = transform(half[i]);
    for (std::size_t j = 0; j < To; ++j) store(i, j, values[j]);
  }
}

}  // namespace meanflow::kernels::detail::winograd
