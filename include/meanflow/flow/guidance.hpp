// SPDX-License-Identifier: MIT
/// \file
/// Classifier-free guidance: in the target, so that one evaluation per step stays enough, or at
/// sampling; and the label dropout that both need.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include <meanflow/config.hpp>
#include <meanflow/flow/objective.hpp>
#include <meanflow/nn/net.hpp>
#include <meanflow/ops/elementwise.hpp>
#include <meanflow/random/philox.hpp>

namespace meanflow {

/// Whether a share of rows is met exactly in every batch, or by chance in each row.
enum class DropCount { exact, by_chance };

/// Which rows lose their label; a rule for every step, which devices can call.
struct DroppedRows {
  double rate = 0;
  DropCount count = DropCount::exact;
  std::size_t kept = 0;  ///< rows that come before the dropped ones, by `exact`
  std::uint64_t seed = 0;
  std::uint64_t first_row = 0;  ///< number of row 0 among those of all processes

  [[nodiscard]] MEANFLOW_HOST_DEVICE bool operator()(std::size_t row, std::uint64_t step) const {
    if (count == DropCount::exact) return row >= kept;
    return RandomStream(seed, Purpose::labels, step, first_row + row).uniform<double>() < rate;
  }
};

/// Which rows of a batch lose their label, that is get the null class.
struct LabelDropout {
  double rate = 0;                           ///< share of rows, in [0, 1]
  std::optional<std::int32_t> null_class{};  ///< by default the net's own
  DropCount count = DropCount::exact;

  /// \throws SettingError if the rate is not in [0, 1].
  void check() const {
    if (!(rate >= 0 && rate <= 1))
      throw SettingError("LabelDropout: rate is " + std::to_string(rate) +
                         ", but must be in [0, 1]");
  }

  /// The rule for batches of `batch` rows. By `exact`, the last rows lose theirs: those with r = t
  /// come last, and they are dropped first, as the published code has it.
  /// \throws SettingError if the exact share of so few rows is none.
  [[nodiscard]] DroppedRows rule(std::size_t batch, std::uint64_t seed,
                                 std::uint64_t first_row = 0) const {
    const auto dropped = static_cast<std::size_t>(std::llround(rate * static_cast<double>(batch)));
    if (dropped == 0 && rate > 0 && count == DropCount::exact && batch > 0)
      throw SettingError("label dropout: " + std::to_string(rate) + " of a batch of " +
                         std::to_string(batch) +
                         " rows is not one row: take a larger batch, or count by_chance");
    return {rate, count, batch - dropped, seed, first_row};
  }
};

/// The shares of `Guided` at a row's time and label.
struct GuidanceRule {
  double omega, kappa, t_start, t_end;
  std::int32_t null_class;

  struct Shares {
    double of_data, of_null, of_class;
  };
  [[nodiscard]] MEANFLOW_HOST_DEVICE Shares operator()(double t, std::int32_t label) const {
    if (t < t_start || t > t_end || label == null_class) return {1, 0, 0};
    return {omega, 1 - omega - kappa, kappa};
  }
};

/// Guidance in the target (arXiv 2505.13447, section 4.2 and appendix): the velocity v is replaced
/// by
///   omega v + (1 - omega - kappa) u(z, t, t | null) + kappa u(z, t, t | class)
/// where t_start <= t <= t_end; v stays elsewhere and in rows without a label. Works around any
/// objective that regresses towards the batch's v. The effective scale is omega / (1 - kappa).
template <class Goal>
struct Guided {
  double omega = 1;
  double kappa = 0;
  double t_start = 0, t_end = 1;
  std::optional<std::int32_t> null_class{};  ///< the label of rows that have none: the net's own
  Goal objective{};

  static constexpr bool needs_jumps = detail::needs_jumps<Goal>();

  template <class N, class T, class Device>
  [[nodiscard]] FlowResidual<T, Device> operator()(const N& net, const FlowBatch<T, Device>& batch,
                                                   Tape<T, Device>& tape) const {
    FlowBatch<T, Device> guided = batch;
    guided.v = guided_velocity(net, batch);
    return objective(net, guided, tape);
  }

