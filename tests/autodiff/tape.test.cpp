// SPDX-License-Identifier: MIT
#include <memory>
#include <stdexcept>
#include <vector>

#include <doctest/doctest.h>
#include <expect_op.hpp>

#include <meanflow/autodiff/recomputed.hpp>
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

TEST_CASE("a watched tape says when the gradient of a parameter is complete") {
  Parameters<double> parameters;
  const auto w = parameters.add("w", {2, 2}), v = parameters.add("v", {2, 2}),
             unused = parameters.add("unused", {2, 2});
  std::fill_n(parameters.values().data(), parameters.flat_size(), 0.5);
  const auto course = [&](bool recomputes, bool freezes) {
    Tape<double> tape;
    const Values gradient = Values::zeros({parameters.flat_size()});
    tape.bind(parameters, gradient,
              freezes ? std::make_shared<const std::vector<bool>>(std::vector{false, true, false})
                      : nullptr);
    std::vector<std::vector<double>>
        seen;  // the gradients of w, v when they are said to be complete
    std::vector<std::vector<bool>> complete;
    tape.watch([&](Tape<double>& t) {
      std::vector<bool> of;
      for (const auto& p : {w, v, unused}) of.push_back(t.size() <= t.complete_at(p.index()));
      complete.push_back(of);
      seen.push_back({gradient[w.offset()], gradient[v.offset()]});
    });
    const Var<Values> x(tape, Values::from({1, 2}, {3, 4}));
    const auto f = [&](const auto& z) { return linear(z, w); };
    const auto first = recomputes ? recomputed(f, x) : f(x);
    const auto y = linear(square(linear(first, v)), w);  // w is used again
    tape.backward(y.node(), Values::full({1, 2}, 1));
    for (std::size_t i = 0; i < complete.size(); ++i) {
      if (complete[i][0]) CHECK(seen[i][0] == gradient[w.offset()]);
      if (complete[i][1]) CHECK(seen[i][1] == gradient[v.offset()]);
    }
    return complete;
  };
  using Seen = std::vector<std::vector<bool>>;
  CHECK(
      course(false, false) ==
      Seen{{false, false, false}, {false, false, false}, {false, true, false}, {true, true, true}});
  // What a part that is computed again uses is not known before it is.
  CHECK(course(true, false).back() == std::vector{true, true, true});
  CHECK(course(true, false)[2] == std::vector{false, false, false});
  CHECK(course(false, true)[0] == std::vector{false, true, false});
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
