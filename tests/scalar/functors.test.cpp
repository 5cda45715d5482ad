// SPDX-License-Identifier: MIT
#include <string_view>
#include <type_traits>

#include <doctest/doctest.h>
#include <xsimd/xsimd.hpp>

#include <meanflow/scalar/functors.hpp>

namespace {

using namespace meanflow;

// [docs:functor]
template <class Function>
float derivative_at(float x) {
  return Function{}(Dual<float>(x, 1.0f)).tangent;
}

const float slope = derivative_at<Silu>(0.0f);
// [docs:end]

template <class... Functions>
constexpr bool stateless = (... && (std::is_empty_v<Functions> && std::is_trivial_v<Functions>));

static_assert(
    stateless<Exp, Log, Sqrt, Square, Sin, Cos, Tanh, Erf, Sigmoid, Silu, Gelu, GeluTanh, Softplus,
              Relu, Negate, Identity, Abs, Add, Subtract, Multiply, Divide, Maximum, Minimum>);
static_assert(std::string_view(GeluTanh::name) == "gelu_tanh");
static_assert(std::string_view(Identity::name) == "identity");

TEST_CASE("function types call the functions") {
  using D = Dual<double>;
  const D x(0.5, 2.0), y(0.25, -1.0);
  CHECK(same(Exp{}(x), exp(x)));
  CHECK(same(Log{}(x), log(x)));
  CHECK(same(Sqrt{}(x), sqrt(x)));
  CHECK(same(Square{}(x), square(x)));
  CHECK(same(Sin{}(x), sin(x)));
  CHECK(same(Cos{}(x), cos(x)));
  CHECK(same(Tanh{}(x), tanh(x)));
  CHECK(same(Erf{}(x), erf(x)));
  CHECK(same(Sigmoid{}(x), sigmoid(x)));
  CHECK(same(Silu{}(x), silu(x)));
  CHECK(same(Gelu{}(x), gelu(x)));
  CHECK(same(GeluTanh{}(x), gelu_tanh(x)));
  CHECK(same(Softplus{}(x), softplus(x)));
  CHECK(same(Relu{}(x), relu(x)));
  CHECK(same(Negate{}(x), -x));
  CHECK(same(Identity{}(x), x));
  CHECK(same(Abs{}(-x), x));
  CHECK(same(Add{}(x, y), x + y));
  CHECK(same(Subtract{}(x, y), x - y));
  CHECK(same(Multiply{}(x, y), x * y));
  CHECK(same(Divide{}(x, y), x / y));
  CHECK(same(Maximum{}(x, y), x));
  CHECK(same(Minimum{}(x, y), y));
  CHECK(slope == 0.5f);
  CHECK(Identity{}(3) == 3);
}

TEST_CASE("function types take batches, plain and dual") {
  using B = xsimd::batch<float>;
  const B x(0.5f), y(-0.25f);
  CHECK(same(Silu{}(Dual<B>(x, y)).primal, Silu{}(x)));
  CHECK(same(Maximum{}(x, y), x));
  CHECK(same(Minimum{}(Dual<B>(x, y), Dual<B>(y, x)), Dual<B>(y, x)));
  CHECK(same(Exp{}(x), xsimd::exp(x)));
}

}  // namespace
