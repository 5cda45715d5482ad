// SPDX-License-Identifier: MIT
/// \file
/// Checks for operations, nets and losses of your own: forward mode against differences, reverse
/// mode against forward mode, parameter gradients against differences. Use them with double.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include <meanflow/autodiff/differentiable.hpp>
#include <meanflow/autodiff/jvp.hpp>
#include <meanflow/autodiff/tape.hpp>

namespace meanflow {

/// Where a derivative deviates most from its finite difference.
struct JvpCheck {
  double error = 0;       ///< |jvp - difference|, relative to the largest |difference|
  std::size_t index = 0;  ///< the element of f(x)
  double jvp = 0, difference = 0;
};

/// The two sides of <g, J dx> = <J^T g, dx>.
struct AdjointCheck {
  double error = 0;  ///< |forward - backward|, relative to the sum of the products' sizes
  double forward = 0, backward = 0;
};

/// Where the gradient of a parameter deviates most from finite differences.
struct GradientCheck {
  double error = 0;       ///< |gradient - difference|, relative to the parameter's largest
  std::string parameter;  ///< its name
  std::size_t index = 0;  ///< the element within it
  double gradient = 0, difference = 0;
};

namespace detail {

/// f'(0) = (f(-2h) - 8 f(-h) + 8 f(h) - f(2h)) / 12 h + O(h^4), through add(term, coefficient).
template <class F, class Add>
void central_differences(double h, F f, Add add) {
  const std::array<std::pair<double, double>, 4> terms{{{-2, 1}, {-1, -8}, {1, 8}, {2, -1}}};
  for (const auto& [place, factor] : terms) add(f(place * h), factor / (12 * h));
}

/// x + scale dx; dx may have fewer rows.
template <class T, class Device>
[[nodiscard]] Tensor<T, Device> moved(const Tensor<T, Device>& x, const Tensor<T, Device>& dx,
                                      double scale) {
  Tensor<T, Device> y = x.clone();
  for (std::size_t i = 0; i < dx.size(); ++i) y[i] += static_cast<T>(scale) * dx[i];
  return y;
}

[[nodiscard]] inline double relative(double error, double magnitude) {
  return magnitude > 0 ? error / magnitude : error;
}

/// |a - b|, but infinite where it is NaN.
[[nodiscard]] inline double distance(double a, double b) {
  const double difference = std::abs(a - b);
  return std::isnan(difference) ? INFINITY : difference;
}

struct InnerProduct {
  double sum = 0, size = 0;

