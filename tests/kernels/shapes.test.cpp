// SPDX-License-Identifier: MIT
// The shapes of work, on the processor as with plain loops.
#include <cstddef>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/kernels/element.hpp>

#include "compare.hpp"

using namespace meanflow;
using namespace meanflow::kernels;
using test::expect_same;
using test::numbers;
using test::Numbers;

namespace {

struct CountCalls {
  int* calls;
  void operator()(std::size_t i) const { ++calls[i]; }
};

/// y = a x + y
template <class T>
struct Axpy {
  using value_type = T;
  T a;
  const T* x;
  T* y;
  template <class At>
  void operator()(At at) const {
    at.store(y, fused(decltype(at.load(x))(a), at.load(x), at.load(y)));
  }
};

/// The same with a factor for each row.
template <class T>
struct RowAxpy {
  using value_type = T;
  const T *a, *x;
  T* y;
  Axpy<T> operator()(std::size_t row) const { return {a[row], x, y}; }
};

/// The sum and the sum of squares of each row, beside y = 2 x.
template <class T>
struct Moments {
  using value_type = T;
  static constexpr std::size_t sums = 2;
  const T* x;
  T *twice, *sum, *squares;
  template <class At>
  auto term(std::size_t /*row*/, At at, At /*column*/) const {
    const auto value = at.load(x);
    at.store(twice, value + value);
    return Sums<decltype(value * value), 2>{value + T(0), value * value};
  }
  void finish(std::size_t row, const Sums<T, 2>& total) const {
    sum[row] = total.of[0];
    squares[row] = total.of[1];
  }
};

constexpr std::size_t row_counts[] = {0, 1, 7, 301};
constexpr std::size_t column_counts[] = {0, 1, 3, 15, 16, 17, 300};

}  // namespace

TEST_CASE_TEMPLATE("every index once", Device, Reference, Cpu) {
  const test::Threads threads;
  for (const std::size_t n : test::sizes) {
    std::vector<int> calls(n, 0);
    for_each_index(Device{}, n, CountCalls{calls.data()});
    CHECK(calls == std::vector<int>(n, 1));
  }
}

TEST_CASE_TEMPLATE("every element, alone and in rows", T, float, double) {
  for (const std::size_t n : test::sizes) {
    const auto x = numbers<T>(n, 1), y = numbers<T>(n, 2);
    expect_same<T>(
        [&](auto device, auto& to) {
          for_each(device, n, Axpy<T>{T(0.7), x.data(), to.data()});
        },
        y, 1);
  }
  for (const std::size_t rows : row_counts)
    for (const std::size_t columns : column_counts) {
      INFO("rows = ", rows, ", columns = ", columns);
      const auto a = numbers<T>(rows, 3), x = numbers<T>(rows * columns, 1);
      expect_same<T>(
          [&](auto device, auto& to) {
            for_each_in_rows(device, rows, columns, RowAxpy<T>{a.data(), x.data(), to.data()});
          },
          numbers<T>(rows * columns, 2), 1);
    }
}

TEST_CASE_TEMPLATE("several sums of each row", T, float, double) {
  for (const std::size_t rows : row_counts)
    for (const std::size_t columns : column_counts) {
      INFO("rows = ", rows, ", columns = ", columns);
      const std::size_t n = rows * columns;
      const auto x = numbers<T>(n, 1);
      expect_same<T>(
          [&](auto device, auto& to) {
            reduce_rows(device, rows, columns,
                        Moments<T>{x.data(), to.data(), to.data() + n, to.data() + n + rows});
          },
          Numbers<T>(n + 2 * rows, T(5)), 64);
    }
}

namespace {

/// y = x, and the place in its row besides.
template <class T>
struct CopyToColumns {
  using value_type = T;
  std::size_t columns;
  const T* x;
  T* y;
  template <class At>
  void operator()(std::size_t row, At at, At column) const {
    column.store(y + row * columns, at.load(x) + T(row));
  }
};

/// y = 2 x, or 3 x beyond the first part.
template <class T>
struct TwiceOrThrice {
  using value_type = T;
  const T* x;
  T* y;
  template <class At>
  void operator()(At at, FirstPart) const {
    at.store(y, at.load(x) * T(2));
  }
  template <class At>
  void operator()(At at, SecondPart) const {
    at.store(y, at.load(x) * T(3));
  }
};

/// The sums of columns, beside x = 2 x.
template <class T>
struct ColumnSums {
  using value_type = T;
  T *x, *sum;
  template <class At>
  auto term(At at) const {
    const auto value = at.load(x);
    at.store(x, value * T(2));
    return value;
  }
  template <class At, class V>
  void finish(At column, const V& total) const {
    column.store(sum, total);
  }
};

}  // namespace

TEST_CASE_TEMPLATE("elements know their place in the matrix and in the row", T, float, double) {
  for (const std::size_t rows : row_counts)
    for (const std::size_t columns : column_counts) {
      INFO("rows = ", rows, ", columns = ", columns);
      const std::size_t n = rows * columns;
      const auto x = numbers<T>(n, 1);
      Numbers<T> expected(x);
      for (std::size_t i = 0; i < n; ++i) expected[i] += T(i / columns);
      const auto run = [&](auto device, auto& to) {
        for_each_in_rows(device, rows, columns, CopyToColumns<T>{columns, x.data(), to.data()});
        CHECK(to == expected);
      };
      expect_same<T>(run, Numbers<T>(n), 0);
    }
}

TEST_CASE_TEMPLATE("two parts, whatever their sizes", T, float, double) {
  for (const std::size_t n : test::sizes)
    for (const std::size_t first : {std::size_t{0}, n / 2, n - n / 5, n}) {
      INFO("n = ", n, ", first = ", first);
      const auto x = numbers<T>(n, 1);
      Numbers<T> expected(x);
      for (std::size_t i = 0; i < n; ++i) expected[i] *= i < first ? T(2) : T(3);
      const auto run = [&](auto device, auto& to) {
        for_each_of_two(device, first, n - first, TwiceOrThrice<T>{x.data(), to.data()});
        CHECK(to == expected);
      };
      expect_same<T>(run, Numbers<T>(n), 0);
    }
}

TEST_CASE_TEMPLATE("columns are summed, and each term is asked for once", T, float, double) {
  for (const std::size_t rows : row_counts)
    for (const std::size_t columns : column_counts) {
      INFO("rows = ", rows, ", columns = ", columns);
      const std::size_t n = rows * columns;
      auto state = numbers<T>(n, 1);
      state.resize(n + columns);
      const auto run = [&](auto device, auto& to) {
        reduce_columns(device, rows, columns, ColumnSums<T>{to.data(), to.data() + n});
        for (std::size_t i = 0; i < n; ++i) REQUIRE(to[i] == 2 * state[i]);
        for (std::size_t c = 0; c < columns; ++c) {
          T sum(0);
          for (std::size_t r = 0; r < rows; ++r) sum += state[r * columns + c];
          CHECK(to[n + c] == sum);
        }
      };
      expect_same<T>(run, state, 0);
    }
}
