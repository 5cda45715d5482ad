// SPDX-License-Identifier: MIT
#include <Eigen/Dense>
#include <type_traits>

#include <doctest/doctest.h>

#include <meanflow/scalar/dual_eigen.hpp>

namespace {

using namespace meanflow;
using D = Dual<double>;
using Matrix = Eigen::MatrixXd;
using DualMatrix = Eigen::Matrix<D, Eigen::Dynamic, Eigen::Dynamic>;

DualMatrix join(const Matrix& x, const Matrix& dx) {
  return x.binaryExpr(dx, [](double a, double b) { return D(a, b); });
}
Matrix primals(const DualMatrix& x) {
  return x.unaryExpr([](const D& a) { return a.primal; });
}
Matrix tangents(const DualMatrix& x) {
  return x.unaryExpr([](const D& a) { return a.tangent; });
}

struct Inputs {
  Matrix a, da, b, db;
  Inputs() : a(4, 4), da(4, 4), b(4, 2), db(4, 2) {
    for (int i = 0; i < 4; ++i) {
      for (int j = 0; j < 4; ++j) {
        a(i, j) = (i == j ? 3.0 : 0.0) + 0.5 / (1 + i + 2 * j);
        da(i, j) = 0.25 * i - 0.5 * j;
      }
      for (int j = 0; j < 2; ++j) {
        b(i, j) = 1.0 + i - 2.0 * j;
        db(i, j) = 0.125 * i + j;
      }
    }
  }
};

TEST_CASE("products of matrices of Dual, also with plain ones") {
  const Inputs in;
  const DualMatrix a = join(in.a, in.da), b = join(in.b, in.db);
  CHECK(primals(a * b).isApprox(in.a * in.b));
  CHECK(tangents(a * b).isApprox(in.da * in.b + in.a * in.db));
  CHECK(tangents(in.a * b).isApprox(in.a * in.db));
  CHECK(tangents(a * in.b).isApprox(in.da * in.b));
  CHECK(tangents(a * 2.0 + 0.5 * a).isApprox(2.5 * in.da));
  CHECK(tangents(a / 2.0).isApprox(0.5 * in.da));
  CHECK(tangents(a * 2).isApprox(2 * in.da));
}

TEST_CASE("large products of matrices of Dual") {
  const Matrix a = Matrix::Random(40, 30), da = Matrix::Random(40, 30);
  const Matrix b = Matrix::Random(30, 50), db = Matrix::Random(30, 50);
  const DualMatrix x = join(a, da), y = join(b, db);
  DualMatrix z = x * y;
  CHECK(tangents(z).isApprox(da * b + a * db));
  CHECK(tangents(a * y).isApprox(a * db));
  CHECK(tangents(x * b).isApprox(da * b));
  CHECK(tangents((2.0 * x) * b.col(3)).isApprox(2 * da * b.col(3)));
  z -= x * b;
  CHECK(tangents(z).isApprox(a * db));
  z.noalias() += a * y;
  CHECK(tangents(z).isApprox(2 * a * db));
}

TEST_CASE("a linear system differentiates through the solver") {
  // [docs:eigen]
  const Inputs in;
  const DualMatrix a = join(in.a, in.da), b = join(in.b, in.db);
  const DualMatrix x = a.partialPivLu().solve(b);
  // d(a^-1 b) = a^-1 (db - da a^-1 b)
  const Matrix dx = in.a.lu().solve(in.db - in.da * primals(x));
  CHECK(tangents(x).isApprox(dx));
  // [docs:end]
  CHECK(tangents(a.fullPivLu().solve(b)).isApprox(dx));
  CHECK(tangents(a.householderQr().solve(b)).isApprox(dx));

  const Matrix spd = in.a * in.a.transpose();
  const Matrix dspd = in.da + in.da.transpose();
  const DualMatrix y = join(spd, dspd).llt().solve(b);
  CHECK(tangents(y).isApprox(spd.lu().solve(in.db - dspd * primals(y))));
  // d det(a) = det(a) tr(a^-1 da)
  CHECK(a.determinant().tangent ==
        doctest::Approx(in.a.determinant() * in.a.lu().solve(in.da).trace()));
}

TEST_CASE("reductions and functions of arrays") {
  const Inputs in;
  const DualMatrix a = join(in.a, in.da);
  CHECK(a.sum().tangent == doctest::Approx(in.da.sum()));
  CHECK(a.squaredNorm().tangent == doctest::Approx(2 * in.a.cwiseProduct(in.da).sum()));
  CHECK(a.norm().tangent == doctest::Approx(in.a.cwiseProduct(in.da).sum() / in.a.norm()));
  CHECK(a.maxCoeff().primal == in.a.maxCoeff());

  const Eigen::Array<D, 4, 4> x = a.array();
  const Eigen::Array<D, 4, 4> y = x.tanh() * x.exp() + 1.0;
  const Eigen::Array<D, 4, 4> z = 2 * x.sqrt() - x * x.abs();
  const Eigen::Array<D, 4, 4> s = silu(x);
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 4; ++j) {
      CHECK(same(y(i, j), tanh(a(i, j)) * exp(a(i, j)) + 1.0));
      CHECK(same(z(i, j), 2 * sqrt(a(i, j)) - a(i, j) * abs(a(i, j))));
      CHECK(s(i, j).tangent == doctest::Approx(silu(a(i, j)).tangent));
    }
  }
}

