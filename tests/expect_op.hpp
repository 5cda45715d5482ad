// SPDX-License-Identifier: MIT
/// \file
/// One helper that proves an operation on tensors: value, tangent and gradient, on every kind of
/// value, with any number of tangent rows, on the processor, and with plain loops or, where the
/// tests are built for it, on the CUDA device.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/autodiff/differentiable.hpp>
#include <meanflow/kernels/cpu.hpp>
#include <meanflow/kernels/reference.hpp>
#include <meanflow/random/philox.hpp>
#include <meanflow/tensor/transfer.hpp>
#ifdef MEANFLOW_TEST_CUDA
#include <meanflow/cuda.hpp>
#endif

namespace meanflow::test {

using Values = Tensor<double>;

/// Numbers of `shape`, uniform in [low, high), the same ones for the same seed.
inline Values numbers(const Shape& shape, std::uint64_t seed, double low = -1, double high = 1) {
  Values x(shape);
  fill_uniform<double>(x.span(), low, high, RandomStream(seed, Purpose::user));
  return x;
}

inline bool same_bits(const Values& x, const Values& y) {
  return x.shape() == y.shape() && std::equal(x.span().begin(), x.span().end(), y.span().begin());
}

/// Largest difference relative to the largest magnitude, but at least to 1.
inline double relative_error(const Values& found, const Values& expected) {
  if (!(found.shape() == expected.shape())) return INFINITY;
  double difference = 0, magnitude = 1;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double d = std::abs(found[i] - expected[i]);
    difference = std::isnan(d) ? INFINITY : std::max(difference, d);
    magnitude = std::max(magnitude, std::abs(expected[i]));
  }
  return difference / magnitude;
}

inline double inner_product(const Values& x, const Values& y) {
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += x[i] * y[i];
  return sum;
}

/// The value of an operation and, where they were asked for, its tangent and the gradients of
/// <g, value> by the inputs and by the flat parameters.
struct OpResult {
  Values value, tangent;
  std::vector<Values> gradients;
};

/// What an operation is given: tensors, tangents of as many rows each, and named parameters.
struct OpInputs {
  std::vector<Values> x, dx;
  std::vector<std::pair<std::string, Values>> parameters;
};

/// An operation on every kind of value, without its type.
struct Operation {
  using Forward = std::function<OpResult(const OpInputs&)>;
  using Backward = std::function<OpResult(const OpInputs&, const Values& g)>;
  Forward plain, dual, other_plain, other_dual;
  Backward var, dual_var, other_var;
};

/// What the processor is compared with.
#ifdef MEANFLOW_TEST_CUDA
using OtherDevice = Cuda;
#else
using OtherDevice = Reference;
#endif

/// A copy, which may be overwritten.
template <class Device>
Tensor<double, Device> copy_on(const Values& x) {
  return to_device<Device>(x.clone());
}

template <class Device>
Parameters<double, Device> make_parameters(const OpInputs& in) {
  Parameters<double, Device> parameters;
  for (const auto& [name, values] : in.parameters) {
    const auto parameter = parameters.add(name, values.shape());
    const auto there = to_device<Device>(values);
    copy(Device{}, values.size(), there.data(), parameter.data());
  }
  return parameters;
}

template <class X, class Device>
X make_value(const OpInputs& in, std::size_t i) {
  const auto x = copy_on<Device>(in.x[i]);
  if constexpr (detail::is_tensor<X>)
    return x;
  else
    return X(x, copy_on<Device>(in.dx[i]));
}

template <class X, class F, std::size_t... I>
OpResult run_forward(const F& f, const OpInputs& in, std::index_sequence<I...>) {
  using Device = typename X::device_type;
  const auto parameters = make_parameters<Device>(in);
  const X y = f(parameters, make_value<X, Device>(in, I)...);
  if constexpr (detail::is_tensor<X>)
    return {to_host(y), {}, {}};
  else
    return {to_host(y.primal()), to_host(y.tangent()), {}};
}

template <class X, class F, std::size_t... I>
OpResult run_backward(const F& f, const OpInputs& in, const Values& g, std::index_sequence<I...>) {
  using Device = typename X::device_type;
  const auto parameters = make_parameters<Device>(in);
  const auto flat = Tensor<double, Device>::zeros({parameters.flat_size()});
  Tape<double, Device> tape;
  tape.bind(parameters, flat);
  const std::array<Var<X>, sizeof...(I)> x{variable(tape, make_value<X, Device>(in, I))...};
  const Var<X> y = f(parameters, x[I]...);
  OpResult result;
  result.value = to_host(Tensor<double, Device>(primal(y)));
  if constexpr (!detail::is_tensor<X>) result.tangent = to_host(y.value().tangent());
  tape.backward(y.node(), copy_on<Device>(g));
  for (const Var<X>& input : x) {
    const auto gradient = tape.take_gradient(input.node());
    result.gradients.push_back(gradient.empty() ? Values::zeros(input.shape()) : to_host(gradient));
  }
  if (flat.size() > 0) result.gradients.push_back(to_host(flat));
  CHECK(tape.size() == 0);
  return result;
}

template <std::size_t N, class F>
Operation operation(const F& f) {
  constexpr std::make_index_sequence<N> all;
  using Plain = Tensor<double>;
  using Twin = DualTensor<double>;
  using OtherPlain = Tensor<double, OtherDevice>;
  using OtherTwin = DualTensor<double, OtherDevice>;
  return {
      [=](const OpInputs& in) { return run_forward<Plain>(f, in, all); },
      [=](const OpInputs& in) { return run_forward<Twin>(f, in, all); },
      [=](const OpInputs& in) { return run_forward<OtherPlain>(f, in, all); },
      [=](const OpInputs& in) { return run_forward<OtherTwin>(f, in, all); },
      [=](const OpInputs& in, const Values& g) { return run_backward<Plain>(f, in, g, all); },
      [=](const OpInputs& in, const Values& g) { return run_backward<Twin>(f, in, g, all); },
      [=](const OpInputs& in, const Values& g) { return run_backward<OtherPlain>(f, in, g, all); },
  };
}

