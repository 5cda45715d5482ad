// SPDX-License-Identifier: MIT
/// \file
/// The derivative of a net along a direction, for objectives: u and du/dt in one pass.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include <meanflow/autodiff/differentiable.hpp>
#include <meanflow/flow/batch.hpp>
#include <meanflow/kernels/reference.hpp>
#include <meanflow/nn/net.hpp>

namespace meanflow {

/// Joint: u and du/dt in one pass, the default. Detached: du/dt first, in a pass that records
/// nothing, then u: less memory, more work.
enum class JvpMode { joint, detached };

/// The direction of the derivative, (z v, r, t). (v, 0, 1) is the total derivative along the path;
/// the others are wrong on purpose, for ablations (arXiv 2505.13447, Table 1b).
struct JvpDirection {
  double z = 1, r = 0, t = 1;

  static constexpr void fields(auto f, auto&... d) {
    f("z", d.z...);
    f("r", d.r...);
    f("t", d.t...);
  }
};

/// `values` (B, ...) with the tangents `scale * tangent` (K, ...) on the first K rows.
template <class T, class Device>
[[nodiscard]] DualTensor<T, Device> with_tangent(const Tensor<T, Device>& values,
                                                 const Tensor<T, Device>& tangent,
                                                 double scale = 1) {
  if (tangent.rows() > values.rows() || tangent.row_size() != values.row_size())
    throw_shape_error("with_tangent", tangent.shape(), values.shape(),
                      "a tangent has the first rows of the values");
  DualTensor<T, Device> result(values.shape(), tangent.rows());
  copy(Device{}, values.size(), values.data(), result.buffer().data());
  affine(Device{}, tangent.shape().size(), std::size_t{0}, static_cast<T>(scale), T(0),
         tangent.data(), result.buffer().data() + values.size());
  return result;
}

/// `values` (B, ...) with the same tangent on the first `rows` rows.
template <class T, class Device>
[[nodiscard]] DualTensor<T, Device> with_tangent(const Tensor<T, Device>& values, std::size_t rows,
                                                 double tangent) {
  DualTensor<T, Device> result(values.shape(), rows);
  copy(Device{}, values.size(), values.data(), result.buffer().data());
  fill(Device{}, rows * values.row_size(), static_cast<T>(tangent),
       result.buffer().data() + values.size());
  return result;
}

/// The arguments of a net.
template <class X>
struct NetInputs {
  X z, r, t;
};

/// z, r and t of a batch as they are, for the tape.
template <class T, class Device, class C>
[[nodiscard]] NetInputs<Var<Tensor<T, Device>>> inputs(const FlowBatch<T, Device, C>& batch,
                                                       Tape<T, Device>& tape) {
  return {{tape, batch.z}, {tape, batch.r}, {tape, batch.t}};
}

/// z, r and t with tangents on the rows that jump: (direction.z dz, direction.r, direction.t), with
/// dz (K, ...). What a net makes of them carries its derivative along that direction.
template <class T, class Device, class C>
[[nodiscard]] NetInputs<Var<DualTensor<T, Device>>> inputs_along(
    const FlowBatch<T, Device, C>& batch, const Tensor<T, Device>& dz, Tape<T, Device>& tape,
    const JvpDirection& direction = {}) {
  if (dz.rows() != batch.jump_rows)
    throw ShapeError("inputs_along: dz has " + std::to_string(dz.rows()) + " rows, but " +
                     std::to_string(batch.jump_rows) + " rows jump");
  return {{tape, with_tangent(batch.z, dz, direction.z)},
          {tape, with_tangent(batch.r, batch.jump_rows, direction.r)},
          {tape, with_tangent(batch.t, batch.jump_rows, direction.t)}};
}

/// u on the tape, and its derivative.
template <class T, class Device = Cpu>
struct VelocityAndJvp {
  std::size_t node;        ///< of u, on the tape
  Tensor<T, Device> u;     ///< (B, ...)
  Tensor<T, Device> dudt;  ///< of the rows that jump (K, ...); empty if there are none
};

/// du/dt along (direction.z dz, direction.r, direction.t) of the rows that jump, dz (K, ...), by a
/// pass that records nothing.
template <class N, class T, class Device, class C>
[[nodiscard]] Tensor<T, Device> derivative_along(const N& net, const FlowBatch<T, Device, C>& batch,
                                                 const Tensor<T, Device>& dz,
                                                 const JvpDirection& direction = {}) {
  const std::size_t jumps = batch.jump_rows;
  return evaluate(net, with_tangent(batch.z.rows(0, jumps), dz, direction.z),
                  with_tangent(batch.r.rows(0, jumps), jumps, direction.r),
                  with_tangent(batch.t.rows(0, jumps), jumps, direction.t),
                  condition_rows(batch.condition, 0, jumps))
      .tangent();
}

/// u(z, r, t), recorded, and its derivative along (direction.z dz, direction.r, direction.t) on the
/// rows that jump, dz (K, ...).
template <class N, class T, class Device, class C>
[[nodiscard]] VelocityAndJvp<T, Device> velocity_and_jvp(
    const N& net, const FlowBatch<T, Device, C>& batch, const Tensor<T, Device>& dz,
    Tape<T, Device>& tape, JvpMode mode = JvpMode::joint, const JvpDirection& direction = {}) {
  if (batch.jump_rows > 0 && mode == JvpMode::joint) {
    const auto [z, r, t] = inputs_along(batch, dz, tape, direction);
    const auto u = evaluate(net, z, r, t, batch.condition);
    return {u.node(), u.value().primal(), u.value().tangent()};
  }
  Tensor<T, Device> dudt;
  if (batch.jump_rows > 0) dudt = derivative_along(net, batch, dz, direction);
  const auto [z, r, t] = inputs(batch, tape);
  const auto u = evaluate(net, z, r, t, batch.condition);
  return {u.node(), u.value(), dudt};
}

/// The same of an output u that a net has computed from inputs with tangents.
template <class T, class Device>
[[nodiscard]] VelocityAndJvp<T, Device> velocity_and_jvp(const Var<DualTensor<T, Device>>& u) {
  return {u.node(), u.value().primal(), u.value().tangent()};
}

}  // namespace meanflow
