// SPDX-License-Identifier: MIT
/// \file
/// Guidance as an input of the net: a scale and an interval that are drawn in training and chosen
/// at sampling (arXiv 2512.02012).
#pragma once

#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>

#include <meanflow/config.hpp>
#include <meanflow/error.hpp>
#include <meanflow/kernels/reference/shapes.hpp>
#include <meanflow/nn/condition.hpp>
#include <meanflow/random/philox.hpp>
#include <meanflow/tensor/row_draws.hpp>

namespace meanflow {

/// What a sample is guided by: the scale omega within times [t_min, t_max], and 1 elsewhere.
struct GuidanceInput {
  double omega = 1;
  double t_min = 0, t_max = 1;

  static constexpr void fields(auto f, auto&... g) {
    f("omega", g.omega...);
    f("t_min", g.t_min...);
    f("t_max", g.t_max...);
  }

  /// Throws SettingError if omega is below 1 or the interval is turned round or outside [0, 1].
  void check() const {
    if (!(omega >= 1) || !std::isfinite(omega))
      throw SettingError("guidance: omega is " + std::to_string(omega) +
                         ", but must be finite and at least 1");
    if (!(0 <= t_min && t_min <= t_max && t_max <= 1))
      throw SettingError("guidance: the interval is [" + std::to_string(t_min) + ", " +
                         std::to_string(t_max) + "], but must be in order and within [0, 1]");
  }
};

/// The condition with the same guidance in all `rows` rows.
/// Throws SettingError if the guidance is out of range.
template <TellsGuidance C>
[[nodiscard]] C with_guidance(C condition, const GuidanceInput& guidance, std::size_t rows) {
  guidance.check();
  using Numbers = decltype(condition.omega);
  using T = typename Numbers::value_type;
  const auto column = [rows](double value) {
    return Numbers::full({rows, 1}, static_cast<T>(value));
  };
  condition.omega = column(guidance.omega);
  condition.t_min = column(guidance.t_min);
  condition.t_max = column(guidance.t_max);
  return condition;
}

/// How guidance is drawn in training: omega in [1, omega_max] with a density proportional to
/// omega^(-beta), t_min ~ U(0, t_min_max) and t_max ~ U(t_max_min, 1).
struct GuidanceDraw {
  double omega_max = 8;
  double beta = 1;
  double t_min_max = 0.5, t_max_min = 0.5;

  static constexpr void fields(auto f, auto&... g) {
    f("omega_max", g.omega_max...);
    f("beta", g.beta...);
    f("t_min_max", g.t_min_max...);
    f("t_max_min", g.t_max_min...);
  }

  /// Throws SettingError if a number is out of range.
  void check() const {
    if (!(omega_max >= 1) || !std::isfinite(omega_max) || !std::isfinite(beta))
      throw SettingError("GuidanceDraw: omega_max is " + std::to_string(omega_max) + " and beta " +
                         std::to_string(beta) +
                         ", but both must be finite and omega_max at least 1");
    if (!(0 <= t_min_max && t_min_max <= t_max_min && t_max_min <= 1))
      throw SettingError("GuidanceDraw: t_min_max is " + std::to_string(t_min_max) +
                         " and t_max_min " + std::to_string(t_max_min) +
                         ", but must be in order and within [0, 1]");
  }

  /// By inversion: omega_max^U for beta = 1, else (1 + U (omega_max^(1 - beta) - 1))^(1 / (1 -
  /// beta)).
  [[nodiscard]] MEANFLOW_HOST_DEVICE double omega(double uniform) const {
    using std::pow;
    if (beta == 1) return pow(omega_max, uniform);
    return pow(1 + uniform * (pow(omega_max, 1 - beta) - 1), 1 / (1 - beta));
  }
};

namespace detail {

/// One row's guidance; the interval is [0, 1] where r = t.
template <class T>
struct DrawGuidance {
  GuidanceDraw draw;
  std::uint64_t seed;
  const std::uint64_t *step, *numbers;
  const T *r, *t;
  T *omega, *t_min, *t_max;

  MEANFLOW_HOST_DEVICE void operator()(std::size_t row) const {
    RandomStream stream(seed, Purpose::guidance, *step, numbers[row]);
    omega[row] = static_cast<T>(draw.omega(stream.uniform<double>()));
    const double low = stream.uniform<double>(), high = stream.uniform<double>();
    const bool jumps = r[row] < t[row];
    t_min[row] = jumps ? static_cast<T>(low * draw.t_min_max) : T(0);
    t_max[row] = jumps ? static_cast<T>(draw.t_max_min + high * (1 - draw.t_max_min)) : T(1);
  }
};

}  // namespace detail

/// The condition with guidance drawn for every row, which depends on the row alone.
template <TellsGuidance C, class T, class Device>
[[nodiscard]] C with_drawn_guidance(C condition, const GuidanceDraw& draw,
                                    const RowDraws<Device>& draws, const Tensor<T, Device>& r,
                                    const Tensor<T, Device>& t) {
  detail::check_draws("guidance that is drawn", draws);
  const Shape column{r.rows(), 1};
  condition.omega = Tensor<T, Device>(column);
  condition.t_min = Tensor<T, Device>(column);
  condition.t_max = Tensor<T, Device>(column);
  for_each_index(Device{}, r.rows(),
                 detail::DrawGuidance<T>{draw, draws.seed, draws.step.data(), draws.rows.data(),
                                         r.data(), t.data(), condition.omega.data(),
                                         condition.t_min.data(), condition.t_max.data()});
  return condition;
}

}  // namespace meanflow
