// SPDX-License-Identifier: MIT
/// \file
/// The shapes of work (`kernels/element.hpp`) on the device. A thread takes four neighbouring
/// elements at a time (`lanes.hpp`), or single ones where rows do not divide into fours.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <meanflow/kernels/cuda/columns.hpp>
#include <meanflow/kernels/cuda/divisor.hpp>
#include <meanflow/kernels/cuda/lanes.hpp>
#include <meanflow/kernels/cuda/launch.hpp>
#include <meanflow/kernels/cuda/tag.hpp>
#include <meanflow/kernels/cuda/traffic.hpp>
#include <meanflow/kernels/element.hpp>

namespace meanflow::kernels {

namespace cuda {

/// f(at) for the elements [begin, end) of a thread, at most four: together where they are four.
template <class F>
MEANFLOW_HOST_DEVICE void for_each_of_four(std::size_t begin, std::size_t end, const F& f) {
  if (begin + lanes <= end) return f(Four{begin});
#ifdef __CUDA_ARCH__
#pragma unroll 1
#endif
  for (std::size_t i = begin; i < end; ++i) f(Element{i});
}

}  // namespace cuda

template <class Body>
void for_each_index(Cuda, std::size_t n, const Body& body) {
  cuda::for_each_index(n, body);
}

template <class Body>
void for_each(Cuda, std::size_t n, const Body& body) {
  cuda::for_each_launch(cuda::fours(n), 1, [&](std::size_t first, std::size_t count) {
    const std::size_t begin = cuda::lanes * first;
    const std::size_t elements = std::min(cuda::lanes * count, n - begin);
    cuda::for_each_item(
        count, elements, cuda::traffic_of_elements(elements, [&](auto at) { body(at); }),
        [body, begin, n] MEANFLOW_HOST_DEVICE(std::uint32_t i) {
          cuda::for_each_of_four(begin + cuda::lanes * i, n, [&](auto at) { body(at); });
        });
  });
}

template <class Body>
void for_each_of_two(Cuda, std::size_t first, std::size_t second, const Body& body) {
  // The second part begins with a four of its own, so that all of it stays together.
  const std::size_t n = first + second, of_first = cuda::fours(first);
  const std::size_t bytes =
      cuda::traffic_of_elements(first, [&](auto at) { body(at, FirstPart{}); }) +
      cuda::traffic_of_elements(second, [&](auto at) { body(at, SecondPart{}); });
  cuda::for_each_launch(
      of_first + cuda::fours(second), 1, [&](std::size_t from, std::size_t count) {
        cuda::for_each_item(count, std::min(cuda::lanes * count, n), from == 0 ? bytes : 0,
                            [body, from, of_first, first, n] MEANFLOW_HOST_DEVICE(std::uint32_t i) {
                              const std::size_t four = from + i;
                              if (four < of_first)
                                cuda::for_each_of_four(cuda::lanes * four, first,
                                                       [&](auto at) { body(at, FirstPart{}); });
                              else
                                cuda::for_each_of_four(first + cuda::lanes * (four - of_first), n,
                                                       [&](auto at) { body(at, SecondPart{}); });
                            });
      });
}

template <class Body>
void for_each_in_rows(Cuda, std::size_t rows, std::size_t columns, const Body& body) {
  const bool together = columns % cuda::lanes == 0;
  const std::size_t each = together ? columns / cuda::lanes : columns;
  const cuda::Divisor by(each);
  cuda::for_each_launch(each == 0 ? 0 : rows, each, [&](std::size_t first, std::size_t count) {
    cuda::for_each_item(count * each, count * columns, cuda::traffic_of_rows(count, columns, body),
                        [body, by, columns, first, together] MEANFLOW_HOST_DEVICE(std::uint32_t i) {
                          const std::uint32_t r = i / by, column = i % by;
                          const std::size_t begin = first * columns;
                          const auto row = meanflow::detail::row_of(body, first + r);
                          if (together)
                            row(cuda::Four{begin + std::size_t{cuda::lanes} * i},
                                cuda::Four{std::size_t{cuda::lanes} * column});
                          else
                            row(Element{begin + i}, Element{column});
                        });
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
      },
      cuda::traffic_of_terms(rows, columns, body));
}

template <class Body>
void reduce_columns(Cuda, std::size_t rows, std::size_t columns, const Body& body) {
  using T = typename Body::value_type;
  const std::size_t bytes =
      cuda::traffic_of_elements(rows * columns, [&](auto at) { static_cast<void>(body.term(at)); });
  if (columns % cuda::lanes == 0)
    cuda::reduce_columns<cuda::Lanes<T, cuda::lanes>>(
        1, rows, columns / cuda::lanes,
        [body, columns] MEANFLOW_HOST_DEVICE(std::size_t, std::size_t r, std::size_t c) {
          return body.term(cuda::Four{r * columns + cuda::lanes * c});
        },
        [body] MEANFLOW_HOST_DEVICE(std::size_t, std::size_t c,
                                    const cuda::Lanes<T, cuda::lanes>& sum) {
          body.finish(cuda::Four{cuda::lanes * c}, sum);
        },
        rows * columns, bytes);
  else
    cuda::reduce_columns<T>(
        1, rows, columns,
        [body, columns] MEANFLOW_HOST_DEVICE(std::size_t, std::size_t r, std::size_t c) {
          return body.term(Element{r * columns + c});
        },
        [body] MEANFLOW_HOST_DEVICE(std::size_t, std::size_t c, T sum) {
          body.finish(Element{c}, sum);
        },
        rows * columns, bytes);
}

template <class T>
void add_column_sums(Cuda, std::size_t rows, std::size_t columns, T* x, std::type_identity_t<T>* y0,
                     std::type_identity_t<T>* y1) {
  cuda::reduce_columns<T>(
      2, rows, columns,
      [=] MEANFLOW_HOST_DEVICE(std::size_t m, std::size_t r, std::size_t c) {
        return x[(m * rows + r) * columns + c];
      },
      [=] MEANFLOW_HOST_DEVICE(std::size_t m, std::size_t c, T sum) {
        T* const y = m == 0 ? y0 : y1;
        if (y) y[c] += sum;
      },
      0, 2 * rows * columns * sizeof(T));
}

}  // namespace meanflow::kernels
