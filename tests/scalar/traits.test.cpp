// SPDX-License-Identifier: MIT
#include <Eigen/Core>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <xsimd/xsimd.hpp>
#include <xtensor/xarray.hpp>
#include <xtensor/xtensor.hpp>

#include <meanflow/scalar/dual.hpp>
#include <meanflow/scalar/traits.hpp>

namespace own {

// A number of the user's own, such as a half-precision type.
struct Half {
  float value;
  friend bool operator<(Half a, Half b) { return a.value < b.value; }
};

}  // namespace own

template <>
struct meanflow::scalar_traits<own::Half> {
  using value_type = own::Half;
};

namespace {

using namespace meanflow;
using Batch = xsimd::batch<float>;

template <class T, class R>
constexpr bool has_root = std::same_as<root_scalar<T>, R>;

static_assert(has_root<float, float> && has_root<double, double> && has_root<int, int>);
static_assert(has_root<Dual<float>, float> && has_root<Dual<Dual<float>>, float>);
static_assert(has_root<Batch, float> && has_root<Dual<Batch>, float>);
static_assert(has_root<xsimd::batch<double>, double>);
static_assert(has_root<Eigen::ArrayXf, float> && has_root<Eigen::Array<Dual<float>, 2, 2>, float>);
static_assert(has_root<Dual<Eigen::ArrayXXd>, double>);
static_assert(has_root<xt::xarray<float>, float> && has_root<xt::xtensor<Dual<double>, 2>, double>);
static_assert(has_root<own::Half, own::Half> && has_root<Dual<own::Half>, own::Half>);

static_assert(Real<float> && Real<Dual<double>> && Real<Batch> && Real<Dual<Batch>>);
static_assert(Real<Eigen::ArrayXf> && Real<xt::xarray<float>> && Real<own::Half>);
static_assert(!Real<int> && !Real<std::string> && !Real<std::vector<float>>);
static_assert(!Real<Eigen::MatrixXf>, "its product is not element by element");
static_assert(!Real<decltype(Eigen::ArrayXf() + Eigen::ArrayXf())>, "an expression");

static_assert(BranchableReal<float> && BranchableReal<Dual<Dual<float>>>);
static_assert(BranchableReal<own::Half>);
static_assert(!BranchableReal<Batch> && !BranchableReal<Dual<Batch>>);
static_assert(!BranchableReal<Eigen::ArrayXf> && !BranchableReal<std::string>);

static_assert(RealPack<Batch> && RealPack<Eigen::ArrayXd> && RealPack<xt::xarray<float>>);
static_assert(!RealPack<float> && !RealPack<Dual<float>> && !RealPack<Dual<Batch>>);
static_assert(!RealPack<Eigen::Array<Dual<float>, 2, 2>>, "its functions are Eigen's");

static_assert(is_dual<Dual<float>> && is_dual<const Dual<float>> && !is_dual<float>);
static_assert(dual_depth<float> == 0 && dual_depth<const Dual<Dual<float>>> == 2);

static_assert(ConstantOf<int, float> && ConstantOf<double, float> && ConstantOf<float, Batch>);
static_assert(ConstantOf<Batch, Batch> && ConstantOf<Batch, Dual<Batch>>);
static_assert(ConstantOf<double, Dual<Dual<double>>> && ConstantOf<float, Dual<Dual<Batch>>>);
static_assert(!ConstantOf<Dual<float>, float> && !ConstantOf<std::string, float>);
static_assert(!ConstantOf<Batch, float>);

TEST_CASE("select takes one of two numbers, or element by element") {
  CHECK(select(true, 1.0f, 2.0f) == 1.0f);
  CHECK(select(false, 1, 2) == 2);
  CHECK(same(select(false, Dual<float>(1, 2), Dual<float>(3, 4)), Dual<float>(3, 4)));

  const Batch x(-1.0f), y(2.0f);
  CHECK(same(meanflow::select(x < y, x, y), x));
  const Dual<Batch> dx(x, y), dy(y, x);
  CHECK(same(select(dx > dy, dx, dy), dy));

  Eigen::ArrayXf a(2), b(2);
  a << 1, 4;
  b << 3, 2;
  const Eigen::ArrayXf smaller = meanflow::select(a < b, a, b);
  CHECK(smaller(0) == 1);
  CHECK(smaller(1) == 2);

  const xt::xarray<float> p{1, 4}, q{3, 2};
  const xt::xarray<float> larger = meanflow::select(p < q, q, p);
  CHECK(larger(0) == 3);
  CHECK(larger(1) == 4);
}

}  // namespace
