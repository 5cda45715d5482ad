// SPDX-License-Identifier: MIT
/// \file
/// Lipschitz control: a penalty on how far a net's output moves with its input.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include <meanflow/config.hpp>
#include <meanflow/flow/objective.hpp>
#include <meanflow/flow/tangents.hpp>
#include <meanflow/kernels/reference/shapes.hpp>
#include <meanflow/random/philox.hpp>

namespace meanflow {

namespace detail {

/// In every row: d of numbers -1 and 1, and the points z + h d and z - h d. The signs are drawn
/// from the row's noise, so that they depend on that row alone.
template <class T>
struct StepBothWays {
  std::size_t columns;
  T h;
  const T *z, *noise;
  T *direction, *ahead, *behind;

  MEANFLOW_HOST_DEVICE void operator()(std::size_t row) const {
    const std::size_t first = row * columns;
    // Noise is above -9, so that this is a positive number of about 2^24 values.
    const auto number = static_cast<std::int64_t>((noise[first] + T(16)) * T(0x1p20));
    RandomStream stream(static_cast<std::uint64_t>(number), Purpose::directions);
    for (std::size_t i = first; i < first + columns; ++i) {
      direction[i] = (stream.bits() >> 31) != 0 ? T(1) : T(-1);
      ahead[i] = z[i] + h * direction[i];
      behind[i] = z[i] - h * direction[i];
    }
  }
};

/// With w = J d: loss += weight |w|^2, and weight w / h, of the mean over the batch, as the
/// gradient by u(z + h d); its negative by u(z - h d).
template <class T>
struct PenaltyOfRow {
  using value_type = T;
  static constexpr std::size_t sums = 1;
  double weight;
  T scale;  // weight / (h batch)
  const T* w;
  T *ahead, *behind;
  double* loss;
  T* stretch;

  template <class At>
  [[nodiscard]] MEANFLOW_HOST_DEVICE auto term(std::size_t /*row*/, At at, At /*column*/) const {
    const auto value = at.load(w);
    at.store(ahead, scale * value);
    at.store(behind, -(scale * value));
    return Sums<decltype(value * value), 1>{value * value};
  }
  MEANFLOW_HOST_DEVICE void finish(std::size_t row, const Sums<T, 1>& sum) const {
    using std::sqrt;
    loss[row] += weight * static_cast<double>(sum.of[0]);
    stretch[row] = sqrt(sum.of[0]);
  }
};

template <std::size_t M>
[[nodiscard]] constexpr std::array<Metric, M + 1> with_stretch(const std::array<Metric, M>& own) {
  std::array<Metric, M + 1> all{};
  for (std::size_t m = 0; m < M; ++m) all[m] = own[m];
  all[M] = Metric{"stretch"};
  return all;
}

}  // namespace detail

/// An objective with a penalty on the Jacobian J = du/dz of the net, the rate at which u moves with
/// z: to the loss of a row comes weight |J d|^2, where d is a direction of numbers -1 and 1 drawn
/// at random, so that the mean is weight |J|^2, the square of the Frobenius norm (Hutchinson).
///
/// J d is exact, a derivative in forward mode. Its gradient by the parameters,
/// 2 (dJd/dparameters)^T J d, is the gradient of (J d)^T (u(z + h d) - u(z - h d)) / h with J d
/// held constant: two more evaluations of the net, and an error of the order of h^2. In all a step
/// costs about twice as much. In bfloat16 that difference is lost in rounding: train in float32.
///
/// Reports the metrics of the objective and "stretch", |J d|.
template <class O>
struct LipschitzPenalty {
  double weight = 1e-3;  ///< of the penalty, at least 0
  double step = 1e-2;    ///< h, in the scale of the net's data
  O objective{};

  static constexpr auto metrics = detail::with_stretch(detail::metrics_of<O>());
  [[nodiscard]] constexpr bool needs_jumps() const { return meanflow::needs_jumps(objective); }
  [[nodiscard]] constexpr bool instantaneous() const { return meanflow::instantaneous(objective); }
  [[nodiscard]] constexpr bool changes_with_step() const {
    return meanflow::changes_with_step(objective);
  }
  static constexpr void fields(auto f, auto&... o) {
    f("weight", o.weight...);
    f("step", o.step...);
    f("objective", o.objective...);
  }

  /// Throws SettingError if a number is out of range.
  void check() const {
    if (!(weight >= 0) || !std::isfinite(weight))
      throw SettingError("LipschitzPenalty: weight is " + std::to_string(weight) +
                         ", but must be finite and at least 0");
    if (!(step >= 1e-5) || !std::isfinite(step))
      throw SettingError("LipschitzPenalty: step is " + std::to_string(step) +
                         ", but must be finite and at least 0.00001");
    if constexpr (requires { objective.check(); }) objective.check();
  }

  template <class N, class W>
    requires RowObjective<O, N, W>
  [[nodiscard]] auto operator()(const N& net, const FlowBatchOf<N>& batch,
                                const StepContext<N, W>& context) const {
    return penalised(objective(net, batch, context), net, batch, context);
  }

 private:
  template <class N, class W, class T, class Device, std::size_t Outputs, std::size_t M>
  [[nodiscard]] RowLosses<T, Device, Outputs + 2, M + 1> penalised(
      RowLosses<T, Device, Outputs, M> own, const N& net, const FlowBatchOf<N>& batch,
      const StepContext<N, W>& context) const {
    using Values = Tensor<T, Device>;
    const Shape& shape = batch.z.shape();
    const std::size_t rows = shape.rows();
    Values direction(shape), ahead(shape), behind(shape);
    for_each_index(
        Device{}, rows,
        detail::StepBothWays<T>{shape.row_size(), static_cast<T>(step), batch.z.data(),
                                batch.noise.data(), direction.data(), ahead.data(), behind.data()});
    const Values stretched =
        evaluate(net, with_tangent(batch.z, direction), with_tangent(batch.r, rows, 0),
                 with_tangent(batch.t, rows, 0), batch.condition)
            .tangent();
    const auto node_at = [&](const Values& z) {
      return evaluate(net, Var(context.tape, z), Var(context.tape, batch.r),
                      Var(context.tape, batch.t), batch.condition)
          .node();
    };
    RowLosses<T, Device, Outputs + 2, M + 1> result{std::move(own.loss), {}, {}};
    for (std::size_t i = 0; i < Outputs; ++i) result.outputs[i] = std::move(own.outputs[i]);
    for (std::size_t m = 0; m < M; ++m) result.metrics[m] = std::move(own.metrics[m]);
    result.outputs[Outputs] = {node_at(ahead), Values(shape)};
    result.outputs[Outputs + 1] = {node_at(behind), Values(shape)};
    result.metrics[M] = Values({rows});
    const double scale = weight / (step * static_cast<double>(context.batch));
    reduce_rows(Device{}, rows, shape.row_size(),
                detail::PenaltyOfRow<T>{weight, static_cast<T>(scale), stretched.data(),
                                        result.outputs[Outputs].gradient.data(),
                                        result.outputs[Outputs + 1].gradient.data(),
                                        result.loss.data(), result.metrics[M].data()});
    return result;
  }
};

}  // namespace meanflow
