// SPDX-License-Identifier: MIT
#include <cstddef>
#include <sstream>
#include <vector>

#include <doctest/doctest.h>
#include <xsimd/xsimd.hpp>

#include <meanflow/scalar/functors.hpp>

namespace {

using namespace meanflow;

// [docs:xsimd]
// y = f(x) and dy = f'(x) dx over arrays whose length is a multiple of the batch.
template <class Function>
void map(const float* x, const float* dx, float* y, float* dy, std::size_t n) {
  using Batch = xsimd::batch<float>;
  for (std::size_t i = 0; i < n; i += Batch::size) {
    const Dual<Batch> v(Batch::load_unaligned(x + i), Batch::load_unaligned(dx + i));
    const Dual<Batch> w = Function{}(v);
    w.primal.store_unaligned(y + i);
    w.tangent.store_unaligned(dy + i);
  }
}
// [docs:end]

TEST_CASE("a kernel over pairs of registers") {
  const std::size_t n = 8 * xsimd::batch<float>::size;
  std::vector<float> x(n), dx(n), y(n), dy(n);
  for (std::size_t i = 0; i < n; ++i) {
    x[i] = -4.0f + 8.0f * static_cast<float>(i) / static_cast<float>(n);
    dx[i] = 1.0f / (1.0f + static_cast<float>(i));
  }
  map<Silu>(x.data(), dx.data(), y.data(), dy.data(), n);
  for (std::size_t i = 0; i < n; ++i) {
    const Dual<double> expected = silu(Dual<double>(Dual<float>(x[i], dx[i])));
    CHECK(y[i] == doctest::Approx(expected.primal).epsilon(1e-6));
    CHECK(dy[i] == doctest::Approx(expected.tangent).epsilon(1e-6));
  }
}

TEST_CASE("Duals of batches take constants and compare to masks") {
  using B = xsimd::batch<float>;
  const B x(2.0f), dx(3.0f);
  const Dual<B> v(x, dx);
  CHECK(same(v * 2 + 1.0 - 0.5f, Dual<B>(B(4.5f), B(6.0f))));
  CHECK(same(1 / v, Dual<B>(B(0.5f), B(-0.75f))));
  CHECK(same(v * x, Dual<B>(B(4.0f), B(6.0f))));
  CHECK(same(Dual<B>(2.0f), Dual<B>(B(2.0f), B(0.0f))));
  CHECK(xsimd::all(v == v * 1));
  CHECK(xsimd::all(v != v + 1));
  CHECK(xsimd::all(v < 3.0f));
  CHECK(xsimd::all(1.0f <= v));
  CHECK(!xsimd::any(v > v));
  static_assert(std::same_as<decltype(v < v), xsimd::batch_bool<float>>);
  static_assert(std::is_trivially_copyable_v<Dual<B>> && sizeof(Dual<B>) == 2 * sizeof(B));
}

TEST_CASE("the derivative of the branch not taken does not leak") {
  using B = xsimd::batch<float>;
  const Dual<B> x(B(-1.0f), B(1.0f));
  const Dual<B> root = sqrt(x);
  const Dual<B> zero(0.0f);
  CHECK(same(select(x < 0, zero, root), zero));
}

TEST_CASE("Duals of batches are printed with both parts") {
  std::ostringstream os;
  os << Dual<xsimd::batch<double>>(xsimd::batch<double>(1.5), xsimd::batch<double>(2.5));
  CHECK(os.str().find("1.5") != std::string::npos);
  CHECK(os.str().find("2.5") != std::string::npos);
}

}  // namespace
