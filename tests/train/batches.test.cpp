// SPDX-License-Identifier: MIT
// Batches that are filled ahead of their step.
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/train/batches.hpp>

using namespace meanflow;

namespace {

/// Rows that say which batch they are of; batch 3 cannot be read.
struct Numbered {
  std::vector<std::uint64_t> asked;
  [[nodiscard]] Shape row_shape() const { return {2}; }
  void fill(Tensor<float>& x, std::uint64_t seed, std::uint64_t number) {
    asked.push_back(number);
    if (number == 3) throw std::runtime_error("batch 3 is damaged");
    for (float& value : x.span()) value = static_cast<float>(100 * seed + number);
  }
};
using Batches = detail::Batches<float, NoCondition<float>, Numbered>;

}  // namespace

TEST_CASE("a batch that was prepared is the one that is asked for, and is filled once") {
  Numbered source;
  Batches batches(source, 4, 7);
  CHECK(batches.batch(0).x()[0] == 700);
  const auto& first = batches.batch(0);
  batches.prepare(1);
  CHECK(first.x()[0] == 700);  // the step is still working with it
  CHECK(batches.batch(1).x()[7] == 701);
  CHECK(source.asked == std::vector<std::uint64_t>{0, 0, 1});
}

TEST_CASE("another batch than the one that was prepared is filled when it is asked for") {
  Numbered source;
  Batches batches(source, 4, 7);
  batches.prepare(5);
  CHECK(batches.batch(2).x()[0] == 702);
  CHECK(batches.batch(5).x()[0] == 705);
  CHECK(source.asked == std::vector<std::uint64_t>{5, 2, 5});
}

TEST_CASE("what goes wrong ahead of a step is said when its batch is asked for") {
  Numbered source;
  Batches batches(source, 4, 7);
  CHECK(batches.batch(2).x()[0] == 702);
  CHECK_NOTHROW(batches.prepare(3));
  CHECK_THROWS_WITH(static_cast<void>(batches.batch(3)), "batch 3 is damaged");
  CHECK_THROWS_WITH(static_cast<void>(batches.batch(3)), "batch 3 is damaged");
  CHECK_NOTHROW(batches.prepare(3));
  batches.prepare(4);
  CHECK(batches.batch(4).x()[0] == 704);
}