TEST_CASE("matrices of single precision and of nested Duals") {
  using F = Dual<float>;
  Eigen::Matrix2f w;
  w << 1, 2, 3, 4;
  const Eigen::Matrix<F, 2, 1> x(F(1.0f, 0.5f), F(2.0f, -1.0f));
  const Eigen::Matrix<F, 2, 1> y = w * x;
  CHECK(same(y(0), F(5.0f, -1.5f)));
  CHECK(same(y(1), F(11.0f, -2.5f)));

  using DD = Dual<D>;
  const Eigen::Matrix<DD, 1, 1> q(DD(D(3.0, 1.0), D(1.0, 0.0)));
  CHECK((q * q)(0).tangent.tangent == 2.0);
  const Eigen::Matrix<double, 1, 1> c(2.0);
  CHECK((c * q)(0).tangent.primal == 2.0);
  const Eigen::Matrix<D, 1, 1> d(D(2.0, 0.0));
  CHECK((d * q)(0).tangent.primal == 2.0);
}

TEST_CASE("Eigen knows the limits of Dual from those of T") {
  using N = Eigen::NumTraits<Dual<float>>;
  static_assert(N::RequireInitialization == 0 && N::IsComplex == 0 && N::IsSigned == 1);
  static_assert(std::is_same_v<N::Literal, float> && std::is_same_v<N::Real, Dual<float>>);
  CHECK(N::epsilon().primal == Eigen::NumTraits<float>::epsilon());
  CHECK(N::dummy_precision().primal == Eigen::NumTraits<float>::dummy_precision());
  CHECK(N::highest().primal == Eigen::NumTraits<float>::highest());
  CHECK(N::digits10() == Eigen::NumTraits<float>::digits10());
}

TEST_CASE("a Dual of arrays holds all values and all tangents") {
  Eigen::ArrayXf x(3), dx(3);
  x << -1, 0, 2;
  dx << 1, 2, 3;
  // [docs:arrays]
  const Dual<Eigen::ArrayXf> y = silu(Dual<Eigen::ArrayXf>(x, dx)) * 2 + x;
  // [docs:end]
  for (int i = 0; i < 3; ++i) {
    const Dual<float> yi = silu(Dual<float>(x(i), dx(i))) * 2 + x(i);
    CHECK(y.primal(i) == doctest::Approx(yi.primal));
    CHECK(y.tangent(i) == doctest::Approx(yi.tangent));
  }
  const Dual<Eigen::ArrayXf> constant(x);
  CHECK(constant.tangent.size() == 3);
  CHECK((constant.tangent == 0.0f).all());
  CHECK(!all_finite(Dual<Eigen::ArrayXf>(x, dx / 0.0f)));
}

}  // namespace