/// The relative errors allowed against differences, and of one device against another.
struct OpTolerance {
  double difference = 1e-8;
  double device = 1e-12;
};

/// (f(-2h) - 8 f(-h) + 8 f(h) - f(2h)) / 12 h
template <class F>
double central_difference(F f, double h = 1e-3) {
  return (f(-2 * h) - 8 * f(-h) + 8 * f(h) - f(2 * h)) / (12 * h);
}

// The gradient of <g, f> by every element of `x`, which `in` refers to.
inline Values gradient_by_differences(const Operation& op, const OpInputs& in, Values x,
                                      const Values& g) {
  Values gradient(x.shape());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double saved = x[i];
    gradient[i] = central_difference([&](double h) {
      x[i] = saved + h;
      return inner_product(op.plain(in).value, g);
    });
    x[i] = saved;
  }
  return gradient;
}

inline Values tangent_by_differences(const Operation& op, const OpInputs& in) {
  const auto at = [&](double h) {
    OpInputs moved = in;
    for (std::size_t k = 0; k < in.x.size(); ++k) {
      moved.x[k] = in.x[k].clone();
      for (std::size_t i = 0; i < in.dx[k].size(); ++i) moved.x[k][i] += h * in.dx[k][i];
    }
    return op.plain(moved).value;
  };
  const double h = 1e-3;
  const Values a = at(-2 * h), b = at(-h), c = at(h), d = at(2 * h);
  Values tangent(a.shape());
  for (std::size_t i = 0; i < a.size(); ++i)
    tangent[i] = (a[i] - 8 * b[i] + 8 * c[i] - d[i]) / (12 * h);
  return tangent;
}

inline void expect_operation(const Operation& op, const OpInputs& inputs,
                             const OpTolerance& tolerance) {
  OpInputs in = inputs;
  const std::size_t batch = in.x.front().rows();
  for (std::size_t k = 0; k < in.x.size(); ++k) in.dx.push_back(numbers(in.x[k].shape(), 100 + k));

  const Values value = op.plain(in).value;
  CHECK(relative_error(op.other_plain(in).value, value) <= tolerance.device);

  const Values g = numbers(value.shape(), 99);
  const OpResult back = op.var(in, g);
  CHECK(same_bits(back.value, value));
  const OpResult other_back = op.other_var(in, g);
  for (std::size_t k = 0; k < back.gradients.size(); ++k)
    CHECK(relative_error(other_back.gradients[k], back.gradients[k]) <= tolerance.device);
  for (std::size_t k = 0; k < in.x.size(); ++k) {
    INFO("gradient of input ", k);
    CHECK(relative_error(back.gradients[k], gradient_by_differences(op, in, in.x[k], g)) <=
          tolerance.difference);
  }
  std::size_t offset = 0;
  for (const auto& entry : in.parameters) {
    INFO("gradient of parameter ", entry.first);
    const Values& parameter = entry.second;
    Values flat = back.gradients.back();
    const Values found = Values::borrow(flat.data() + offset, parameter.shape());
    CHECK(relative_error(found, gradient_by_differences(op, in, parameter, g)) <=
          tolerance.difference);
    offset += (parameter.size() + 15) / 16 * 16;
  }

  const Values full = op.dual(in).tangent;  // (B, ...)
  REQUIRE(full.shape() == value.shape());
  CHECK(relative_error(full, tangent_by_differences(op, in)) <= tolerance.difference);

  // <g, J dx> = <J^T g, dx>
  const double forward = inner_product(g, full);
  double backward = 0;
  for (std::size_t k = 0; k < in.x.size(); ++k)
    backward += inner_product(back.gradients[k], in.dx[k]);
  CHECK(std::abs(forward - backward) <= 1e-12 * static_cast<double>(1 + full.size()));

  for (const std::size_t rows : {std::size_t{0}, batch / 2, batch}) {
    INFO("tangent rows ", rows);
    OpInputs part = in;
    for (auto& dx : part.dx) dx = dx.rows(0, rows).clone();
    const OpResult dual = op.dual(part), dual_back = op.dual_var(part, g);
    CHECK(same_bits(dual.value, value));
    REQUIRE(dual.tangent.shape() == value.shape().with_rows(rows));
    CHECK(relative_error(dual.tangent, full.rows(0, rows)) <= 1e-14);
    CHECK(relative_error(op.other_dual(part).tangent, dual.tangent) <= tolerance.device);
    CHECK(relative_error(op.other_dual(part).value, value) <= tolerance.device);
    CHECK(same_bits(dual_back.value, dual.value));
    CHECK(same_bits(dual_back.tangent, dual.tangent));
    for (std::size_t k = 0; k < back.gradients.size(); ++k)
      CHECK(same_bits(dual_back.gradients[k], back.gradients[k]));
  }
}

/// Proves f(parameters, x...), a function over every kind of value and every device.
template <std::size_t N, class F>
void expect_op(const F& f, const std::array<Values, N>& x,
               std::vector<std::pair<std::string, Values>> parameters = {},
               const OpTolerance& tolerance = {}) {
  expect_operation(operation<N>(f), {{x.begin(), x.end()}, {}, std::move(parameters)}, tolerance);
}

/// The message of the exception that f throws; empty if it throws none.
template <class Exception, class F>
std::string message_of(F f) {
  try {
    f();
  } catch (const Exception& exception) {
    return exception.what();
  }
  return {};
}

}  // namespace meanflow::test
