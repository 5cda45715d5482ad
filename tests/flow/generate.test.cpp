// SPDX-License-Identifier: MIT
#include <algorithm>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/meanflow.hpp>

using namespace meanflow;

namespace {

const Mlp<>& net() {
  static const Mlp<> one({.hidden = 8, .layers = 1, .condition = 2, .seed = 3});
  return one;
}

[[nodiscard]] VectorCondition<float> told(std::size_t rows) { return {normal_noise({rows, 2}, 9)}; }

[[nodiscard]] bool same(const Tensor<float>& a, const Tensor<float>& b) {
  return a.shape() == b.shape() && std::ranges::equal(a.span(), b.span());
}

/// All batches, one after the other.
[[nodiscard]] Tensor<float> collect(std::size_t count, const SamplingSettings& settings,
                                    const VectorCondition<float>& condition) {
  Tensor<float> all({count, 2});
  std::size_t next = 0;
  sample_batches(
      net(), count, {2}, settings,
      [&](const Tensor<float>& rows, std::size_t first) {
        CHECK(first == next);
        CHECK(rows.rows() <= settings.batch);
        next += rows.rows();
        std::ranges::copy(rows.span(), all.row(first));
      },
      condition);
  CHECK(next == count);
  return all;
}

/// The same by `sample`, with as many rows at a time: a BLAS may add in another order where there
/// are fewer.
[[nodiscard]] Tensor<float> in_parts(const Tensor<float>& noise, std::size_t batch,
                                     std::size_t steps, const VectorCondition<float>& condition) {
  Tensor<float> all(noise.shape());
  for (std::size_t first = 0; first < noise.rows(); first += batch) {
    const std::size_t last = std::min(noise.rows(), first + batch);
    std::ranges::copy(
        sample(net(), noise.rows(first, last), steps, condition_rows(condition, first, last))
            .span(),
        all.row(first));
  }
  return all;
}

}  // namespace

TEST_CASE("samples in batches are the samples at once") {
  const auto noise = normal_noise({23, 2}, 5);
  const auto all = told(23);
  const SamplingSettings settings{.steps = 2, .seed = 5, .batch = 10};
  CHECK(same(collect(23, settings, all), in_parts(noise, 10, 2, all)));
  CHECK(same(collect(23, settings, {}), in_parts(noise, 10, 2, {})));
  CHECK(collect(0, settings, {}).size() == 0);
}

TEST_CASE("a condition of one row is meant for all samples") {
  const auto noise = normal_noise({7, 2}, 5);
  VectorCondition<float> repeated{Tensor<float>({7, 2})};
  for (std::size_t i = 0; i < 7; ++i) std::copy_n(told(1).values.data(), 2, repeated.values.row(i));
  CHECK(same(generate(net(), noise, {}, told(1)), sample(net(), noise, 1, repeated)));
  CHECK(same(collect(7, {.seed = 5, .batch = 3}, told(1)), in_parts(noise, 3, 1, repeated)));
}

TEST_CASE("guidance and solvers are those of their own functions") {
  const auto noise = normal_noise({7, 2}, 5);
  const auto all = told(7);
  CHECK(same(generate(net(), noise, {.steps = 3, .guidance = 2.5}, all),
             sample(GuidedSampling(net(), 2.5), noise, 3, all)));
  CHECK(same(generate(net(), noise, {.steps = 3, .solver = Solver::heun}, all),
             solve(net(), noise, 3, Solver::heun, all)));
}

TEST_CASE("samples that cannot be drawn are refused") {
  const auto nothing = [](const auto&, std::size_t) {};
  CHECK_THROWS_WITH_AS(sample_batches(net(), 5, {2}, {}, nothing, told(4)),
                       "sample_batches: values of shape (4, 2) for 5 samples", ShapeError);
  CHECK_THROWS_AS(sample_batches(net(), 5, {2}, {.batch = 0}, nothing), SettingError);
  CHECK_THROWS_AS(sample_batches(net(), 5, {2}, {.steps = 0}, nothing), SettingError);
}

TEST_CASE("guidance at sampling without a condition is refused") {
  CHECK_THROWS_WITH_AS(
      static_cast<void>(generate(net(), normal_noise({3, 2}, 1), {.guidance = 2})),
      "guidance at sampling: there is no condition to guide towards; give one to sample",
      ShapeError);
}

TEST_CASE("the example of the documentation") {
  // [docs:batches]
  std::vector<float> points;
  sample_batches(net(), 10'000, {2}, {.steps = 2, .batch = 1000},
                 [&](const Tensor<float>& rows, std::size_t /*first*/) {  // (1000, 2)
                   points.insert(points.end(), rows.span().begin(), rows.span().end());
                 });
  // [docs:end]
  CHECK(points.size() == 20'000);
}
