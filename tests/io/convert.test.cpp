// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/io/convert.hpp>

using namespace meanflow;

namespace {

template <class To, class From>
std::optional<To> converted(From from) {
  To to{};
  if (!detail::convert(from, to)) return std::nullopt;
  return to;
}

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

}  // namespace

static_assert(FileNumber<float> && FileNumber<std::uint8_t> && FileNumber<long long>);
static_assert(!FileNumber<bool> && !FileNumber<char> && !FileNumber<long double>);

TEST_CASE("Half precision, all 65536 values against their definition") {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = detail::widened(detail::Float16{std::uint16_t(bits)});
    const int exponent = int(bits >> 10 & 31), fraction = int(bits & 1023);
    const double sign = bits >> 15 ? -1 : 1;
    if (exponent == 31 && fraction != 0) {
      REQUIRE(std::isnan(value));
      continue;
    }
    const double size = exponent == 31  ? infinity
                        : exponent == 0 ? std::ldexp(fraction, -24)
                                        : std::ldexp(1024 + fraction, exponent - 25);
    REQUIRE(double(value) == sign * size);
    REQUIRE(std::signbit(value) == (sign < 0));
  }
}

TEST_CASE("bfloat16 is the upper half of a float") {
  CHECK(detail::widened(detail::BFloat16{0x3f80}) == 1.0F);
  CHECK(detail::widened(detail::BFloat16{0xc040}) == -3.0F);
  CHECK(detail::widened(detail::BFloat16{0x0001}) == 0x1p-133F);
  CHECK(std::isinf(detail::widened(detail::BFloat16{0x7f80})));
  CHECK(std::isnan(detail::widened(detail::BFloat16{0x7fc0})));
}

TEST_CASE("Floats are rounded, but not to infinity") {
  CHECK(converted<float>(0.1) == 0.1F);
  CHECK(converted<double>(0.1F) == double(0.1F));
  CHECK(converted<float>(1e-300) == 0.0F);
  CHECK(converted<float>(infinity) == std::numeric_limits<float>::infinity());
  CHECK(std::isnan(converted<float>(not_a_number).value()));
  CHECK_FALSE(converted<float>(1e39).has_value());
  CHECK_FALSE(converted<float>(-1e300).has_value());
}

TEST_CASE("Integers convert where they fit") {
  CHECK(converted<std::uint8_t>(std::int64_t(255)) == 255);
  CHECK_FALSE(converted<std::uint8_t>(std::int64_t(256)).has_value());
  CHECK_FALSE(converted<std::uint64_t>(std::int8_t(-1)).has_value());
  CHECK_FALSE(converted<std::int64_t>(UINT64_MAX).has_value());
  CHECK(converted<std::int64_t>(std::uint64_t(INT64_MAX)) == INT64_MAX);
}

TEST_CASE("Integers become floats where that is exact") {
  CHECK(converted<float>(std::int32_t(1 << 24)) == 0x1p24F);
  CHECK_FALSE(converted<float>(std::int32_t((1 << 24) + 1)).has_value());
  CHECK(converted<float>(std::int64_t(3) << 61) == 0x1.8p62F);
  CHECK(converted<double>(INT64_MIN) == -0x1p63);
  CHECK_FALSE(converted<double>(INT64_MAX).has_value());
  CHECK_FALSE(converted<double>(UINT64_MAX).has_value());
  CHECK(converted<float>(std::int8_t(-128)) == -128.0F);
  CHECK(converted<float>(std::uint64_t(0)) == 0.0F);
}

TEST_CASE("Floats become integers where that is exact") {
  CHECK(converted<std::int32_t>(-5.0F) == -5);
  CHECK_FALSE(converted<std::int32_t>(0.5).has_value());
  CHECK_FALSE(converted<std::int32_t>(0x1p31).has_value());
  CHECK(converted<std::int32_t>(-0x1p31) == INT32_MIN);
  CHECK_FALSE(converted<std::uint8_t>(-1.0).has_value());
  CHECK_FALSE(converted<std::int64_t>(0x1p63F).has_value());
  CHECK(converted<std::uint64_t>(0x1p63F) == std::uint64_t(1) << 63);
  CHECK_FALSE(converted<std::int64_t>(not_a_number).has_value());
  CHECK_FALSE(converted<std::int64_t>(infinity).has_value());
}
