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

#include <cstddef>

#include <meanflow/kernels/cpu/simd.hpp>

namespace meanflow::kernels::detail::winograd {

inline constexpr std::size_t in_side = 6, out_side = 4, points = 36;
inline constexpr float p = 5.0F / 8, q = 3.0F / 2, p2 = p * p, q2 = q * q;

// Products that are added are fused with the sum explicitly: left to the compiler, copies of these
// functions would round differently, and results would depend on the number of threads.

// A transform reads its argument as d(i) and gives its result as y(i, value): arrays that are
// handed over by value leave stores behind that nobody reads, which take longer than the
// arithmetic.

/// y(i) = even + x odd and y(i + 1) = even - x odd
template <class V, class Y>
inline void at_both_signs(float x, const V& even, const V& odd, Y y, std::size_t i) {
  using F = meanflow::detail::BatchFunctions<V>;
  y(i, F::fused(V(x), odd, even));
  y(i + 1, F::fused(V(-x), odd, even));
}

/// B^T d: the coefficients of d against those of the polynomials that vanish at all points but one.
struct Input {
  static constexpr std::size_t from = 6, to = 6;

  template <class V, class D, class Y>
  static void apply(D d, Y y) {
    using F = meanflow::detail::BatchFunctions<V>;
    const V middle(-(p2 + q2)), outer(p2 * q2);
    const V d1 = d(1), d2 = d(2), d3 = d(3), d4 = d(4);
    y(0, F::fused(outer, d(0), F::fused(middle, d2, d4)));
    at_both_signs(p, F::fused(V(-q2), d2, d4), F::fused(V(-q2), d1, d3), y, 1);
    at_both_signs(q, F::fused(V(-p2), d2, d4), F::fused(V(-p2), d1, d3), y, 3);
    y(5, F::fused(outer, d1, F::fused(middle, d3, d(5))));
  }
};

/// One over the product of a point's distances from the others.
inline constexpr float scale_0 = 1 / (p2 * q2), scale_p = 1 / (2 * p2 * (p2 - q2)),
                       scale_q = 1 / (2 * q2 * (q2 - p2));

/// G g: the values of g at the points, scaled.
struct Filter {
  static constexpr std::size_t from = 3, to = 6;

  template <class V, class G, class Y>
  static void apply(G g, Y y) {
    using F = meanflow::detail::BatchFunctions<V>;
    const V g0 = g(0), g1 = g(1), g2 = g(2);
    y(0, V(scale_0) * g0);
    at_both_signs(p, V(scale_p) * F::fused(V(p2), g2, g0), V(scale_p) * g1, y, 1);
    at_both_signs(q, V(scale_q) * F::fused(V(q2), g2, g0), V(scale_q) * g1, y, 3);
    y(5, g2);
  }
};

/// G^T m
struct FilterAdjoint {
  static constexpr std::size_t from = 6, to = 3;

  template <class V, class M, class Y>
  static void apply(M m, Y y) {
    using F = meanflow::detail::BatchFunctions<V>;
    const V m1 = m(1), m2 = m(2), m3 = m(3), m4 = m(4);
    const V even_p = m1 + m2, odd_p = m1 - m2, even_q = m3 + m4, odd_q = m3 - m4;
    y(0, F::fused(V(scale_0), m(0), F::fused(V(scale_p), even_p, V(scale_q) * even_q)));
    y(1, F::fused(V(scale_p * p), odd_p, V(scale_q * q) * odd_q));
    y(2, F::fused(V(scale_p * p2), even_p, F::fused(V(scale_q * q2), even_q, m(5))));
  }
};

/// A y: the values of y at the points.
struct OutputAdjoint {
  static constexpr std::size_t from = 4, to = 6;

  template <class V, class D, class Y>
  static void apply(D d, Y y) {
    using F = meanflow::detail::BatchFunctions<V>;
    const V d0 = d(0), d1 = d(1), d2 = d(2), d3 = d(3);
    y(0, d0);
    at_both_signs(p, F::fused(V(p2), d2, d0), F::fused(V(p2), d3, d1), y, 1);
    at_both_signs(q, F::fused(V(q2), d2, d0), F::fused(V(q2), d3, d1), y, 3);
    y(5, d3);
  }
};

/// A^T m
struct Output {
  static constexpr std::size_t from = 6, to = 4;

  template <class V, class M, class Y>
  static void apply(M m, Y y) {
    using F = meanflow::detail::BatchFunctions<V>;
    const V m1 = m(1), m2 = m(2), m3 = m(3), m4 = m(4);
    const V even_p = m1 + m2, odd_p = m1 - m2, even_q = m3 + m4, odd_q = m3 - m4;
    y(0, m(0) + even_p + even_q);
    y(1, F::fused(V(p), odd_p, V(q) * odd_q));
    y(2, F::fused(V(p2), even_p, V(q2) * even_q));
    y(3, F::fused(V(p2 * p), odd_p, F::fused(V(q2 * q), odd_q, m(5))));
  }
};

/// T x T^T: `load(i, j)` gives x, `store(i, j, value)` takes the result.
template <class Transform, class V, class Load, class Store>
inline void both_ways(Load load, Store store) {
  V half[Transform::to][Transform::from];
  for (std::size_t j = 0; j < Transform::from; ++j)
    Transform::template apply<V>([&](std::size_t i) { return load(i, j); },
                                 [&](std::size_t i, const V& value) { half[i][j] = value; });
  for (std::size_t i = 0; i < Transform::to; ++i)
    Transform::template apply<V>([&](std::size_t j) { return half[i][j]; },
                                 [&](std::size_t j, const V& value) { store(i, j, value); });
}

}  // namespace meanflow::kernels::detail::winograd
