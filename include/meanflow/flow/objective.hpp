// SPDX-License-Identifier: MIT
/// \file
/// What a net is trained towards. An objective turns a net and a batch into residuals, row by row,
/// with the way back from the net's values recorded; the weighting and the trainer do the rest.
#pragma once

#include <concepts>
#include <cstddef>
#include <span>
#include <utility>

#include <meanflow/autodiff/differentiable.hpp>
#include <meanflow/flow/loss_weighting.hpp>
#include <meanflow/nn/condition.hpp>
#include <meanflow/nn/net.hpp>

namespace meanflow {

/// Points on the path, with the rows that jump (r < t) first.
template <class T, class Device = Cpu>
struct FlowBatch {
  Tensor<T, Device> z;        ///< z_t (B, ...)
  Tensor<T, Device> v;        ///< conditional velocity dz/dt (B, ...)
  Tensor<T, Device> r, t;     ///< times, r <= t (B, 1)
  std::size_t jump_rows = 0;  ///< K: rows from here on have r = t, and some before may have
  Condition<T, Device> condition;
};

/// Row by row, what the net got wrong; `node` is the tape's node of u, for the way back.
template <class T, class Device = Cpu>
struct FlowResidual {
  std::size_t node;
  Tensor<T, Device> u;                  ///< the net's value (B, ...)
  Tensor<T, Device> derivative;         ///< du/dt of the rows that jump (K, ...)
  Tensor<T, Device> error;              ///< u - target (B, ...)
  Tensor<T, Device> square;             ///< |error|^2 (B)
  Tensor<T, Device> velocity_square;    ///< |u - v|^2 (B)
  Tensor<T, Device> derivative_square;  ///< |du/dt|^2, 0 for rows that do not jump (B)
};

/// An objective is called with a net, a batch and a tape, and gives the residuals of the batch.
///
/// Semantics: the residuals' `node` is that of u on the tape, computed from the net's parameters.
/// Optional: `static constexpr bool needs_jumps = false` tells that it has no use for rows with
/// r < t, so that the batch gets none.
template <class O, class N>
concept Objective =
    requires(const O& objective, const N& net,
             const FlowBatch<typename N::value_type, typename N::device_type>& batch,
             Tape<typename N::value_type, typename N::device_type>& tape) {
      {
        objective(net, batch, tape)
      } -> std::same_as<FlowResidual<typename N::value_type, typename N::device_type>>;
    };

namespace detail {

/// Whether an objective wants rows with r < t, as all do that do not say otherwise.
template <class O>
[[nodiscard]] consteval bool needs_jumps() {
  if constexpr (requires { O::needs_jumps; }) return O::needs_jumps;
  return true;
}

}  // namespace detail

/// Joint: u and du/dt in one pass, the default. Detached: du/dt first, in a pass that records
/// nothing, then u: less memory, more work.
enum class JvpMode { joint, detached };

/// The direction of the derivative, (z v, r, t). (v, 0, 1) is the total derivative along the path;
/// the others are wrong on purpose, for ablations (arXiv 2505.13447, Table 1b).
struct JvpDirection {
  double z = 1, r = 0, t = 1;
};

namespace detail {

/// `values` with tangents `scale * tangent` on the first K rows.
template <class T, class Device>
[[nodiscard]] DualTensor<T, Device> with_tangent(const Tensor<T, Device>& values,
                                                 const Tensor<T, Device>& tangent, double scale) {
  DualTensor<T, Device> result(values.shape(), tangent.rows());
  copy(Device{}, values.size(), static_cast<const T*>(values.data()), result.buffer().data());
  affine(Device{}, tangent.shape().size(), std::size_t{0}, static_cast<T>(scale), T(0),
         static_cast<const T*>(tangent.data()), result.buffer().data() + values.size());
  return result;
}

/// `values` with the same tangent on the first `rows` rows.
template <class T, class Device>
[[nodiscard]] DualTensor<T, Device> with_tangent(const Tensor<T, Device>& values, std::size_t rows,
                                                 double tangent) {
  DualTensor<T, Device> result(values.shape(), rows);
  copy(Device{}, values.size(), static_cast<const T*>(values.data()), result.buffer().data());
  fill(Device{}, rows * values.row_size(), static_cast<T>(tangent),
       result.buffer().data() + values.size());
  return result;
}

/// error = u - (v - (t - r) du/dt) and what belongs to it.
template <class T, class Device>
[[nodiscard]] FlowResidual<T, Device> make_residual(const FlowBatch<T, Device>& batch,
                                                    std::size_t node, Tensor<T, Device> u,
                                                    Tensor<T, Device> derivative) {
  const std::size_t rows = batch.z.rows();
  if (!(u.shape() == batch.z.shape()))
    throw_shape_error("objective", u.shape(), batch.z.shape(), "the net must give the shape of z");
  FlowResidual<T, Device> result{node,
                                 std::move(u),
                                 std::move(derivative),
                                 Tensor<T, Device>(batch.z.shape()),
                                 Tensor<T, Device>({rows}),
                                 Tensor<T, Device>({rows}),
                                 Tensor<T, Device>({rows})};
  const T *value = result.u.data(), *slope = result.derivative.data(), *v = batch.v.data();
  const std::size_t jumps = result.derivative.empty() ? 0 : result.derivative.rows();
  flow_residual(Device{}, rows, jumps, batch.z.row_size(), value, slope, v,
                static_cast<const T*>(batch.r.data()), static_cast<const T*>(batch.t.data()),
                result.error.data(), result.square.data(), result.velocity_square.data(),
                result.derivative_square.data());
  return result;
}

/// The residual with du/dt along `tangent` (K, ...) in z; the direction's z scales it.
template <class N, class T, class Device>
[[nodiscard]] FlowResidual<T, Device> residual_along(const N& net,
                                                     const FlowBatch<T, Device>& batch,
                                                     const Tensor<T, Device>& tangent,
                                                     const JvpDirection& direction, JvpMode mode,
                                                     Tape<T, Device>& tape) {
  const std::size_t jumps = batch.jump_rows;
  if (jumps == 0) {
    const auto u =
        evaluate(net, Var(tape, batch.z), Var(tape, batch.r), Var(tape, batch.t), batch.condition);
    return make_residual(batch, u.node(), u.value(), Tensor<T, Device>{});
  }
  if (mode == JvpMode::joint) {
    const auto u = evaluate(net, Var(tape, with_tangent(batch.z, tangent, direction.z)),
                            Var(tape, with_tangent(batch.r, jumps, direction.r)),
                            Var(tape, with_tangent(batch.t, jumps, direction.t)), batch.condition);
    return make_residual(batch, u.node(), u.value().primal(), u.value().tangent());
  }
  const auto slope = evaluate(net, with_tangent(batch.z.rows(0, jumps), tangent, direction.z),
                              with_tangent(batch.r.rows(0, jumps), jumps, direction.r),
                              with_tangent(batch.t.rows(0, jumps), jumps, direction.t),
                              batch.condition.rows(0, jumps));
  const auto u =
      evaluate(net, Var(tape, batch.z), Var(tape, batch.r), Var(tape, batch.t), batch.condition);
  return make_residual(batch, u.node(), u.value(), slope.tangent());
}

}  // namespace detail

/// Weighs the rows: gives each row's loss, weight * square (B), and turns `residual.error` into the
/// gradient by u of the mean loss over a batch of `batch` rows, of which these may be a part:
/// 2 weight error / batch. The weights are constants to the gradient.
template <LossWeighting W, class T, class Device>
[[nodiscard]] Tensor<double, Device> weigh(const W& weighting, FlowResidual<T, Device>& residual,
                                           std::size_t batch) {
  const std::size_t rows = residual.error.rows(), columns = residual.error.row_size();
  Tensor<double, Device> losses({rows});
  Tensor<T, Device> scales({rows});
  weigh_rows(Device{}, weighting, rows, columns, batch,
             static_cast<const T*>(residual.square.data()), losses.data(), scales.data());
  scale_rows(Device{}, rows, columns, static_cast<const T*>(scales.data()),
             static_cast<const T*>(residual.error.data()), residual.error.data());
  return losses;
}

/// Flow matching: u(z, t, t) towards v. The baseline that Mean Flows grow from.
struct FlowMatching {
  static constexpr bool needs_jumps = false;

