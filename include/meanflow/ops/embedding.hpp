// SPDX-License-Identifier: MIT
/// \file
/// Embeddings of times (sinusoids of given frequencies) and of classes (rows of a table).
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include <meanflow/autodiff/differentiable.hpp>
#include <meanflow/kernels/reference.hpp>
#include <meanflow/ops/broadcast.hpp>

namespace meanflow {

/// Which half of a sinusoidal embedding comes first.
enum class SinusoidOrder { cosines_first, sines_first };

/// y = [cos(x f), sin(x f)] of every number x, or sines first; x (B, ..., C), f (h), y (B, ..., 2 h
/// C).
///   tangent   dy = [-sin(x f) f dx, cos(x f) f dx]
///   backward  gx = sum of f (cos(x f) g_sin - sin(x f) g_cos)
template <ValueLike X, class T, class Device>
[[nodiscard]] X sinusoid(const X& x, const Tensor<T, Device>& frequencies,
                         SinusoidOrder order = SinusoidOrder::cosines_first) {
  const std::size_t half = frequencies.size(), each = x.shape().row_size();
  X y = detail::make_like(x, x.shape().with_last(2 * half * x.shape().last()));
  sinusoid(Device{}, x.rows() * each, detail::tangent_rows(x) * each, half, frequencies.data(),
           order == SinusoidOrder::sines_first, detail::buffer(x), detail::buffer(y));
  return y;
}

template <ValueLike X, class T, class Device>
[[nodiscard]] Var<X> sinusoid(const Var<X>& x, const Tensor<T, Device>& frequencies,
                              SinusoidOrder order = SinusoidOrder::cosines_first) {
  X value = sinusoid(x.value(), frequencies, order);
  Tensor<T, Device> y = primal(value);
  return detail::recorded(
      x.tape(), std::move(value), !x.constant(),
      [y, frequencies, order, node = x.node(), shape = x.shape()](auto& tape, Tensor<T, Device> g) {
        auto gx = Tensor<T, Device>::zeros(shape);
        sinusoid_backward(Device{}, gx.size(), frequencies.size(), frequencies.data(),
                          order == SinusoidOrder::sines_first, y.data(), g.data(), gx.data());
        tape.add_gradient(node, std::move(gx));
      });
}

namespace detail {

/// Throws ShapeError unless there are `rows` labels, each in [0, count), which are `what`.
template <class Device>
void check_labels(const char* operation, const Tensor<std::int32_t, Device>& labels,
                  std::size_t rows, std::size_t count, const std::string& what) {
  if (labels.size() != rows)
    throw ShapeError(std::string(operation) + ": " + std::to_string(labels.size()) +
                     " labels for a batch of " + std::to_string(rows) + " rows");
  if constexpr (on_host<Device>)
    for (std::int32_t label : labels.span())
      if (!kernels::detail::is_label(label, count))
        throw ShapeError(std::string(operation) + ": label " + std::to_string(label) +
                         " is not in [0, " + std::to_string(count) + "), " + what);
}

template <class T, class Device>
void check_labels(const Tensor<std::int32_t, Device>& labels, std::size_t rows,
                  const Parameter<T, Device>& table) {
  check_labels("class_embedding", labels, rows, table.shape()[0], "the rows of " + table.name());
}

}  // namespace detail

/// y[b] = table[labels[b]]; table (classes, C), y (B, C). `like` is a value of the same batch,
/// which decides the kind of the result. Labels have no tangent, so dy = 0; the gradient is added
/// to the rows that were taken. Throws ShapeError on a label outside the table; a device that is
/// not waited for makes its row NaN instead.
template <class T, class Device>
[[nodiscard]] Tensor<T, Device> class_embedding(const Parameter<T, Device>& table,
                                                const Tensor<std::int32_t, Device>& labels,
                                                const Tensor<T, Device>& like) {
  detail::check_labels(labels, like.rows(), table);
  Tensor<T, Device> y({like.rows(), table.shape()[1]});
  gather_rows(Device{}, like.rows(), table.shape()[1], table.shape()[0], table.data(),
              labels.data(), y.data());
  return y;
}

template <class T, class Device>
[[nodiscard]] DualTensor<T, Device> class_embedding(const Parameter<T, Device>& table,
                                                    const Tensor<std::int32_t, Device>& labels,
                                                    const DualTensor<T, Device>& like) {
  detail::check_labels(labels, like.rows(), table);
  DualTensor<T, Device> y({like.rows(), table.shape()[1]}, like.tangent_rows());
  gather_rows(Device{}, like.rows(), table.shape()[1], table.shape()[0], table.data(),
              labels.data(), y.buffer().data());
  fill(Device{}, y.tangent().size(), T(0), y.tangent().data());
  return y;
}

template <ValueLike X, class T, class Device>
[[nodiscard]] Var<X> class_embedding(const Parameter<T, Device>& table,
                                     const Tensor<std::int32_t, Device>& labels,
                                     const Var<X>& like) {
  T* gradient = like.tape().gradient_of(table);
  return detail::recorded(
      like.tape(), class_embedding(table, labels, like.value()), gradient != nullptr,
      [gradient, labels, classes = table.shape()[0]](auto&, Tensor<T, Device> g) {
        scatter_add_rows(Device{}, g.rows(), g.row_size(), classes, g.data(), labels.data(),
                         gradient);
      });
}

/// y[b] is `value` at labels[b] and 0 elsewhere, (B, classes); the label `classes` gives zeros. A
/// constant of the kind of `like`: no tangent, no gradient. Throws ShapeError on a label beyond; a
/// device that is not waited for gives zeros instead.
template <class T, class Device, Differentiable X>
  requires(!detail::is_traced<X>)
[[nodiscard]] X one_hot(const Tensor<std::int32_t, Device>& labels, std::size_t classes, T value,
                        const X& like) {
  detail::check_labels("one_hot", labels, like.rows(), classes + 1,
                       "the classes and the null class");
  Tensor<typename X::value_type, Device> hot({like.rows(), classes});
  one_hot(Device{}, like.rows(), classes, static_cast<typename X::value_type>(value), labels.data(),
          hot.data());
  return constant_like(like, hot);
}

}  // namespace meanflow
