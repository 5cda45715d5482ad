// SPDX-License-Identifier: MIT
#include <array>
#include <cmath>
#include <tuple>

#include <doctest/doctest.h>

#include <meanflow/autodiff/jvp.hpp>
#include <meanflow/scalar/math.hpp>

using namespace meanflow;

// A kind of value of a user: pairs.
template <class T>
struct Pair {
  T x, y;
};

template <class T>
struct meanflow::dual_traits<Pair<T>> {
  static constexpr int depth = dual_depth<T>;
  using dual_type = Pair<Dual<T>>;

  static dual_type join(const Pair<T>& p, const Pair<T>& dp) { return {{p.x, dp.x}, {p.y, dp.y}}; }
  static Pair<T> zero(const Pair<T>&) { return {T(0), T(0)}; }
  static auto split(const Pair<T>& p)
    requires is_dual<T>
  {
    using Plain = Pair<typename T::value_type>;
    return std::pair<Plain, Plain>({p.x.primal, p.y.primal}, {p.x.tangent, p.y.tangent});
  }
};

static_assert(DualKind<float> && DualKind<Dual<double>> && DualKind<Pair<double>>);
static_assert(DualKind<Tensor<float>> && !DualKind<DualTensor<float>>);
static_assert(!DualKind<int> && !DualKind<const char*>);

namespace {

constexpr auto cube = [](const auto& x) { return x * x * x; };

auto derivative(auto f, auto x) { return jvp(f, x, decltype(x)(1)).tangent; }

}  // namespace

TEST_CASE("jvp of a function of one number") {
  const auto [y, dy] = jvp([](const auto& x) { return exp(x) * sin(x); }, 0.7, 2.0);
  CHECK(y == std::exp(0.7) * std::sin(0.7));
  CHECK(dy == doctest::Approx(2 * std::exp(0.7) * (std::sin(0.7) + std::cos(0.7))));
  const auto single = jvp(cube, 2.0f, 1.0f);
  static_assert(std::is_same_v<decltype(single), const Jvp<float>>);
  CHECK(single.tangent == 12.0f);
}

TEST_CASE("jvp of a function of several numbers is along all of them") {
  const auto f = [](const auto& x, const auto& y) { return x * x * y; };
  CHECK(jvp(f, std::tuple(3.0, 2.0), {1.0, 0.0}).tangent == 12);
  CHECK(jvp(f, std::tuple(3.0, 2.0), {0.0, 1.0}).tangent == 9);
  CHECK(jvp(f, std::tuple(3.0, 2.0), {1.0, -2.0}).tangent == -6);
  CHECK(jvp(f, std::tuple(3.0, 2.0), {1.0, -2.0}).value == 18);
}

TEST_CASE("jvp of a constant function is zero") {
  CHECK(jvp([](const auto&) { return 4.0; }, 1.0, 1.0).tangent == 0);
  CHECK(jvp([](const auto&) { return 4.0; }, 1.0, 1.0).value == 4);
}

TEST_CASE("jvp of a function of one fixed type of Dual") {
  const auto f = [](const Dual<double>& x) { return x * x; };
  CHECK(jvp(f, 3.0, 1.0).tangent == 6);
}

TEST_CASE("nested calls give higher derivatives") {
  const auto first = [](const auto& x) { return derivative(cube, x); };
  const auto second = [&](const auto& x) { return derivative(first, x); };
  CHECK(derivative(first, 2.0) == 12);
  CHECK(derivative(second, 2.0) == 6);
  CHECK(second(2.0) == 12);
}

TEST_CASE("nested calls do not mix their tangents") {
  // d/dx [x d/dy (x + y)] = 1
  const auto inner = [](const auto& x, const auto& y) {
    return jvp([&](const auto& v) { return x + v; }, y, std::remove_cvref_t<decltype(y)>(1))
        .tangent;
  };
  SUBCASE("y a plain number, x captured") {
    CHECK(derivative([&](const auto& x) { return x * inner(x, 5.0); }, 3.0) == 1);
  }
  SUBCASE("y of the kind of x") {
    CHECK(derivative([&](const auto& x) { return x * inner(x, x); }, 3.0) == 1);
  }
  SUBCASE("d/dx [x d/dy (x y)] = 2 x") {
    const auto f = [](const auto& x) {
      return x * jvp([&](const auto& y) { return x * y; }, 5.0, 1.0).tangent;
    };
    CHECK(derivative(f, 3.0) == 6);
  }
  SUBCASE("the inner function ignores its argument") {
    const auto f = [](const auto& x) {
      return x + jvp([&](const auto&) { return x * x; }, 5.0, 1.0).tangent;
    };
    CHECK(derivative(f, 3.0) == 1);
  }
  SUBCASE("plain and dual arguments together") {
    const auto f = [](const auto& x) {
      using X = std::remove_cvref_t<decltype(x)>;
      return jvp([](const auto& a, const auto& b) { return a * b * b; }, std::tuple(2.0, x),
                 {1.0, X(0)})
          .tangent;
    };
    CHECK(f(3.0) == 9);
    CHECK(derivative(f, 3.0) == 6);
  }
}

TEST_CASE("jvp takes kinds of value that a user adds") {
  const auto f = [](const auto& p) {
    using P = std::remove_cvref_t<decltype(p)>;
    return P{p.x * p.y, p.x + p.y};
  };
  const auto [y, dy] = jvp(f, Pair<double>{2, 3}, Pair<double>{1, 0});
  CHECK(y.x == 6);
  CHECK(y.y == 5);
  CHECK(dy.x == 3);
  CHECK(dy.y == 1);
}