  template <class N, class T, class Device>
  [[nodiscard]] FlowResidual<T, Device> operator()(const N& net, const FlowBatch<T, Device>& batch,
                                                   Tape<T, Device>& tape) const {
    const auto u =
        evaluate(net, Var(tape, batch.z), Var(tape, batch.t), Var(tape, batch.t), batch.condition);
    return detail::make_residual(batch, u.node(), u.value(), Tensor<T, Device>{});
  }
};

/// Mean Flows (arXiv 2505.13447): u(z, r, t) towards sg(v - (t - r) du/dt), with du/dt the
/// derivative of u along (v, 0, 1).
struct MeanFlow {
  JvpDirection direction{};
  JvpMode mode = JvpMode::joint;

  template <class N, class T, class Device>
  [[nodiscard]] FlowResidual<T, Device> operator()(const N& net, const FlowBatch<T, Device>& batch,
                                                   Tape<T, Device>& tape) const {
    return detail::residual_along(net, batch, batch.v.rows(0, batch.jump_rows), direction, mode,
                                  tape);
  }
};

/// Improved Mean Flows with the boundary velocity (arXiv 2512.02012): V = u + (t - r) sg(du/dt)
/// towards v, with du/dt along (u(z, t, t), 0, 1): the net's own velocity, which depends on z
/// alone, takes the place of the conditional one.
struct ImprovedMeanFlow {
  JvpMode mode = JvpMode::joint;

  template <class N, class T, class Device>
  [[nodiscard]] FlowResidual<T, Device> operator()(const N& net, const FlowBatch<T, Device>& batch,
                                                   Tape<T, Device>& tape) const {
    const std::size_t jumps = batch.jump_rows;
    Tensor<T, Device> velocity;
    if (jumps > 0) {
      const Tensor<T, Device> t = batch.t.rows(0, jumps);
      velocity = evaluate(net, batch.z.rows(0, jumps), t, t, batch.condition.rows(0, jumps));
    }
    return detail::residual_along(net, batch, velocity, JvpDirection{}, mode, tape);
  }
};

}  // namespace meanflow
