// SPDX-License-Identifier: MIT
/// \file
/// Kernels of rows on every device: sums, and rows of tables.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

#include <meanflow/kernels/element.hpp>

namespace meanflow::kernels {

namespace detail {

[[nodiscard]] MEANFLOW_HOST_DEVICE constexpr bool is_label(std::int32_t label,
                                                           std::size_t classes) {
  return label >= 0 && static_cast<std::size_t>(label) < classes;
}

template <class T>
struct SumRows {
  using value_type = T;
  static constexpr std::size_t sums = 1;
  T scale;
  const T* x;
  T* y;
  template <class At>
  [[nodiscard]] MEANFLOW_HOST_DEVICE auto term(std::size_t /*row*/, At at, At /*column*/) const {
    return Sums<decltype(at.load(x)), 1>{at.load(x)};
  }
  MEANFLOW_HOST_DEVICE void finish(std::size_t row, const Sums<T, 1>& sum) const {
    y[row] = scale * sum.of[0];
  }
};

template <class T>
struct AddToRows {
  using value_type = T;
  T scale;
  const T* g;
  T* gx;
  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(std::size_t row, At at, At /*column*/) const {
    at.store(gx, at.load(gx) + scale * g[row]);
  }
};

template <class T>
struct AddToEachRow {
  using value_type = T;
  const T *table, *x;
  T* y;
  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(std::size_t /*row*/, At at, At column) const {
    at.store(y, at.load(x) + column.load(table));
  }
};

template <class T>
struct GatherRows {
  using value_type = T;
  std::size_t columns, classes;
  const T* table;
  const std::int32_t* labels;
  T* y;
  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(std::size_t row, At at, At column) const {
    using V = decltype(at.load(y));
    const std::int32_t label = labels[row];
    if (is_label(label, classes))
      at.store(y, column.load(table + static_cast<std::size_t>(label) * columns));
    else
      at.store(y, V(std::numeric_limits<T>::quiet_NaN()));
  }
};

/// Column by column, so that rows of one label are added in their order.
template <class T>
struct ScatterAddRows {
  using value_type = T;
  std::size_t rows, columns, classes;
  const T* x;
  const std::int32_t* labels;
  T* table;

  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(At column) const {
    for (std::size_t row = 0; row < rows; ++row) {
      if (!is_label(labels[row], classes)) continue;
      T* const to = table + static_cast<std::size_t>(labels[row]) * columns;
      column.store(to, column.load(to) + column.load(x + row * columns));
    }
  }
};

template <class T>
struct OneHot {
  std::size_t classes;
  T scale;
  const std::int32_t* labels;
  T* y;

  MEANFLOW_HOST_DEVICE void operator()(std::size_t i) const {
    const std::int32_t label = labels[i / classes];
    const bool here = static_cast<std::size_t>(label) == i % classes;
    y[i] = is_label(label, classes + 1) ? here ? scale : T(0) : std::numeric_limits<T>::quiet_NaN();
  }
};

}  // namespace detail

/// y[r] = scale * sum over the columns of x[r]
template <class Device, class T>
void sum_rows(Device device, std::size_t rows, std::size_t columns, T scale, const T* x, T* y) {
  reduce_rows(device, rows, columns, detail::SumRows<T>{scale, x, y});
}

/// gx[r, c] += scale * g[r]
template <class Device, class T>
void add_to_rows(Device device, std::size_t rows, std::size_t columns, T scale, const T* g, T* gx) {
  for_each_in_rows(device, rows, columns, detail::AddToRows<T>{scale, g, gx});
}

/// y[r] = x[r] + table
template <class Device, class T>
void add_to_each_row(Device device, std::size_t rows, std::size_t columns, const T* table,
                     const T* x, T* y) {
  for_each_in_rows(device, rows, columns, detail::AddToEachRow<T>{table, x, y});
}

/// y[r] = table[labels[r]]; NaN for a label outside [0, classes), the table's rows.
template <class Device, class T>
void gather_rows(Device device, std::size_t rows, std::size_t columns, std::size_t classes,
                 const T* table, const std::int32_t* labels, T* y) {
  for_each_in_rows(device, rows, columns,
                   detail::GatherRows<T>{columns, classes, table, labels, y});
}

/// table[labels[r]] += x[r]; nothing for a label outside [0, classes).
template <class Device, class T>
void scatter_add_rows(Device device, std::size_t rows, std::size_t columns, std::size_t classes,
                      const T* x, const std::int32_t* labels, T* table) {
  for_each(device, columns, detail::ScatterAddRows<T>{rows, columns, classes, x, labels, table});
}

/// y (rows, classes): `scale` at the label of a row and zero elsewhere. A label of `classes` is
/// none, all zeros; any other outside [0, classes) makes the row NaN.
template <class Device, class T>
void one_hot(Device device, std::size_t rows, std::size_t classes, T scale,
             const std::int32_t* labels, T* y) {
  for_each_index(device, rows * classes, detail::OneHot<T>{classes, scale, labels, y});
}

}  // namespace meanflow::kernels
