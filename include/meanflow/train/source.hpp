// SPDX-License-Identifier: MIT
/// \file
/// The contract of what batches come from, and the batch that they are written to.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>

#include <meanflow/nn/condition.hpp>
#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

/// Where batches come from.
///
/// Syntax:
///  1. `source.row_shape()`: the shape of a row, without the batch;
///  2. one of `source.fill(x, seed, number)`, which writes the rows x (B, ...) of that batch, and
///     `source.fill(x, condition, seed, number)`, which also writes their condition: a
///     `S::condition_type` if the source names one, else the net's. If a source has both, the
///     second is called.
/// Semantics: the same seed and number give the same rows. Of P processes, that of rank k asks for
/// the batches k, P + k, 2 P + k, ..., which are cut from those of one process: row i of batch n
/// should depend on the seed and n B + i alone, so that any number of processes sees the same data.
/// On a device that is not the host, a batch is asked for while the step before it runs, so before
/// the callbacks of that step.
/// A condition that the net is not told of is an error (SettingError). A source may have a
/// `description()`, a text that differs where the data do: the processes of a run compare theirs.
template <class S, class T, class C = NoCondition<T>>
concept DataSource =
    requires(S& source) {
      { source.row_shape() } -> std::convertible_to<Shape>;
    } &&
    (
        requires(S& source, Tensor<T>& x, std::uint64_t number) {
          source.fill(x, number, number);
        } || requires(S& source, Tensor<T>& x,
                      typename detail::SourceCondition<std::remove_cvref_t<S>,
                                                       OnDevice<C, Cpu>>::type& condition,
                      std::uint64_t number) { source.fill(x, condition, number, number); });

/// A batch on the host, with the condition of a net.
template <class T, class C>
class SourceBatch {
 public:
  using HostCondition = OnDevice<C, Cpu>;

  SourceBatch() = default;
  template <class Source>
  SourceBatch(Source& source, std::size_t rows) {
    x_ = Tensor<T>(Shape(source.row_shape()).batch_of(rows));
  }

  /// Throws SettingError if the source gives a condition that the net is not told of, ShapeError if
  /// it replaces x by a tensor of another shape.
  template <class Source>
  void fill(Source& source, std::uint64_t seed, std::uint64_t number) {
    using Given =
        typename detail::SourceCondition<std::remove_cvref_t<Source>, HostCondition>::type;
    const Shape shape = x_.shape();
    if constexpr (requires(Given& given) { source.fill(x_, given, seed, number); }) {
      Given given{};
      source.fill(x_, given, seed, number);
      if constexpr (std::is_same_v<Given, HostCondition>)
        condition_ = std::move(given);
      else
        condition_ = detail::convey<HostCondition>(given);
    } else {
      source.fill(x_, seed, number);
    }
    check_filled(shape);
  }

  [[nodiscard]] const Tensor<T>& x() const { return x_; }
  [[nodiscard]] const HostCondition& condition() const { return condition_; }

 private:
  void check_filled(const Shape& shape) {
    if (x_.shape() == shape) return;
    const Shape found = x_.shape();
    x_ = Tensor<T>(shape);
    throw ShapeError("fill: a source was asked for rows of shape " + to_string(shape) +
                     ", but gave " + to_string(found));
  }

  Tensor<T> x_;
  HostCondition condition_{};
};

}  // namespace meanflow
