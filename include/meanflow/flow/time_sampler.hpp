// SPDX-License-Identifier: MIT
/// \file
/// How the pairs r <= t of a training batch are drawn.
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <optional>
#include <string>

#include <meanflow/config.hpp>
#include <meanflow/error.hpp>
#include <meanflow/random/philox.hpp>

namespace meanflow {

/// One row's times.
template <class T>
struct TimePair {
  T r, t;
};

/// A sampler says how many rows of a batch may have r < t (they come first, and only they carry a
/// tangent), and draws the times of one row.
///
/// Syntax:
///  1. `sampler.jump_rows(batch, stream)`: K in [0, batch];
///  2. `sampler.sample(stream, jump)`: the `TimePair<float>` of a row; `jump` tells whether it is
///     one of the first K.
/// Semantics: 0 <= r <= t <= 1, and r = t unless `jump`. All randomness comes from the stream, so
/// that a row's times depend on nothing but seed, step and row. On a GPU `sample` is called there,
/// so it must be a MEANFLOW_HOST_DEVICE function of an object that can be copied as bytes.
template <class S>
concept TimeSampler = std::copy_constructible<S> &&
                      requires(const S& sampler, RandomStream& stream, std::size_t batch) {
                        { sampler.jump_rows(batch, stream) } -> std::convertible_to<std::size_t>;
                        { sampler.sample(stream, true) } -> std::convertible_to<TimePair<float>>;
                      };

/// t ~ U(0, 1), both ends excluded: a path's derivative need not exist there.
struct UniformTime {
  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE T draw(RandomStream& stream) const {
    return stream.uniform_open<T>();
  }
};

/// t = sigmoid(mean + deviation n), n ~ N(0, 1)
struct LogitNormalTime {
  double mean = -0.4;
  double deviation = 1;

  static constexpr void fields(auto f, auto&... d) {
    f("mean", d.mean...);
    f("deviation", d.deviation...);
  }

  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE T draw(RandomStream& stream) const {
    using std::exp;
    const T logit = static_cast<T>(mean) + static_cast<T>(deviation) * stream.normal<T>();
    return 1 / (1 + exp(-logit));
  }
};

/// How two drawn times become a pair.
enum class Pairing {
  sort_then_equal,  ///< (r, t) = (min, max) of two draws; rows without a jump set r = t. The
                    ///< paper's.
  equal_then_min,  ///< t keeps its own distribution; r = min(r, t). The improved CIFAR-10 recipe's.
};

/// Whether that fraction of rows jumps in every batch, or each row by chance. An exact share that
/// is no whole number of rows is rounded down in some batches and up in others, so that the mean is
/// exact.
enum class JumpCount { exact, by_chance };

/// Two draws from `Time`, paired. `r`, if given, draws the second time from a distribution of its
/// own.
template <class Time>
struct PairedTimes {
  Time t{};
  std::optional<Time> r{};
  /// Share of the rows that may have r < t, in [0, 1]. With `equal_then_min` about half of them do,
  /// where both times have the same distribution.
  double jump_fraction = 0.75;
  Pairing pairing = Pairing::sort_then_equal;
  JumpCount count = JumpCount::exact;

  static constexpr void fields(auto f, auto&... p) {
    f("t", p.t...);
    f("r", p.r...);
    f("jump_fraction", p.jump_fraction...);
    f("pairing", p.pairing...);
    f("count", p.count...);
  }

  /// Rows are exchangeable, so jumps by chance need only their number to be drawn.
  [[nodiscard]] std::size_t jump_rows(std::size_t batch, RandomStream& stream) const {
    if (!(jump_fraction >= 0 && jump_fraction <= 1))
      throw SettingError("jump_fraction is " + std::to_string(jump_fraction) +
                         ", but must be in [0, 1]");
    if (count == JumpCount::exact)
      return stream.round_by_chance(jump_fraction * static_cast<double>(batch));
    std::size_t rows = 0;
    for (std::size_t row = 0; row < batch; ++row) rows += stream.uniform<double>() < jump_fraction;
    return rows;
  }

  [[nodiscard]] MEANFLOW_HOST_DEVICE TimePair<float> sample(RandomStream& stream, bool jump) const {
    const float first = t.template draw<float>(stream);
    const float second = (r ? *r : t).template draw<float>(stream);
    if (pairing == Pairing::equal_then_min) return {jump ? std::min(first, second) : first, first};
    const float later = std::max(first, second);
    return {jump ? std::min(first, second) : later, later};
  }
};

using UniformTimes = PairedTimes<UniformTime>;
using LogitNormalTimes = PairedTimes<LogitNormalTime>;

}  // namespace meanflow
