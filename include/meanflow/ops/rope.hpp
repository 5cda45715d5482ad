// SPDX-License-Identifier: MIT
/// \file
/// Rotary embeddings of positions.
#pragma once

#include <string>
#include <utility>

#include <meanflow/autodiff/differentiable.hpp>
#include <meanflow/kernels/reference.hpp>
#include <meanflow/kernels/rope.hpp>

namespace meanflow {

/// The angles by which each token's pairs of channels are rotated: cosines and sines, (tokens,
/// half). `rope_angles` and `rope_angles_2d` make them (nn/position.hpp).
template <class T, class Device = Cpu>
struct RopeAngles {
  Tensor<T, Device> cosines, sines;
};

namespace detail {

/// Throws ShapeError unless x of shape s has the tokens and the channels of the angles.
template <class T, class Device>
void check_rope(const Shape& s, const RopeAngles<T, Device>& angles, std::size_t heads) {
  const Shape table = angles.cosines.shape();
  const std::size_t width = heads == 0 ? 0 : s.last() / heads;
  if (table.rank() != 2 || !(angles.sines.shape() == table))
    throw_shape_error("rope", table, angles.sines.shape(),
                      "cosines and sines must be (tokens, channels / 2) alike");
  if (s.rank() < 3 || heads == 0 || s.last() != heads * width || s[s.rank() - 2] != table[0] ||
      width != 2 * table[1])
    throw_shape_error("rope", s, table,
                      "x must be (B, ..., tokens, heads channels) and the angles (tokens, channels "
                      "/ 2)");
}

template <ValueLike X>
[[nodiscard]] X rotated(const X& x,
                        const RopeAngles<typename X::value_type, typename X::device_type>& angles,
                        std::size_t heads, int sign) {
  using T = typename X::value_type;
  const Shape s = x.shape();
  check_rope(s, angles, heads);
  const Shape table = angles.cosines.shape();
  X y = make_like(x, s);
  const std::size_t all = value_size(x) + tangent_size(x), row = table[0] * s.last();
  rope(typename X::device_type{}, row == 0 ? 0 : all / row, table[0], heads, table[1], T(sign),
       angles.cosines.data(), angles.sines.data(), buffer(x), buffer(y));
  return y;
}

}  // namespace detail

/// Rotates the pairs (x[2 i], x[2 i + 1]) of each head by its token's angles (Su et al., arXiv
/// 2104.09864). x (B, ..., tokens, heads channels). Linear: dy is dx rotated alike; backward: g is
/// rotated back. Throws ShapeError if the angles are those of other tokens or channels.
template <ValueLike X>
[[nodiscard]] X rope(const X& x,
                     const RopeAngles<typename X::value_type, typename X::device_type>& angles,
                     std::size_t heads = 1) {
  return detail::rotated(x, angles, heads, 1);
}

template <ValueLike X>
[[nodiscard]] Var<X> rope(const Var<X>& x,
                          const RopeAngles<typename X::value_type, typename X::device_type>& angles,
                          std::size_t heads = 1) {
  using Values = Tensor<typename X::value_type, typename X::device_type>;
  return detail::recorded(x.tape(), rope(x.value(), angles, heads), !x.constant(),
                          [angles, heads, node = x.node()](auto& tape, const Values& g) {
                            tape.add_gradient(node, detail::rotated(g, angles, heads, -1));
                          });
}

}  // namespace meanflow
