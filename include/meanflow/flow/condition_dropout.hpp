// SPDX-License-Identifier: MIT
/// \file
/// Rows without a condition, so that a net learns the unconditional u beside the conditional.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include <meanflow/config.hpp>
#include <meanflow/kernels/reference/shapes.hpp>
#include <meanflow/nn/condition.hpp>
#include <meanflow/random/philox.hpp>

namespace meanflow {

/// Whether exactly that share of rows is dropped in every batch, or each row by chance.
enum class DropCount { exact, by_chance };

/// Which rows lose their condition; a rule for every step, which devices can call.
struct DroppedRows {
  double rate = 0;
  DropCount count = DropCount::by_chance;
  std::size_t batch = 0;  ///< rows of all processes
  std::uint64_t seed = 0;

  /// About a row by its number among those of all processes.
  [[nodiscard]] MEANFLOW_HOST_DEVICE bool operator()(std::size_t row, std::uint64_t step) const {
    if (count == DropCount::by_chance)
      return RandomStream(seed, Purpose::labels, step, row).uniform<double>() < rate;
    RandomStream of_batch(seed, Purpose::labels, step, batch);
    return row >= batch - of_batch.round_by_chance(rate * static_cast<double>(batch));
  }
};

/// Which rows of a batch are told the net's null condition instead of their own.
///
/// By chance, the default, jumps are learned without a condition as well, which guidance at
/// sampling asks for. `exact` drops the condition of the last rows, those with r = t first: enough
/// for guidance in the target (`Guided`), which asks the net for u(z, t, t | null) alone, but
/// u(z, r, t | null) with r < t is then never trained.
struct ConditionDropout {
  double rate = 0;  ///< share of rows, in [0, 1]
  DropCount count = DropCount::by_chance;

  static constexpr void fields(auto f, auto&... c) {
    f("rate", c.rate...);
    f("count", c.count...);
  }

  /// Throws SettingError if the rate is not in [0, 1].
  void check() const {
    if (!(rate >= 0 && rate <= 1))
      throw SettingError("ConditionDropout: rate is " + std::to_string(rate) +
                         ", but must be in [0, 1]");
  }

  /// The rule for batches of `batch` rows, of all processes.
  [[nodiscard]] DroppedRows rule(std::size_t batch, std::uint64_t seed) const {
    return {rate, count, batch, seed};
  }
};

namespace detail {

/// part[row] = null where the rule says so of row first_row + row.
template <class Element>
struct DropRows {
  DroppedRows rule;
  const std::uint64_t* step;
  std::size_t first_row, columns;
  const Element* null;
  Element* part;

  MEANFLOW_HOST_DEVICE void operator()(std::size_t i) const {
    const std::size_t row = i / columns;
    if (rule(first_row + row, *step)) part[i] = null[i % columns];
  }
};

/// rows[row] = null
template <class Element>
struct RepeatRow {
  std::size_t columns;
  const Element* null;
  Element* rows;

  MEANFLOW_HOST_DEVICE void operator()(std::size_t i) const { rows[i] = null[i % columns]; }
};

/// is_null[row] &= (part[row] == null)
template <class Element>
struct CompareRow {
  std::size_t columns;
  const Element *null, *part;
  std::uint8_t* is_null;

  MEANFLOW_HOST_DEVICE void operator()(std::size_t row) const {
    for (std::size_t c = 0; c < columns; ++c)
      if (part[row * columns + c] != null[c]) is_null[row] = 0;
  }
};

/// f(given part, null part) for every part of which the null condition says something.
template <class Given, Condition C, class F>
  requires std::is_same_v<const Given, const C>
void for_each_null(Given& given, const C& null, F f) {
  C::fields(
      [&](const char*, auto& part, const auto& nothing) {
        if (!nothing.empty()) f(part, nothing);
      },
      given, null);
}

/// Throws ShapeError with the message if a part that the null condition speaks of is not given.
template <Condition C>
void check_given(const char* message, const C& given, const C& null) {
  for_each_null(given, null, [&](const auto& part, const auto&) {
    if (part.empty()) throw ShapeError(message);
  });
}

/// Throws ShapeError, naming `who`, unless a null condition is one row like those that are given.
template <Condition C>
void check_null(const std::string& who, const C& given, const C& null) {
  for_each_null(given, null, [&](const auto& part, const auto& nothing) {
    if (nothing.rows() != 1 || (!part.empty() && part.row_size() != nothing.row_size()))
      throw_shape_error(who + ": the net's null condition", nothing.shape(), part.shape(),
                        "it must be one row of the condition that is given");
  });
}

}  // namespace detail

/// The condition with the null condition in all `rows` rows.
template <class Device, Condition C>
[[nodiscard]] C with_null(const C& given, const C& null, std::size_t rows) {
  C without = given;
  detail::for_each_null(without, null, [&](auto& part, const auto& nothing) {
    using Part = std::remove_cvref_t<decltype(part)>;
    part = Part(nothing.shape().with_rows(rows));
    for_each_index(
        Device{}, part.size(),
        detail::RepeatRow<typename Part::value_type>{nothing.size(), nothing.data(), part.data()});
  });
  return without;
}

/// 1 for each row that is told nothing but the null condition, else 0, (B).
template <class Device, Condition C>
[[nodiscard]] Tensor<std::uint8_t, Device> null_rows(const C& given, const C& null,
                                                     std::size_t rows) {
  auto is_null = Tensor<std::uint8_t, Device>::full({rows}, 1);
  detail::for_each_null(given, null, [&](const auto& part, const auto& nothing) {
    using Part = std::remove_cvref_t<decltype(part)>;
    for_each_index(Device{}, rows,
                   detail::CompareRow<typename Part::value_type>{nothing.size(), nothing.data(),
                                                                 part.data(), is_null.data()});
  });
  return is_null;
}

}  // namespace meanflow
