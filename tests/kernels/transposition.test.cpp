// SPDX-License-Identifier: MIT
#include <cstddef>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/kernels/cpu/transposition.hpp>

using meanflow::kernels::detail::transpose;

namespace {

/// Numbers of a matrix whose rows lie apart by more than they hold.
template <class T>
struct Matrix {
  std::size_t rows, columns, row;
  std::vector<T> numbers;

  Matrix(std::size_t rows, std::size_t columns, T first)
      : rows(rows), columns(columns), row(columns + 3), numbers(rows * row) {
    for (T& number : numbers) number = first++;
  }
  [[nodiscard]] T& operator()(std::size_t i, std::size_t j) { return numbers[i * row + j]; }
};

template <bool add, class T>
void check_transpose(std::size_t rows, std::size_t columns) {
  Matrix<T> from(rows, columns, T(1)), to(columns, rows, T(-7000));
  Matrix<T> expected = to;
  for (std::size_t i = 0; i < rows; ++i)
    for (std::size_t j = 0; j < columns; ++j)
      expected(j, i) = (add ? expected(j, i) : T(0)) + from(i, j);
  transpose<add>(rows, columns, from.numbers.data(), from.row, to.numbers.data(), to.row);
  CHECK(to.numbers == expected.numbers);  // what lies between the rows too
}

}  // namespace

TEST_CASE_TEMPLATE("a transpose has every number in its place, and touches nothing else", T, float,
                   double) {
  for (const std::size_t rows : {1, 2, 7, 8, 15, 16, 17, 33, 48})
    for (const std::size_t columns : {1, 3, 8, 9, 16, 31, 32, 72}) {
      CAPTURE(rows);
      CAPTURE(columns);
      check_transpose<false, T>(rows, columns);
      check_transpose<true, T>(rows, columns);
    }
}
