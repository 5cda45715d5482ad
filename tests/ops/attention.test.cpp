// SPDX-License-Identifier: MIT
#include <cstdint>
#include <vector>

#include <meanflow/kernels/cpu/conv.hpp>
#include <meanflow/ops/attention.hpp>
#include <meanflow/ops/concat.hpp>
#include <meanflow/ops/elementwise.hpp>
#include <meanflow/ops/reshape.hpp>

#include "expect_op.hpp"

namespace {

using namespace meanflow;
using namespace meanflow::test;

/// q, k and v of these shapes.
std::array<Values, 3> operands(const Shape& q, const Shape& k) {
  return {numbers(q, 1), numbers(k, 2), numbers(k, 3)};
}

/// Attention with the settings that `make` gives for a device.
template <class Make>
auto attention_with(Make make) {
  return [make](const auto&, const auto& q, const auto& k, const auto& v) {
    using Device = typename std::remove_cvref_t<decltype(q)>::device_type;
    return attention(q, k, v, make(AttentionSettings<Device>{}));
  };
}

template <class Device>
void keep_of(AttentionSettings<Device>& settings, const Shape& shape,
             const std::vector<std::uint8_t>& keep) {
  settings.keep = to_device<Device>(Tensor<std::uint8_t>::from(shape, keep));
}

}  // namespace

TEST_CASE("attention of no rows") {
  const DualTensor<double> none({0, 2, 4, 3}, 0);
  CHECK(attention(none, none, none).shape() == Shape{0, 2, 4, 3});
  const Values no_queries({1, 0, 4}), some = numbers({1, 3, 4}, 1);
  CHECK(attention(no_queries, some, some).shape() == Shape{1, 0, 4});
}

TEST_CASE("attention of one head and of several") {
  const auto plain = attention_with([](auto s) { return s; });
  expect_op(plain, operands({4, 5, 3}, {4, 5, 3}));
  expect_op(plain, operands({3, 2, 4, 3}, {3, 2, 4, 3}));
  expect_op(plain, operands({2, 1, 4}, {2, 1, 4}));
  expect_op(plain, operands({2, 3, 4}, {2, 5, 4}));
}

TEST_CASE("attention of heads that lie side by side") {
  expect_op(attention_with([](auto s) {
              s.heads = 2;
              return s;
            }),
            operands({3, 4, 6}, {3, 5, 6}));
}

TEST_CASE("a causal query sees no later key") {
  const auto causal = attention_with([](auto s) {
    s.causal = true;
    return s;
  });
  expect_op(causal, operands({2, 6, 3}, {2, 6, 3}));
  const auto [q, k, v] = operands({1, 300, 4}, {1, 300, 4});
  const Values all = attention(q, k, v, {.causal = true});
  const auto first = [](const Values& x) {
    return Values::borrow(const_cast<double*>(x.data()), {1, 100, 4});
  };
  const Values part = attention(first(q), first(k), first(v), {.causal = true});
  for (std::size_t i = 0; i < part.size(); ++i)
    CHECK(all[i] == doctest::Approx(part[i]).epsilon(1e-13));
}

TEST_CASE("keys that are not kept do not matter") {
  const auto padded = attention_with([](auto s) {
    s.heads = 2;
    keep_of(s, {3, 4}, {1, 1, 1, 1, 1, 0, 1, 0, 0, 1, 1, 1});
    return s;
  });
  expect_op(padded, operands({3, 5, 4}, {3, 4, 4}));
}

TEST_CASE("a query that sees no key gives zero and passes no gradient on") {
  const auto blind = attention_with([](auto s) {
    keep_of(s, {2, 3}, {0, 0, 0, 1, 0, 1});
    return s;
  });
  expect_op(blind, operands({2, 2, 3}, {2, 3, 3}));
  AttentionSettings<Cpu> settings;
  keep_of(settings, {2, 3}, {0, 0, 0, 1, 0, 1});
  const auto [q, k, v] = operands({2, 2, 3}, {2, 3, 3});
  const Values y = attention(q, k, v, settings);
  for (std::size_t i = 0; i < 6; ++i) CHECK(y[i] == 0);
}

