// SPDX-License-Identifier: MIT
/// \file
/// The shapes of work (`kernels/element.hpp`) as plain loops.
#pragma once

#include <cstddef>

#include <meanflow/kernels/element.hpp>
#include <meanflow/tensor/device.hpp>

namespace meanflow::kernels {

template <class Body>
void for_each_index(Reference, std::size_t n, const Body& body) {
  for (std::size_t i = 0; i < n; ++i) body(i);
}

template <class Body>
void for_each(Reference, std::size_t n, const Body& body) {
  for (std::size_t i = 0; i < n; ++i) body(Element{i});
}

template <class Body>
void for_each_of_two(Reference, std::size_t first, std::size_t second, const Body& body) {
  for (std::size_t i = 0; i < first; ++i) body(Element{i}, FirstPart{});
  for (std::size_t i = first; i < first + second; ++i) body(Element{i}, SecondPart{});
}

template <class Body>
void for_each_in_rows(Reference, std::size_t rows, std::size_t columns, const Body& body) {
  for (std::size_t r = 0; r < rows; ++r) {
    const auto row = meanflow::detail::row_of(body, r);
    for (std::size_t c = 0; c < columns; ++c) row(Element{r * columns + c}, Element{c});
  }
}

template <class Body>
void reduce_rows(Reference, std::size_t rows, std::size_t columns, const Body& body) {
  for (std::size_t r = 0; r < rows; ++r) {
    const auto row = meanflow::detail::row_of(body, r);
    Sums<typename Body::value_type, Body::sums> sum{};
    for (std::size_t c = 0; c < columns; ++c)
      sum = sum + row.term(Element{r * columns + c}, Element{c});
    row.finish(sum);
  }
}

template <class Body>
void reduce_columns(Reference, std::size_t rows, std::size_t columns, const Body& body) {
  for (std::size_t c = 0; c < columns; ++c) {
    typename Body::value_type sum{};
    for (std::size_t r = 0; r < rows; ++r) sum = sum + body.term(Element{r * columns + c});
    body.finish(Element{c}, sum);
  }
}

}  // namespace meanflow::kernels
