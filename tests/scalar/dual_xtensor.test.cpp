// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>
#include <xtensor/xarray.hpp>
#include <xtensor/xmath.hpp>
#include <xtensor/xvectorize.hpp>
#include <xtensor/xview.hpp>

#include <meanflow/scalar/dual_xtensor.hpp>

namespace {

using namespace meanflow;
using F = Dual<float>;

TEST_CASE("expressions of xtensor arrays of Dual") {
  // [docs:xtensor]
  const xt::xarray<F> x{{F(0.5f, 1.0f), F(1.5f, 2.0f)}, {F(2.5f, -1.0f), F(3.5f, 0.0f)}};
  const xt::xarray<F> y = xt::tanh(x) * x + 2.0f * xt::exp(-x);
  // [docs:end]
  for (std::size_t i = 0; i < 2; ++i) {
    for (std::size_t j = 0; j < 2; ++j) {
      CHECK(same(y(i, j), tanh(x(i, j)) * x(i, j) + 2.0f * exp(-x(i, j))));
    }
  }
}

TEST_CASE("reductions, views and mixed arrays") {
  const xt::xarray<F> x{{F(0.5f, 1.0f), F(1.5f, 2.0f)}, {F(2.5f, -1.0f), F(3.5f, 0.0f)}};
  CHECK(same(xt::sum(x)(), F(8.0f, 2.0f)));
  CHECK(same(xt::amax(x)(), F(3.5f, 0.0f)));
  CHECK(same(xt::amin(x)(), F(0.5f, 1.0f)));
  const xt::xarray<F> columns = xt::sum(x, {0});
  CHECK(same(columns(0), F(3.0f, 0.0f)));

  const xt::xarray<float> w{2.0f, 3.0f};
  const xt::xarray<F> product = x * w;
  CHECK(same(product(0, 1), F(4.5f, 6.0f)));
  const xt::xarray<F> row = xt::view(x, 1, xt::all()) - 1.0f;
  CHECK(same(row(0), F(1.5f, -1.0f)));

  const xt::xarray<F> activated = xt::vectorize([](const F& v) { return silu(v); })(x);
  CHECK(same(activated(1, 0), silu(x(1, 0))));
  CHECK(same(square(x), xt::xarray<F>(x * x)));
}

}  // namespace
