// SPDX-License-Identifier: MIT
/// \file
/// How many bytes a body of work moves, found out on the host where it stands in for the GPU: the
/// body is called with places that count what is loaded and stored, and store nothing.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include <meanflow/kernels/cuda/context.hpp>
#include <meanflow/kernels/element.hpp>

namespace meanflow::kernels::cuda {

/// Whether the calling thread wants to know; it takes a call of the body for every row.
[[nodiscard]] inline bool& counts_traffic() {
  thread_local bool counts = false;
  return counts;
}

/// An element that counts what it is asked for.
struct CountedElement {
  std::size_t index;
  std::size_t* bytes;
  std::vector<const void*>* places = nullptr;

  template <class T>
  [[nodiscard]] T load(const T* x) const {
    count(x);
    return x[index];
  }
  template <class T>
  void store(T* y, const T& /*value*/) const {
    count(y);
  }

 private:
  template <class T>
  void count(const T* x) const {
    if (places) places->push_back(x);
    *bytes += sizeof(T);
  }
};

/// Bytes of `each` elements of which f(element) is called for one.
template <class F>
[[nodiscard]] std::size_t traffic_of_elements(std::size_t each, F f) {
  if constexpr (!on_gpu) {
    std::size_t bytes = 0;
    if (counts_traffic() && each > 0) f(CountedElement{0, &bytes});
    return bytes * each;
  }
  return 0;
}

namespace detail {

/// Of f(row, at, column) for every row. What is loaded by column is the same for all rows if it
/// lies at the same place for two that follow each other, and then moves once.
template <class F>
[[nodiscard]] std::size_t traffic_by_row(std::size_t rows, std::size_t columns, F f) {
  if (!counts_traffic() || columns == 0) return 0;
  std::size_t bytes = 0;
  std::vector<const void*> before, now;
  for (std::size_t r = 0; r < rows; ++r) {
    now.clear();
    std::size_t by_column = 0;
    const CountedElement at{r * columns, &bytes}, column{0, &by_column, &now};
    f(r, at, column);
    if (now != before) bytes += by_column;
    std::swap(now, before);
  }
  return bytes * columns;
}

}  // namespace detail

/// The same of a body of rows, and of one whose terms are added up.
template <class Body>
[[nodiscard]] std::size_t traffic_of_rows(std::size_t rows, std::size_t columns, const Body& body) {
  if constexpr (!on_gpu)
    return detail::traffic_by_row(rows, columns, [&](std::size_t r, auto at, auto column) {
      meanflow::detail::row_of(body, r)(at, column);
    });
  return 0;
}
template <class Body>
[[nodiscard]] std::size_t traffic_of_terms(std::size_t rows, std::size_t columns,
                                           const Body& body) {
  if constexpr (!on_gpu)
    return detail::traffic_by_row(rows, columns, [&](std::size_t r, auto at, auto column) {
      static_cast<void>(meanflow::detail::row_of(body, r).term(at, column));
    });
  return 0;
}

}  // namespace meanflow::kernels::cuda
