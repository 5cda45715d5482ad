// SPDX-License-Identifier: MIT
/// \file
/// The shapes of work (`kernels/element.hpp`) on the device: a thread for each element.
#pragma once

#include <cstddef>

#include <meanflow/kernels/cuda/columns.hpp>
#include <meanflow/kernels/cuda/divisor.hpp>
#include <meanflow/kernels/cuda/launch.hpp>
#include <meanflow/kernels/cuda/tag.hpp>
#include <meanflow/kernels/element.hpp>

namespace meanflow::kernels {

template <class Body>
void for_each_index(Cuda, std::size_t n, const Body& body) {
  cuda::for_each_index(n, body);
}

template <class Body>
void for_each(Cuda, std::size_t n, const Body& body) {
  cuda::for_each_index(n, [body] MEANFLOW_HOST_DEVICE(std::size_t i) { body(Element{i}); });
}

template <class Body>
void for_each_of_two(Cuda, std::size_t first, std::size_t second, const Body& body) {
  cuda::for_each_index(first + second, [body, first] MEANFLOW_HOST_DEVICE(std::size_t i) {
    if (i < first)
      body(Element{i}, FirstPart{});
    else
      body(Element{i}, SecondPart{});
  });
}

template <class Body>
void for_each_in_rows(Cuda, std::size_t rows, std::size_t columns, const Body& body) {
  const cuda::Divisor by(columns);
  cuda::for_each_index(rows * columns, [body, by] MEANFLOW_HOST_DEVICE(std::size_t i) {
    meanflow::detail::row_of(body, i / by)(Element{i}, Element{i % by});
  });
}

template <class Body>
void reduce_rows(Cuda, std::size_t rows, std::size_t columns, const Body& body) {
  using Sum = Sums<typename Body::value_type, Body::sums>;
  cuda::reduce_rows<Sum>(
      rows, columns,
      [body, columns] MEANFLOW_HOST_DEVICE(std::size_t r, std::size_t c) {
        return meanflow::detail::row_of(body, r).term(Element{r * columns + c}, Element{c});
      },
      [body] MEANFLOW_HOST_DEVICE(std::size_t r, const Sum& sum) {
        meanflow::detail::row_of(body, r).finish(sum);
      });
}

template <class Body>
void reduce_columns(Cuda, std::size_t rows, std::size_t columns, const Body& body) {
  using T = typename Body::value_type;
  cuda::reduce_columns<T>(
      1, rows, columns,
      [body, columns] MEANFLOW_HOST_DEVICE(std::size_t, std::size_t r, std::size_t c) {
        return body.term(Element{r * columns + c});
      },
      [body] MEANFLOW_HOST_DEVICE(std::size_t, std::size_t c, T sum) {
        body.finish(Element{c}, sum);
      });
}

}  // namespace meanflow::kernels
