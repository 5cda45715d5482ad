// SPDX-License-Identifier: MIT
/// \file
/// The shapes of work (`kernels/element.hpp`) on the device: a thread for each element.
#pragma once

#include <cstddef>

#include <meanflow/kernels/cuda/divisor.hpp>
#include <meanflow/kernels/cuda/launch.hpp>
#include <meanflow/kernels/element.hpp>
#include <meanflow/tensor/device.hpp>

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
void for_each_in_rows(Cuda, std::size_t rows, std::size_t columns, const Body& body) {
  const cuda::Divisor by(columns);
  cuda::for_each_index(
      rows * columns, [body, by] MEANFLOW_HOST_DEVICE(std::size_t i) { body(i / by)(Element{i}); });
}

template <class Body>
void reduce_rows(Cuda, std::size_t rows, std::size_t columns, const Body& body) {
  using Sum = Sums<typename Body::value_type, Body::sums>;
  cuda::reduce_rows<Sum>(
      rows, columns,
      [body, columns] MEANFLOW_HOST_DEVICE(std::size_t r, std::size_t c) {
        return body(r).term(Element{r * columns + c});
      },
      [body] MEANFLOW_HOST_DEVICE(std::size_t r, const Sum& sum) { body(r).finish(sum); });
}

}  // namespace meanflow::kernels
