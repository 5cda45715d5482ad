// SPDX-License-Identifier: MIT
/// \file
/// What may be done to du/dt before it enters the target, for stability and for ablations.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include <meanflow/config.hpp>
#include <meanflow/flow/squared_error.hpp>
#include <meanflow/flow/step_along.hpp>
#include <meanflow/flow/tangents.hpp>
#include <meanflow/kernels/precision.hpp>
#include <meanflow/nn/net.hpp>

namespace meanflow {

/// With D = du/dt of a row, along (b v + (1 - b) u(z, t, t), 0, 1):
///   D <- D / (|D| + normalise),  D <- D min(1, clip / |D|),  D <- D min(1, (step + 1) / warmup).
/// The defaults change nothing.
struct TangentOptions {
  /// b in [0, 1]: 1 for the batch's velocity, 0 for the net's own, which has no noise but errors of
  /// its own (improved Mean Flows, arXiv 2512.02012).
  double mixing = 1;
  double normalise = 0;            ///< above 0: a row's D has a length below 1 (arXiv 2410.11081)
  double clip = 0;                 ///< above 0: the largest length of a row's D
  std::uint64_t warmup_steps = 0;  ///< steps in which D grows to its full size
  /// Above 0: a central difference of so much in t in place of the derivative, which costs two
  /// evaluations and is not exact; for ablations, in float32.
  double difference = 0;
  /// D in float32, in a pass of its own, where the rest is computed in bfloat16.
  bool float32 = false;

  static constexpr void fields(auto f, auto&... o) {
    f("mixing", o.mixing...);
    f("normalise", o.normalise...);
    f("clip", o.clip...);
    f("warmup_steps", o.warmup_steps...);
    f("difference", o.difference...);
    f("float32", o.float32...);
  }

  /// Whether D is computed in a pass of its own.
  [[nodiscard]] constexpr bool apart() const { return difference > 0 || float32; }
  /// Whether D is changed after it has been computed.
  [[nodiscard]] constexpr bool shapes() const {
    return normalise > 0 || clip > 0 || warmup_steps > 0;
  }

  /// Throws SettingError if a number is out of range.
  void check() const {
    if (!(mixing >= 0 && mixing <= 1))
      throw SettingError("TangentOptions: mixing is " + std::to_string(mixing) +
                         ", but must be in [0, 1]");
    const auto positive = [](const char* name, double value) {
      if (!(value >= 0) || !std::isfinite(value))
        throw SettingError(std::string("TangentOptions: ") + name + " is " + std::to_string(value) +
                           ", but must be finite and at least 0");
    };
    positive("normalise", normalise);
    positive("clip", clip);
    positive("difference", difference);
  }
};

namespace detail {

/// y = b x + (1 - b) y
template <class T>
struct MixInto {
  using value_type = T;
  T b;
  const T* x;
  T* y;
  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(At at) const {
    at.store(y, b * at.load(x) + (1 - b) * at.load(y));
  }
};

/// The factor of every row's D.
template <class T>
struct TangentFactor {
  using value_type = T;
  static constexpr std::size_t sums = 1;
  TangentOptions options;
  const std::uint64_t* step;
  const T* d;
  T* factor;

  template <class At>
  [[nodiscard]] MEANFLOW_HOST_DEVICE auto term(std::size_t /*row*/, At at, At /*column*/) const {
    const auto value = at.load(d);
    return Sums<decltype(value * value), 1>{value * value};
  }
  MEANFLOW_HOST_DEVICE void finish(std::size_t row, const Sums<T, 1>& sum) const {
    using std::sqrt;
    double length = sqrt(static_cast<double>(sum.of[0])), by = 1;
    if (options.normalise > 0) by = 1 / (length + options.normalise);
    length *= by;
    if (options.clip > 0 && length > options.clip) by *= options.clip / length;
    if (options.warmup_steps > 0 && *step < options.warmup_steps)
      by *= static_cast<double>(*step + 1) / static_cast<double>(options.warmup_steps);
    factor[row] = static_cast<T>(by);
  }
};

}  // namespace detail

/// b v + (1 - b) u(z, t, t) of the rows that jump (K, ...), without the net's dropout.
template <class N>
[[nodiscard]] auto mixed_direction(const N& net, const FlowBatchOf<N>& batch,
                                   const TangentOptions& options) {
  using T = typename N::value_type;
  using Device = typename N::device_type;
  const std::size_t jumps = batch.jump_rows;
  const auto v = batch.v.rows(0, jumps);
  if (options.mixing == 1 || jumps == 0) return v;
  const auto t = batch.t.rows(0, jumps);
  auto u = evaluate(net, batch.z.rows(0, jumps), t, t,
                    without_dropout(condition_rows(batch.condition, 0, jumps)));
  if (options.mixing > 0)
    for_each(Device{}, u.size(),
             detail::MixInto<T>{static_cast<T>(options.mixing), v.data(), u.data()});
  return u;
}

/// u recorded, and du/dt in a pass of its own: in float32, or by a central difference.
template <class N, class T, class Device>
[[nodiscard]] VelocityAndJvp<T, Device> velocity_and_difference(
    const N& net, const FlowBatchOf<N>& batch, const Tensor<T, Device>& dz, Tape<T, Device>& tape,
    const TangentOptions& options, const JvpDirection& direction) {
  const auto [z, r, t] = inputs(batch, tape);
  const auto u = evaluate(net, z, r, t, batch.condition);
  VelocityAndJvp<T, Device> found{u.node(), u.value(), {}};
  const std::size_t jumps = batch.jump_rows;
  if (jumps == 0) return found;
  std::optional<AutocastScope> exact;
  if (options.float32) exact.emplace(Precision::float32, Device{});
  if (options.difference == 0) {
    found.dudt = derivative_along(net, batch, dz, direction);
    return found;
  }
  const auto at = [&](double h) {
    auto z = batch.z.rows(0, jumps).clone();
    detail::step_along(z, -h * direction.z, dz);
    return evaluate(net, z, batch.r.rows(0, jumps) + h * direction.r,
                    batch.t.rows(0, jumps) + h * direction.t,
                    condition_rows(batch.condition, 0, jumps));
  };
  const double h = options.difference;
  found.dudt = (at(h) - at(-h)) * (1 / (2 * h));
  return found;
}

/// D of the rows that jump (K, ...), normalised, clipped and warmed up.
template <class T, class Device>
[[nodiscard]] Tensor<T, Device> shaped_tangents(const Tensor<T, Device>& d,
                                                const TangentOptions& options,
                                                const RowDraws<Device>& draws) {
  if (!options.shapes() || d.empty()) return d;
  if (options.warmup_steps > 0) detail::check_draws("TangentOptions", draws);
  Tensor<T, Device> factors({d.rows()}), shaped(d.shape());
  reduce_rows(Device{}, d.rows(), d.row_size(),
              detail::TangentFactor<T>{options, draws.step.data(), d.data(), factors.data()});
  for_each_in_rows(Device{}, d.rows(), d.row_size(),
                   detail::ScaleRows<T>{factors.data(), d.data(), shaped.data()});
  return shaped;
}

}  // namespace meanflow
