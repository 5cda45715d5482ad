// SPDX-License-Identifier: MIT
// The shapes of work that the device's kernels are made of.
#include <cstddef>
#include <cstdint>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/cuda.hpp>

using namespace meanflow;
using kernels::cuda::Divisor;

TEST_CASE("division by a divisor is division") {
  RandomStream stream(1, Purpose::user);
  const std::size_t large = std::size_t{1} << 31;
  for (const std::size_t d : {std::size_t{1}, std::size_t{2}, std::size_t{3}, std::size_t{7},
                              std::size_t{32}, std::size_t{255}, std::size_t{256}, large - 1, large,
                              large + 1, std::size_t{stream.bits() >> 1 | 1}}) {
    const Divisor by(d);
    const auto expect_division_of = [&](std::size_t i) {
      INFO(i, " by ", d);
      REQUIRE(i / by == i / d);
      REQUIRE(i % by == i % d);
    };
    for (const std::size_t i : {std::size_t{0}, std::size_t{1}, d - 1, d, d + 1, 3 * d - 1, 3 * d,
                                large - 1, large, large * large - 1})
      expect_division_of(i);
    for (int k = 0; k < 1000; ++k) {
      expect_division_of(stream.bits() >> 1);
      expect_division_of(stream.bits64());
    }
  }
}

static_assert(kernels::Device<Cuda> && kernels::Device<Reference> && kernels::Device<Cpu>);

namespace {

struct Derived : Cuda {
  static constexpr const char* name = "derived";
};
static_assert(kernels::Device<Derived> && !on_host<Derived>);

/// y = 2 x, or 3 x beyond the first part.
struct TwiceOrThrice {
  using value_type = double;
  const double* x;
  double* y;
  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(At at, FirstPart) const {
    at.store(y, 2 * at.load(x));
  }
  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(At at, SecondPart) const {
    at.store(y, 3 * at.load(x));
  }
};

/// The sums of columns, beside x = 2 x.
struct ColumnSums {
  using value_type = double;
  double *x, *sums;
  template <class At>
  [[nodiscard]] MEANFLOW_HOST_DEVICE auto term(At at) const {
    const auto value = at.load(x);
    at.store(x, 2 * value);
    return value;
  }
  template <class At, class V>
  MEANFLOW_HOST_DEVICE void finish(At column, const V& sum) const {
    column.store(sums, sum);
  }
};

}  // namespace

TEST_CASE("bodies over two parts and over columns") {
  for (const std::size_t columns : {5, 8})  // singly, and by fours
    for (const std::size_t first : {0, 12, 13}) {
      const std::size_t rows = 70, n = rows * columns;
      const Tensor<double> x = normal_noise<double>({n}, 1);
      Tensor<double, Cuda> values = to_device<Cuda>(x.clone()), y({n}), sums({columns});
      for_each_of_two(Cuda{}, first, n - first, TwiceOrThrice{values.data(), y.data()});
      reduce_columns(Cuda{}, rows, columns, ColumnSums{values.data(), sums.data()});
      const Tensor<double> found = to_host(y), doubled = to_host(values), total = to_host(sums);
      std::vector<double> expected(columns);
      for (std::size_t i = 0; i < n; ++i) {
        CHECK(found[i] == x[i] * (i < first ? 2 : 3));
        CHECK(doubled[i] == 2 * x[i]);
        expected[i % columns] += x[i];
      }
      for (std::size_t c = 0; c < columns; ++c) CHECK(total[c] == doctest::Approx(expected[c]));
    }
}

namespace {

/// y = row + 10 column + 100 x
struct Places {
  using value_type = double;
  const double *x, *tens;
  double* y;
  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(std::size_t row, At at, At column) const {
    at.store(y, static_cast<double>(row) + column.load(tens) + 100.0 * at.load(x));
  }
};

}  // namespace

TEST_CASE("a body of rows is told its row and its column") {
  for (const std::size_t columns : {1, 3, 4, 12}) {
    const std::size_t rows = 7;
    const Tensor<double> x = normal_noise<double>({rows, columns}, 1);
    Tensor<double> tens({columns});
    for (std::size_t c = 0; c < columns; ++c) tens[c] = 10 * static_cast<double>(c);
    const auto given = to_device<Cuda>(x), by_column = to_device<Cuda>(tens);
    Tensor<double, Cuda> y({rows, columns});
    for_each_in_rows(Cuda{}, rows, columns, Places{given.data(), by_column.data(), y.data()});
    const Tensor<double> found = to_host(y);
    for (std::size_t i = 0; i < rows * columns; ++i)
      CHECK(found[i] ==
            doctest::Approx(static_cast<double>(i / columns) + tens[i % columns] + 100 * x[i])
                .epsilon(1e-14));
  }
}

TEST_CASE("work of more items than a launch may have is cut where it may be") {
  std::size_t next = 0;
  const std::size_t each = std::size_t{1} << 20, n = 5000;
  kernels::cuda::for_each_launch(n, each, [&](std::size_t first, std::size_t count) {
    CHECK(first == next);
    CHECK(count * each <= kernels::cuda::most_items);
    next += count;
  });
  CHECK(next == n);
}

TEST_CASE("columns are summed whatever their length, and each term is asked for once") {
  for (const std::size_t matrices : {0, 1, 3})
    for (const std::size_t rows : {0, 1, 31, 64, 1000})
      for (const std::size_t columns : {0, 1, 5, 300}) {
        INFO(matrices, " matrices of ", rows, " x ", columns);
        const std::size_t size = matrices * rows * columns;
        Tensor<double> terms({size + 1});
        std::vector<double> expected(matrices * columns);
        for (std::size_t i = 0; i < size; ++i) {
          terms[i] = static_cast<double>(i * 7 % 11);
          expected[i / (rows * columns) * columns + i % columns] += terms[i];
        }
        auto x = to_device<Cuda>(terms);
        auto sums = Tensor<double, Cuda>::full({matrices * columns + 1}, -1);
        double *const from = x.data(), *const to = sums.data();
        kernels::cuda::reduce_columns<double>(
            matrices, rows, columns,
            [=] MEANFLOW_HOST_DEVICE(std::size_t m, std::size_t r, std::size_t c) {
              double& value = from[(m * rows + r) * columns + c];
              const double term = value;
              value = 1000;  // what a second call would find
              return term;
            },
            [=] MEANFLOW_HOST_DEVICE(std::size_t m, std::size_t c, double sum) {
              to[m * columns + c] = sum;
            });
        const auto found = to_host(sums);
        for (std::size_t k = 0; k < expected.size(); ++k) CHECK(found[k] == expected[k]);
        CHECK(found[expected.size()] == -1);
      }
}