  /// The velocity that the objective is given, (B, ...).
  template <class N, class T, class Device>
  [[nodiscard]] Tensor<T, Device> guided_velocity(const N& net,
                                                  const FlowBatch<T, Device>& batch) const {
    check();
    const std::int32_t null = null_class_of(net, null_class, "guidance");
    const std::size_t rows = batch.z.rows();
    if (batch.condition.labels.size() != rows)
      throw ShapeError("guidance: a batch of " + std::to_string(rows) + " rows has " +
                       std::to_string(batch.condition.labels.size()) + " labels");
    const Tensor<T, Device> of_data({rows}), of_null({rows}), of_class({rows});
    guidance_shares(Device{}, GuidanceRule{omega, kappa, t_start, t_end, null}, rows,
                    static_cast<const T*>(batch.t.data()),
                    static_cast<const std::int32_t*>(batch.condition.labels.data()), of_data.data(),
                    of_null.data(), of_class.data());
    Condition<T, Device> without = batch.condition;
    without.labels = Tensor<std::int32_t, Device>::full({rows}, null);
    Tensor<T, Device> v = scaled(batch.v, of_data);
    add(v, scaled(evaluate(net, batch.z, batch.t, batch.t, without), of_null));
    if (kappa != 0)
      add(v, scaled(evaluate(net, batch.z, batch.t, batch.t, batch.condition), of_class));
    return v;
  }

  /// \throws SettingError if kappa is not in [0, 1), omega is not finite, or the interval is none.
  void check() const {
    if (!std::isfinite(omega))
      throw SettingError("Guided: omega is " + std::to_string(omega) + ", but must be finite");
    if (!(kappa >= 0 && kappa < 1))
      throw SettingError("Guided: kappa is " + std::to_string(kappa) + ", but must be in [0, 1)");
    if (!(t_start <= t_end))
      throw SettingError("Guided: t_start is " + std::to_string(t_start) +
                         ", but must be at most t_end, which is " + std::to_string(t_end));
  }

 private:
  template <class T, class Device>
  [[nodiscard]] static Tensor<T, Device> scaled(const Tensor<T, Device>& x,
                                                const Tensor<T, Device>& scales) {
    Tensor<T, Device> y(x.shape());
    scale_rows(Device{}, x.rows(), x.row_size(), static_cast<const T*>(scales.data()),
               static_cast<const T*>(x.data()), y.data());
    return y;
  }
  template <class T, class Device>
  static void add(const Tensor<T, Device>& sum, const Tensor<T, Device>& x) {
    accumulate(Device{}, x.size(), static_cast<const T*>(x.data()), sum.data());
  }
};

/// A net guided at sampling: u(null) + scale (u(class) - u(null)), two evaluations in each step.
/// For nets that were trained without guidance in the target, but with label dropout.
template <Net N>
class GuidedSampling {
 public:
  using value_type = typename N::value_type;
  using device_type = typename N::device_type;

  /// The net must outlive this. `null_class` is by default the net's own.
  GuidedSampling(const N& net, double scale, std::optional<std::int32_t> null_class = {})
      : net_(net),
        scale_(scale),
        null_class_(null_class_of(net, null_class, "guidance at sampling")) {}

  [[nodiscard]] decltype(auto) parameters() const { return net_.parameters(); }

  template <Differentiable X>
  [[nodiscard]] X operator()(const X& z, const X& r, const X& t,
                             const Condition<value_type, device_type>& condition) const {
    Condition<value_type, device_type> without = condition;
    without.labels = Tensor<std::int32_t, device_type>::full({z.rows()}, null_class_);
    const X null = evaluate(net_, z, r, t, without);
    return null + (evaluate(net_, z, r, t, condition) - null) * scale_;
  }

 private:
  const N& net_;
  double scale_;
  std::int32_t null_class_;
};

}  // namespace meanflow
