// SPDX-License-Identifier: MIT
/// \file
/// Residual sums with a gate, on every device: rows (groups, together) of `columns` numbers, whose
/// neighbours share a row of the gate.
#pragma once

#include <cstddef>

#include <meanflow/kernels/element.hpp>
#include <meanflow/kernels/grouped_rows.hpp>

namespace meanflow::kernels {

namespace detail {

template <class T>
struct AddGated {
  using value_type = T;
  std::size_t columns, together;
  const T *x, *gate, *a;
  T* y;
  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(std::size_t row, At at, At column) const {
    const T* of_row = gate + row / together * columns;
    at.store(y, fused(column.load(of_row), at.load(a), at.load(x)));
  }
};

template <class T>
struct AddGatedTangent {
  using value_type = T;
  std::size_t columns, together;
  const T *dx, *gate, *dgate, *a, *da;
  T* dy;
  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(std::size_t row, At at, At column) const {
    const std::size_t of_row = row / together * columns;
    auto sum = fused(column.load(gate + of_row), at.load(da), at.load(dx));
    if (dgate) sum = fused(column.load(dgate + of_row), at.load(a), sum);
    at.store(dy, sum);
  }
};

template <class T>
struct GateRows {
  using value_type = T;
  std::size_t columns, together;
  const T *gate, *g;
  T* ga;
  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(std::size_t row, At at, At column) const {
    at.store(ga, column.load(gate + row / together * columns) * at.load(g));
  }
};

/// The gradient of a group's gate, column by column.
template <class T>
struct GateGradient {
  using value_type = T;
  std::size_t columns, together;
  const T *a, *g;
  T* ggate;
  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(std::size_t group, At at, At column) const {
    const std::size_t first = group * together;
    auto sum = at.load(ggate);
    for (std::size_t r = first; r < first + together; ++r)
      sum = fused(column.load(a + r * columns), column.load(g + r * columns), sum);
    at.store(ggate, sum);
  }
};

/// The same where all rows share one gate.
template <class T>
struct GateGradientOfAll {
  using value_type = T;
  const T *a, *g;
  T* ggate;
  template <class At>
  [[nodiscard]] MEANFLOW_HOST_DEVICE auto term(At at) const {
    return at.load(a) * at.load(g);
  }
  template <class At, class V>
  MEANFLOW_HOST_DEVICE void finish(At column, const V& sum) const {
    column.store(ggate, column.load(ggate) + sum);
  }
};

}  // namespace detail

/// y = x + gate a: x, a, y (rows, columns), gate (groups, columns). The tangents of the first
/// `tangent_rows` rows follow the values of each: dy = dx + gate da + dgate a; dgate may be null.
template <class Device, class T>
void add_gated(Device device, const GroupedRows& s, std::size_t tangent_rows, const T* x,
               const T* gate, const T* dgate, const T* a, T* y) {
  for_each_in_rows(device, s.rows, s.columns,
                   detail::AddGated<T>{s.columns, s.together, x, gate, a, y});
  const std::size_t values = s.rows * s.columns;
  if (tangent_rows > 0)
    for_each_in_rows(device, tangent_rows, s.columns,
                     detail::AddGatedTangent<T>{s.columns, s.together, x + values, gate, dgate, a,
                                                a + values, y + values});
}

/// ga = gate g
template <class Device, class T>
void gate_rows(Device device, const GroupedRows& s, const T* gate, const T* g, T* ga) {
  for_each_in_rows(device, s.rows, s.columns,
                   detail::GateRows<T>{s.columns, s.together, gate, g, ga});
}

/// ggate += sum of a g over the rows of each group
template <class Device, class T>
void gate_gradient(Device device, const GroupedRows& s, const T* a, const T* g, T* ggate) {
  if (s.groups() == 1)
    reduce_columns(device, s.rows, s.columns, detail::GateGradientOfAll<T>{a, g, ggate});
  else
    for_each_in_rows(device, s.groups(), s.columns,
                     detail::GateGradient<T>{s.columns, s.together, a, g, ggate});
}

}  // namespace meanflow::kernels
