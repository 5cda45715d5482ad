// SPDX-License-Identifier: MIT
#include <memory>
#include <stdexcept>

#include <doctest/doctest.h>
#include <expect_op.hpp>

#include <meanflow/ops/elementwise.hpp>
#include <meanflow/ops/linear.hpp>
#include <meanflow/ops/reshape.hpp>

using namespace meanflow;
using test::numbers;
using test::same_bits;
using test::Values;

namespace {

const Values ones = Values::full({2}, 1);

}  // namespace

TEST_CASE("gradients of a value used several times are summed") {
  Tape<double> tape;
  const auto x = variable(tape, Values::from({2}, {3, 4}));
  const auto y = x * x + x * x * x + x;
  tape.backward(y.node(), ones.clone());
  const auto g = tape.take_gradient(x.node());
  CHECK(g[0] == 2 * 3 + 3 * 9 + 1);
  CHECK(g[1] == 2 * 4 + 3 * 16 + 1);
}

TEST_CASE("a gradient that is shared is not overwritten") {
  Tape<double> tape;
  const auto x = variable(tape, Values::from({2}, {3, 4}));
  const Values seed = ones.clone();
  SUBCASE("the seed") {
    const auto y = reshape(x, {2, 1});
    const auto z = reshape(y, {2}) + x;
    tape.backward(z.node(), seed);
  }
  SUBCASE("one gradient for two nodes") {
    const auto z = affine(x, 1, 5) + reshape(x, {2});
    tape.backward(z.node(), seed);
  }
  SUBCASE("a seed that the tape adds to") {
    tape.add_gradient(x.node(), seed);
    tape.add_gradient(x.node(), Values::full({2}, 1));
  }
  CHECK(same_bits(tape.take_gradient(x.node()), Values::full({2}, 2)));
  CHECK(same_bits(seed, ones));
}

TEST_CASE("tensors that a backward rule owns are released as soon as it has run") {
  const auto first = std::make_shared<int>(1), second = std::make_shared<int>(2);
  Tape<double> tape;
  long first_count = 0;
  tape.record([first, &first_count, &second](auto&) { first_count = second.use_count(); });
  tape.record([second](auto&) {});
  CHECK(tape.size() == 2);
  CHECK(second.use_count() == 2);
  tape.backward(Tape<double>::no_node, {});
  CHECK(first_count == 1);
  CHECK(first.use_count() == 1);
  CHECK(tape.size() == 0);
}

TEST_CASE("clear releases what was recorded, also after an exception") {
  const auto owned = std::make_shared<int>(1);
  Tape<double> tape;
  const auto x = variable(tape, ones.clone());
  tape.record([owned](auto&) {});
  tape.record([owned](auto&) { throw std::runtime_error("backward"); });
  tape.record([owned](auto&) {});
  CHECK(owned.use_count() == 4);
  CHECK_THROWS_AS(tape.backward(x.node(), ones.clone()), std::runtime_error);
  CHECK(owned.use_count() == 2);
  tape.clear();
  CHECK(owned.use_count() == 1);
  CHECK(tape.size() == 0);
  const auto again = variable(tape, Values::from({2}, {3, 4}));
  const auto y = again * again;
  tape.backward(y.node(), ones.clone());
  CHECK(tape.take_gradient(again.node())[1] == 8);
}

TEST_CASE("a tape that is destroyed releases what was recorded") {
  const auto owned = std::make_shared<int>(1);
  {
    Tape<double> tape;
    tape.record([owned](auto&) {});
  }
  CHECK(owned.use_count() == 1);
}

TEST_CASE("constants are not recorded, and what nothing depends on has no gradient") {
  Tape<double> tape;
  const Var<Values> constant(tape, ones.clone());
  CHECK(exp(constant * constant).constant());
  CHECK(tape.size() == 0);
  const auto x = variable(tape, ones.clone()), unused = variable(tape, ones.clone());
  const auto beside = exp(unused), y = exp(x);
  tape.backward(y.node(), ones.clone());
  CHECK(tape.take_gradient(unused.node()).empty());
  CHECK(tape.take_gradient(Tape<double>::no_node).empty());
  CHECK(beside.value()[0] == y.value()[0]);
}

TEST_CASE("only parameters of the bound buffer are differentiated") {
  Parameters<double> bound, other;
  const auto w = bound.add("w", {2, 2}), v = other.add("v", {2, 2});
  std::fill_n(w.data(), 4, 1.0);
  std::fill_n(v.data(), 4, 1.0);
  Tape<double> tape;
  const Values gradient = Values::zeros({bound.flat_size()});
  tape.bind(bound, gradient);
  const Var<Values> x(tape, Values::from({1, 2}, {3, 4}));
  CHECK(linear(x, v).constant());
  const auto y = linear(linear(x, v), w);
  tape.backward(y.node(), Values::full({1, 2}, 1));
  CHECK(gradient[0] == 7);
  CHECK_THROWS_AS(tape.bind(bound, Values({1})), ShapeError);
}

TEST_CASE("many operations of many sizes fit on a tape, again and again") {
  Tape<double> tape;
  for (int round = 0; round < 3; ++round) {
    tape.clear();
    auto x = variable(tape, ones.clone());
    const std::size_t input = x.node();
    for (int i = 0; i < 2000; ++i) x = x + 1.0;
    std::array<double, 4000> large{};
    tape.record([large](auto& t) { t.add_gradient(Tape<double>::no_node, Values{}), (void)large; });
    tape.backward(x.node(), ones.clone());
    CHECK(same_bits(tape.take_gradient(input), ones));
  }
}
