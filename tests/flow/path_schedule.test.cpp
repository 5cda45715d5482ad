// SPDX-License-Identifier: MIT
#include <cmath>

#include <archetypes.hpp>
#include <doctest/doctest.h>

#include <meanflow/flow/path_schedule.hpp>
#include <meanflow/kernels/cpu.hpp>

using namespace meanflow;

static_assert(PathSchedule<LinearPath> && PathSchedule<CosinePath> && PathSchedule<QuadraticPath>);
static_assert(PathSchedule<TimeReversed<LinearPath>> && PathSchedule<EndsSwapped<CosinePath>>);
static_assert(PathSchedule<test::ArchetypePath>);

namespace {

struct NoSigma {
  template <class T>
  T alpha(const T& t) const {
    return t;
  }
};
struct OnlyFloats {
  float alpha(float t) const { return 1 - t; }
  float sigma(float t) const { return t; }
};
struct NotConstant {
  template <class T>
  T alpha(const T& t) {
    return 1 - t;
  }
  template <class T>
  T sigma(const T& t) {
    return t;
  }
};
static_assert(!PathSchedule<NoSigma> && !PathSchedule<OnlyFloats> && !PathSchedule<NotConstant>);

template <class Path>
void expect_path(const Path& path) {
  CHECK(path.alpha(0.0) == doctest::Approx(1));
  CHECK(path.sigma(0.0) == doctest::Approx(0));
  CHECK(std::abs(path.alpha(1.0)) < 1e-15);
  CHECK(path.sigma(1.0) == doctest::Approx(1));
  for (const double t : {0.1, 0.25, 0.5, 0.9}) {
    const double h = 1e-5;
    const Dual<double> time(t, 1.0);
    CHECK(path.alpha(time).primal == path.alpha(t));
    CHECK(path.sigma(time).primal == path.sigma(t));
    CHECK(path.alpha(time).tangent ==
          doctest::Approx((path.alpha(t + h) - path.alpha(t - h)) / (2 * h)).epsilon(1e-8));
    CHECK(path.sigma(time).tangent ==
          doctest::Approx((path.sigma(t + h) - path.sigma(t - h)) / (2 * h)).epsilon(1e-8));
    const auto single = static_cast<float>(t);
    CHECK(path.alpha(Dual<float>(single, 1.0f)).primal == path.alpha(single));
    CHECK(path.sigma(Dual<float>(single, 1.0f)).primal == path.sigma(single));
  }
}

}  // namespace

TEST_CASE("paths go from data to noise, and Dual knows their derivatives") {
  expect_path(LinearPath{});
  expect_path(CosinePath{});
  expect_path(QuadraticPath{});
}

TEST_CASE("the cosine path keeps the variance") {
  for (const double t : {0.0, 0.3, 0.8, 1.0}) {
    const double a = CosinePath{}.alpha(t), s = CosinePath{}.sigma(t);
    CHECK(a * a + s * s == doctest::Approx(1));
  }
}

TEST_CASE("paths of other conventions") {
  using DataLast = EndsSwapped<LinearPath>;  // alpha = t, sigma = 1 - t
  CHECK(DataLast{}.alpha(0.25) == 0.25);
  CHECK(DataLast{}.sigma(0.25) == 0.75);
  expect_path(TimeReversed<DataLast>{});
  const TimeReversed<QuadraticPath> reversed{};
  CHECK(reversed.alpha(0.25) == 1 - 0.75 * 0.75);
  CHECK(reversed.alpha(Dual<double>(0.25, 1.0)).tangent == 1.5);
}
