// SPDX-License-Identifier: MIT
// Numbers that a thread takes together are computed as single ones are.
#include <cstddef>
#include <string>

#include <doctest/doctest.h>

#include <meanflow/cuda.hpp>

using namespace meanflow;
using kernels::cuda::Lanes;
using Four = Lanes<double, 4>;

namespace {

constexpr double numbers[] = {0.3, -1.25, 2.5, 0.75};

Four four(double scale = 1, double shift = 0) {
  Four x;
  for (std::size_t k = 0; k < 4; ++k) x.of[k] = scale * numbers[k] + shift;
  return x;
}

template <class F>
void expect_alike(const std::string& what, const Four& x, F f) {
  INFO(what);
  const Four y = f(x);
  const Dual<Four> dual = f(Dual<Four>(x, Four(2.0)));
  for (std::size_t k = 0; k < 4; ++k) {
    // But for the roundings of what a compiler fuses.
    const auto close = [](double value) { return doctest::Approx(value).epsilon(1e-14); };
    CHECK(y.of[k] == close(f(x.of[k])));
    const Dual<double> expected = f(Dual<double>(x.of[k], 2.0));
    CHECK(dual.primal.of[k] == close(expected.primal));
    CHECK(dual.tangent.of[k] == close(expected.tangent));
  }
}

}  // namespace

TEST_CASE("functions of four numbers and their derivatives") {
  const Four any = four(), positive = four(0.2, 0.5), within = four(0.3);
  expect_alike("exp", any, [](const auto& x) { return exp(x); });
  expect_alike("expm1", any, [](const auto& x) { return expm1(x); });
  expect_alike("log", positive, [](const auto& x) { return log(x); });
  expect_alike("log1p", positive, [](const auto& x) { return log1p(x); });
  expect_alike("log2", positive, [](const auto& x) { return log2(x); });
  expect_alike("sqrt", positive, [](const auto& x) { return sqrt(x); });
  expect_alike("cbrt", any, [](const auto& x) { return cbrt(x); });
  expect_alike("sin", any, [](const auto& x) { return sin(x); });
  expect_alike("cos", any, [](const auto& x) { return cos(x); });
  expect_alike("tan", any, [](const auto& x) { return tan(x); });
  expect_alike("sinh", any, [](const auto& x) { return sinh(x); });
  expect_alike("cosh", any, [](const auto& x) { return cosh(x); });
  expect_alike("tanh", any, [](const auto& x) { return tanh(x); });
  expect_alike("asin", within, [](const auto& x) { return asin(x); });
  expect_alike("acos", within, [](const auto& x) { return acos(x); });
  expect_alike("atan", any, [](const auto& x) { return atan(x); });
  expect_alike("erf", any, [](const auto& x) { return erf(x); });
  expect_alike("erfc", any, [](const auto& x) { return erfc(x); });
  expect_alike("abs", any, [](const auto& x) { return abs(x); });
  expect_alike("floor", any, [](const auto& x) { return floor(x); });
  expect_alike("ceil", any, [](const auto& x) { return ceil(x); });
  expect_alike("round", any, [](const auto& x) { return round(x); });
  expect_alike("silu", any, [](const auto& x) { return silu(x); });
  expect_alike("gelu", any, [](const auto& x) { return gelu(x); });
  expect_alike("gelu_tanh", any, [](const auto& x) { return gelu_tanh(x); });
  expect_alike("softplus", any, [](const auto& x) { return softplus(x); });
  expect_alike("relu", any, [](const auto& x) { return relu(x); });
  expect_alike("a polynomial", any, [](const auto& x) { return 2.0 * x * x - x / 3.0 + 1.0; });
  expect_alike("the larger one", any, [](const auto& x) { return max(x, -x); });
  expect_alike("the smaller one", any, [](const auto& x) { return min(x, -x); });
}

TEST_CASE("functions of two") {
  const Four x = four(), y = four(0.5, 2);
  const auto expect = [&](const Four& found, auto f) {
    for (std::size_t k = 0; k < 4; ++k) CHECK(found.of[k] == f(x.of[k], y.of[k]));
  };
  expect(atan2(x, y), [](double a, double b) { return std::atan2(a, b); });
  expect(hypot(x, y), [](double a, double b) { return std::hypot(a, b); });
  expect(pow(y, x), [](double a, double b) { return std::pow(b, a); });
  expect(fused(x, y, x), [](double a, double b) { return std::fma(a, b, a); });
  const auto both = sine_and_cosine(x);
  expect(both.sine, [](double a, double) { return std::sin(a); });
  expect(both.cosine, [](double a, double) { return std::cos(a); });
  CHECK(sum_of(x) == numbers[0] + numbers[1] + numbers[2] + numbers[3]);
}

TEST_CASE("four numbers are loaded and stored wherever they lie") {
  double memory[16] = {};
  for (std::size_t k = 0; k < 16; ++k) memory[k] = static_cast<double>(k);
  for (const std::size_t at : {0, 1, 4, 7}) {
    const Four x = kernels::cuda::Four{at}.load(static_cast<const double*>(memory));
    for (std::size_t k = 0; k < 4; ++k) CHECK(x.of[k] == static_cast<double>(at + k));
    double out[16] = {};
    kernels::cuda::Four{at}.store(out, x);
    for (std::size_t k = 0; k < 16; ++k)
      CHECK(out[k] == (k >= at && k < at + 4 ? static_cast<double>(k) : 0));
  }
}