TEST_CASE("self_attention takes q, k and v from one tensor") {
  const auto packed = [](const auto&, const auto& qkv) {
    using Device = typename std::remove_cvref_t<decltype(qkv)>::device_type;
    return self_attention(qkv, AttentionSettings<Device>{.heads = 2});
  };
  expect_op(packed, std::array<Values, 1>{numbers({3, 5, 18}, 7)});
  const Values qkv = numbers({2, 130, 24}, 8);
  const auto parts = split<3>(qkv);
  CHECK(same_bits(self_attention(qkv, {.heads = 2}),
                  attention(parts[0], parts[1], parts[2], {.heads = 2})));
}

TEST_CASE("attention of lengths around its blocks is what the plain loops compute") {
  using detail::tangent_rows;
  for (const std::size_t queries : {1, 95, 96, 97, 200})
    for (const std::size_t keys : {1, 255, 256, 257, 600}) {
      INFO(queries, " queries, ", keys, " keys");
      const auto x = operands({2, queries, 10}, {2, keys, 10});
      const auto dx = operands({1, queries, 10}, {1, keys, 10});
      const auto run = [&]<class Device>(Device) {
        const auto dual = [&](std::size_t i) {
          return DualTensor<double, Device>(copy_on<Device>(x[i]), copy_on<Device>(dx[i]));
        };
        Tape<double, Device> tape;
        const auto a = variable(tape, dual(0)), b = variable(tape, dual(1)),
                   c = variable(tape, dual(2));
        const auto y = attention(a, b, c, AttentionSettings<Device>{.heads = 2});
        tape.backward(y.node(), copy_on<Device>(numbers(y.shape(), 9)));
        return std::vector<Values>{
            to_host(y.value().buffer()), to_host(tape.take_gradient(a.node())),
            to_host(tape.take_gradient(b.node())), to_host(tape.take_gradient(c.node()))};
      };
      const auto found = run(Cpu{}), expected = run(OtherDevice{});
      for (std::size_t i = 0; i < found.size(); ++i)
        CHECK(relative_error(found[i], expected[i]) <= 1e-12);
    }
}

TEST_CASE("attention keeps its precision where scores are large") {
  const auto [q, k, v] = operands({1, 300, 8}, {1, 300, 8});
  const Values large = affine(q, 1000, 0);
  const Values y = attention(large, k, v);
  for (const double value : y.span()) CHECK(std::abs(value) <= 1);
}

TEST_CASE("attention says which shapes do not fit") {
  const Values x = numbers({2, 4, 6}, 1);
  CHECK(message_of<ShapeError>([&] {
          (void)attention(x, numbers({2, 4, 5}, 2), x);
        }) ==
        "attention: shape (2, 4, 6) does not fit shape (2, 4, 5) (q and k must be (B, ..., tokens, "
        "channels) alike)");
  CHECK(message_of<ShapeError>([&] { (void)attention(x, x, x, {.heads = 4}); }) ==
        "attention: 6 channels cannot be cut into 4 heads");
  CHECK(message_of<ShapeError>([&] {
          (void)self_attention(numbers({2, 4, 7}, 2));
        }) == "self_attention: qkv has shape (2, 4, 7), but must be (B, tokens, 3 channels)");
  CHECK(message_of<ShapeError>([&] {
          (void)attention(x, numbers({2, 3, 6}, 2), numbers({2, 3, 6}, 2), {.causal = true});
        }) == "attention: causal attention of 4 queries to 3 keys, but they must be as many");
  AttentionSettings<Cpu> settings;
  keep_of(settings, {2, 3}, {1, 1, 1, 1, 1, 1});
  CHECK(message_of<ShapeError>([&] { (void)attention(x, x, x, settings); }) ==
        "attention: shape (2, 3) does not fit shape (2, 4, 6) (keep must be (B, keys))");
}
