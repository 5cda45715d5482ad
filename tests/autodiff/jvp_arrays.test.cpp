// SPDX-License-Identifier: MIT
#include <Eigen/Core>
#include <cmath>
#include <tuple>

#include <doctest/doctest.h>
#include <xtensor/xmath.hpp>

#include <meanflow/autodiff/jvp_eigen.hpp>
#include <meanflow/autodiff/jvp_xtensor.hpp>

using namespace meanflow;

static_assert(DualKind<Eigen::MatrixXd> && DualKind<Eigen::Array3f> &&
              DualKind<xt::xarray<double>>);

TEST_CASE("jvp of a function of Eigen matrices") {
  Eigen::Matrix2d a, da;
  a << 1, 2, 3, 4;
  da << 0, 1, -1, 2;
  const auto [y, dy] = jvp([](const auto& x) { return (x * x.transpose()).eval(); }, a, da);
  CHECK(y.isApprox(a * a.transpose()));
  CHECK(dy.isApprox(da * a.transpose() + a * da.transpose()));
}

TEST_CASE("jvp computes an Eigen expression that refers to the argument") {
  const Eigen::MatrixXd a = Eigen::MatrixXd::Constant(3, 2, 2), da = Eigen::MatrixXd::Ones(3, 2);
  const auto result = jvp([](const auto& x) { return 3.0 * x; }, a, da);
  CHECK(result.value.isApprox(3 * a));
  CHECK(result.tangent.isApprox(3 * da));
}

TEST_CASE("jvp from a matrix to a number, and of mixed kinds") {
  const Eigen::VectorXd a = Eigen::VectorXd::LinSpaced(4, 1, 4);
  const Eigen::VectorXd da = Eigen::VectorXd::Ones(4);
  CHECK(jvp([](const auto& x) { return x.squaredNorm(); }, a, da).tangent == 2 * a.sum());
  const auto scaled = [](const auto& s, const auto& x) { return (x * s).eval(); };
  const auto result = jvp(scaled, std::tuple(2.0, a), {1.0, da});
  CHECK(result.tangent.isApprox(a + 2 * da));
}

TEST_CASE("jvp of functions of Eigen arrays nests") {
  const Eigen::Array3d x(0.1, 0.2, 0.3), one(1, 1, 1);
  const auto first = [](const auto& v) {
    using V = std::remove_cvref_t<decltype(v)>;
    return jvp([](const auto& w) { return w.exp().eval(); }, v, V(V::Constant(3, 1, 1))).tangent;
  };
  CHECK(jvp(first, x, one).tangent.isApprox(x.exp()));
}

TEST_CASE("jvp of expressions and sums of xtensor") {
  const xt::xarray<double> x = {{1, 2}, {3, 4}}, dx = {{1, 0}, {2, -1}};
  const auto product = [](const auto& v) { return xt::sin(v) * v; };
  const auto dynamic = jvp(product, x, dx);
  static_assert(std::same_as<std::remove_cvref_t<decltype(dynamic.value)>, xt::xarray<double>>);
  REQUIRE(dynamic.value.dimension() == 2);
  for (std::size_t i = 0; i < 4; ++i) {
    const double a = x.flat(i), da = dx.flat(i);
    CHECK(dynamic.value.flat(i) == doctest::Approx(std::sin(a) * a));
    CHECK(dynamic.tangent.flat(i) == doctest::Approx((std::cos(a) * a + std::sin(a)) * da));
  }
  const auto square = [](const auto& v) { return xt::sum(v * v); };
  const auto sum = jvp(square, x, dx);
  CHECK(sum.value() == 30);
  CHECK(sum.tangent() == 2 * (1 * 1 + 3 * 2 - 4 * 1));

  const xt::xtensor<double, 2> y = x, dy = dx;
  const auto fixed = jvp(product, y, dy);
  static_assert(std::same_as<std::remove_cvref_t<decltype(fixed.value)>, xt::xtensor<double, 2>>);
  CHECK(fixed.tangent == dynamic.tangent);
  const auto columns = jvp([](const auto& v) { return xt::sum(v * v, {0}); }, y, dy);
  CHECK(columns.value == xt::xarray<double>{10, 20});
  CHECK(columns.tangent == xt::xarray<double>{14, -8});
}

TEST_CASE("jvp of functions of xtensor") {
  const xt::xarray<double> x = {{1, 2}, {3, 4}}, dx = {{1, 0}, {2, -1}};
  const auto [y, dy] = jvp([](const auto& v) { return xt::exp(v) * v; }, x, dx);
  for (std::size_t i = 0; i < 4; ++i) {
    const double value = x.storage()[i];
    CHECK(y.storage()[i] == doctest::Approx(std::exp(value) * value));
    CHECK(dy.storage()[i] == doctest::Approx(std::exp(value) * (value + 1) * dx.storage()[i]));
  }
  const xt::xtensor<float, 1> a = {1, 2, 3}, da = {1, 1, 1};
  CHECK(jvp([](const auto& v) { return xt::sum(v * v)(); }, a, da).tangent == 12);
}

TEST_CASE("jvp of arrays refuses a tangent that does not fit") {
  const auto same_value = [](const auto& x) { return x; };
  CHECK_THROWS_WITH_AS((void)jvp(same_value, Eigen::MatrixXd(2, 3), Eigen::MatrixXd(3, 2)),
                       "jvp: tangent shape (3, 2) does not fit primal shape (2, 3)", ShapeError);
  CHECK_THROWS_WITH_AS((void)jvp(same_value, xt::xarray<double>{1, 2}, xt::xarray<double>{1, 2, 3}),
                       "jvp: tangent shape (3) does not fit primal shape (2)", ShapeError);
}