  template <class T, class Device>
  void add(const Tensor<T, Device>& x, const Tensor<T, Device>& y) {
    for (std::size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
      const double product = static_cast<double>(x[i]) * static_cast<double>(y[i]);
      sum += product;
      size += std::abs(product);
    }
  }
};

}  // namespace detail

/// Compares `jvp(f, x, dx)` with central differences of f along dx, at a distance `h`. f takes
/// tensors x... and returns one; it is called with `Tensor` and with `DualTensor`.
template <class F, class... T, class... Device>
[[nodiscard]] JvpCheck check_jvp(F&& f, const std::tuple<Tensor<T, Device>...>& x,
                                 const std::type_identity_t<std::tuple<Tensor<T, Device>...>>& dx,
                                 double h = 1e-3) {
  const auto [value, tangent] = jvp(f, x, dx);
  auto differences = std::remove_cvref_t<decltype(value)>::zeros(value.shape());
  const auto at = [&]<std::size_t... I>(double place, std::index_sequence<I...>) {
    return f(detail::moved(std::get<I>(x), std::get<I>(dx), place)...);
  };
  detail::central_differences(
      h, [&](double place) { return at(place, std::index_sequence_for<T...>{}); },
      [&](const auto& y, double factor) { differences = detail::moved(differences, y, factor); });
  JvpCheck result;
  double worst = -1, magnitude = 0;
  for (std::size_t i = 0; i < tangent.size(); ++i) {
    const auto found = static_cast<double>(tangent[i]);
    const auto expected = static_cast<double>(differences[i]);
    magnitude = std::max(magnitude, std::abs(expected));
    if (!(detail::distance(found, expected) > worst)) continue;
    worst = detail::distance(found, expected);
    result = {worst, i, found, expected};
  }
  result.error = detail::relative(result.error, magnitude);
  return result;
}

template <class F, class T, class Device>
[[nodiscard]] JvpCheck check_jvp(F&& f, const Tensor<T, Device>& x,
                                 const std::type_identity_t<Tensor<T, Device>>& dx,
                                 double h = 1e-3) {
  return check_jvp(f, std::tuple(x), std::tuple(dx), h);
}

/// Compares <g, J dx>, by `jvp`, with <J^T g, dx>, by a tape, for tensors x... and a g of the shape
/// of f(x...). f is called with `DualTensor` and with `Var<Tensor>`.
template <class F, class T, class Device, class... Rest>
[[nodiscard]] AdjointCheck check_adjoint(
    F&& f, const std::tuple<Tensor<T, Device>, Rest...>& x,
    const std::type_identity_t<std::tuple<Tensor<T, Device>, Rest...>>& dx,
    const std::type_identity_t<Tensor<T, Device>>& g) {
  const auto [value, tangent] = jvp(f, x, dx);
  if (!(g.shape() == value.shape()))
    throw_shape_error("check_adjoint", g.shape(), value.shape(), "g must have the shape of f(x)");
  detail::InnerProduct forward, backward;
  forward.add(g, tangent);
  std::apply(
      [&](const auto&... inputs) {
        Tape<T, Device> tape;
        const std::array variables{variable(tape, inputs)...};
        const auto y = std::apply([&](const auto&... v) { return f(v...); }, variables);
        tape.backward(y.node(), g.clone());
        std::size_t i = 0;
        std::apply(
            [&](const auto&... directions) {
              (backward.add(tape.take_gradient(variables[i++].node()), directions), ...);
            },
            dx);
      },
      x);
  return {detail::relative(detail::distance(forward.sum, backward.sum),
                           std::max(forward.size, backward.size)),
          forward.sum, backward.sum};
}

template <class F, class T, class Device>
[[nodiscard]] AdjointCheck check_adjoint(F&& f, const Tensor<T, Device>& x,
                                         const std::type_identity_t<Tensor<T, Device>>& dx,
                                         const std::type_identity_t<Tensor<T, Device>>& g) {
  return check_adjoint(f, std::tuple(x), std::tuple(dx), g);
}

/// Compares the gradient of a loss by `parameters` with central differences. `loss(tape)` gives a
/// `Var` over tensors of that tape, whose elements are summed; it must give the same when called
/// again, and have no stop-gradient. Of each parameter at most `limit` elements, evenly spread, are
/// checked. The parameters are perturbed by multiples of `h` and restored.
template <class Loss, class T, class Device>
[[nodiscard]] GradientCheck check_gradient(Loss&& loss, const Parameters<T, Device>& parameters,
                                           std::size_t limit = 64, double h = 1e-3) {
  const auto gradient = Tensor<T, Device>::zeros({parameters.flat_size()});
  {
    Tape<T, Device> tape;
    tape.bind(parameters, gradient);
    const auto y = loss(tape);
    tape.backward(y.node(), Tensor<T, Device>::full(y.shape(), T(1)));
  }
  const auto total = [&] {
    Tape<T, Device> tape;
    double sum = 0;
    for (T part : primal(loss(tape)).span()) sum += static_cast<double>(part);
    return sum;
  };
  GradientCheck result;
  for (std::size_t p = 0; p < parameters.entries().size(); ++p) {
    const Parameter<T, Device> parameter = parameters[p];
    const std::size_t size = parameter.size(), count = std::min(size, limit);
    GradientCheck worst{-1, parameter.name(), 0, 0, 0};
    double magnitude = 0;
    for (std::size_t k = 0; k < count; ++k) {
      const std::size_t i = k * size / count;
      T& value = parameter.data()[i];
      const T saved = value;
      double difference = 0;
      detail::central_differences(
          h,
          [&](double place) {
            value = saved + static_cast<T>(place);
            return total();
          },
          [&](double sum, double factor) { difference += factor * sum; });
      value = saved;
      const auto found = static_cast<double>(gradient[parameter.offset() + i]);
      magnitude = std::max(magnitude, std::abs(difference));
      const double error = detail::distance(found, difference);
      if (error > worst.error) worst = {error, parameter.name(), i, found, difference};
    }
    worst.error = detail::relative(worst.error, magnitude);
    if (count > 0 && (result.parameter.empty() || worst.error > result.error))
      result = std::move(worst);
  }
  return result;
}

}  // namespace meanflow
