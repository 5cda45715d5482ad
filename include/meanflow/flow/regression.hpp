// SPDX-License-Identifier: MIT
/// \file
/// The losses of u towards a target that needs no derivative.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>

#include <meanflow/config.hpp>
#include <meanflow/flow/objective.hpp>
#include <meanflow/flow/squared_error.hpp>

namespace meanflow {

/// What objectives of average velocities report of a row: |u - target|^2, divided by a^2 where the
/// objective divides the error by its gap a; |u - dz/dt|^2, without
/// guidance even where guidance is trained in; and of the rows that jump |du/dt|, or what takes its
/// place, |v - u + (u - target) / a| / (t - r), a = 1 unless the objective says otherwise.
inline constexpr std::array flow_metrics{Metric{"squared_error"}, Metric{"velocity_error"},
                                         Metric{"jvp_norm", MetricRows::jumping}};

/// For targets that differ from u by a share a of what u has to change: either a row's error is
/// divided by its a, or its loss and gradient are multiplied by it.
template <class T, class Device = Cpu>
struct TargetGap {
  Tensor<T, Device> shares{};  ///< (B); empty for 1
  bool divided = false;
};

namespace detail {

/// error = u - target, with the gap of each row; shares may be null.
template <class W, class T>
struct RegressionError {
  using value_type = T;
  static constexpr std::size_t sums = 3;
  WeighRow<W, T> weigh;
  const T* shares;
  bool divided;
  std::size_t jump_rows;
  const T *u, *target, *v, *path_velocity, *r, *t;
  T *error, *velocity_errors, *slopes;

  template <class At>
  [[nodiscard]] MEANFLOW_HOST_DEVICE auto term(std::size_t row, At at, At /*column*/) const {
    const auto difference = at.load(u) - at.load(path_velocity);
    const T inverse = shares ? 1 / shares[row] : T(1);
    const auto apart = at.load(u) - at.load(target);
    const auto quotient = inverse * apart;
    const auto e = divided ? quotient : apart;
    at.store(error, e);
    const auto change = at.load(v) - at.load(u) + quotient;
    return Sums<decltype(e * e), 3>{e * e, difference * difference, change * change};
  }
  MEANFLOW_HOST_DEVICE void finish(std::size_t row, const Sums<T, 3>& sum) const {
    using std::sqrt;
    weigh(row, sum.of[0]);
    velocity_errors[row] = sum.of[1];
    slopes[row] = row < jump_rows && r[row] < t[row] ? sqrt(sum.of[2]) / (t[row] - r[row]) : T(0);
    if (!shares || divided) return;
    weigh.losses[row] *= static_cast<double>(shares[row]);
    weigh.scales[row] *= shares[row];
  }
};

}  // namespace detail

/// The weighted squared errors of u (B, ...) towards a target (B, ...), which is a constant to the
/// gradient, with `flow_metrics`.
template <class N, class W, class X, class T, class Device>
[[nodiscard]] RowLosses<T, Device, 1, 3> regression_losses(const StepContext<N, W>& context,
                                                           const FlowBatchOf<N>& batch,
                                                           const Var<X>& u,
                                                           const Tensor<T, Device>& target,
                                                           const TargetGap<T, Device>& gap = {}) {
  using Values = Tensor<T, Device>;
  const Values values(primal(u));
  if (!(values.shape() == target.shape()))
    throw_shape_error("objective", values.shape(), target.shape(),
                      "the net must return the shape of z");
  const std::size_t rows = values.rows(), columns = values.row_size();
  RowLosses<T, Device, 1, 3> result{Tensor<double, Device>({rows}),
                                    {{{u.node(), Values(values.shape())}}},
                                    {Values({rows}), Values({rows}), Values({rows})}};
  Values& error = result.outputs[0].gradient;
  Values scales({rows});
  const detail::WeighRow<W, T> weigh{context.weighting,  columns,       context.batch,
                                     result.loss.data(), scales.data(), result.metrics[0].data()};
  reduce_rows(Device{}, rows, columns,
              detail::RegressionError<W, T>{weigh, gap.shares.data(), gap.divided, batch.jump_rows,
                                            values.data(), target.data(), batch.v.data(),
                                            batch.path_velocity().data(), batch.r.data(),
                                            batch.t.data(), error.data(), result.metrics[1].data(),
                                            result.metrics[2].data()});
  for_each_in_rows(Device{}, rows, columns,
                   detail::ScaleRows<T>{scales.data(), error.data(), error.data()});
  return result;
}

}  // namespace meanflow
