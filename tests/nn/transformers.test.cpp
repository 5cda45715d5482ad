// SPDX-License-Identifier: MIT
// What the transformers promise beside what the parity program compares.
#include <cstdint>
#include <limits>
#include <tuple>
#include <vector>

#include <doctest/doctest.h>
#include <expect_op.hpp>

#include <meanflow/autodiff/check.hpp>
#include <meanflow/kernels/cpu/conv.hpp>
#include <meanflow/nn/dit.hpp>
#include <meanflow/nn/imf_transformer.hpp>
#include <meanflow/nn/net.hpp>
#include <meanflow/ops/reduce.hpp>

#include "nn/stirred.hpp"

using namespace meanflow;

static_assert(Net<DiT<float>> && Net<ImfTransformer<float>>);

using test::message_of;
using test::numbers;
using test::same_bits;
using test::stirred;
using test::Values;

namespace {

constexpr std::size_t rows = 2;

DiTSettings small_dit() {
  return {.input_size = 4,
          .patch_size = 2,
          .in_channels = 3,
          .hidden_size = 8,
          .depth = 2,
          .heads = 2,
          .classes = 3};
}

ImfTransformerSettings small_imf() {
  return {.input_size = 4,
          .patch_size = 2,
          .in_channels = 3,
          .hidden_size = 8,
          .depth = 2,
          .head_depth = 1,
          .heads = 2,
          .classes = 3,
          .class_tokens = 2,
          .omega_tokens = 1,
          .interval_tokens = 1,
          .time_tokens = 2};
}

struct Inputs {
  Values z = numbers({rows, 4, 4, 3}, 1), r = numbers({rows, 1}, 2, 0, 0.5),
         t = numbers({rows, 1}, 3, 0.5, 1);
};

/// u, its tangent along numbers, and the gradients of <g, u> by z and by all parameters.
template <class N>
std::vector<Values> everything(const N& net, const ConditionOf<N>& condition) {
  const Inputs in;
  using Twin = DualTensor<double>;
  Tape<double> tape;
  const auto flat = Values::zeros({net.parameters().flat_size()});
  tape.bind(net.parameters(), flat);
  const auto z = variable(tape, Twin(in.z, numbers({1, 4, 4, 3}, 4)));
  const auto u = net(z, Var(tape, Twin(in.r, numbers({1, 1}, 5))),
                     Var(tape, Twin(in.t, numbers({1, 1}, 6))), condition);
  tape.backward(u.node(), numbers(u.shape(), 7));
  return {u.value().buffer(), tape.take_gradient(z.node()), flat};
}

template <class N>
void expect_derivatives(const N& net, const ConditionOf<N>& condition) {
  const Inputs in;
  const std::tuple x(in.z, in.r, in.t);
  const std::tuple dx(numbers({rows, 4, 4, 3}, 4), numbers({rows, 1}, 5), numbers({rows, 1}, 6));
  const auto u = [&](const auto&... arguments) { return net(arguments..., condition); };
  CHECK(check_jvp(u, x, dx).error < 1e-6);
  CHECK(check_adjoint(u, x, dx, numbers({rows, 4, 4, 3}, 7)).error < 1e-12);
  const auto loss = [&](auto& tape) {
    return std::apply(
        [&](const auto&... v) {
          if constexpr (ImfNet<N>) {
            const auto heads = net.heads(Var(tape, v)..., condition);
            return sum(square(heads.u)) + sum(square(heads.v));
          } else {
            return sum(square(net(Var(tape, v)..., condition)));
          }
        },
        x);
  };
  const GradientCheck found = check_gradient(loss, net.parameters(), 2);
  CAPTURE(found.parameter);
  CAPTURE(found.gradient);
  CAPTURE(found.difference);
  CHECK(found.error < 1e-6);
}

LabelCondition<double> classes() { return {Tensor<std::int32_t>::from({rows}, {2, 0})}; }

GuidanceCondition<double> guided(double omega) {
  return {Tensor<std::int32_t>::from({rows}, {2, 0}), Values::full({rows, 1}, omega),
          Values::full({rows, 1}, 0.2), Values::full({rows, 1}, 0.9)};
}

/// Fails when it is called for the second time, that is in the backward pass.
struct Failing {
  int* calls;
  template <class X>
  X operator()(const X& x, const X& unused) const {
    (void)unused;
    const X y = square(x);
    if (++*calls == 2) throw Error("out of something");
    return y;
  }
};

}  // namespace

TEST_CASE("DiT has the published numbers of parameters") {
  const auto count = [](DiTSize size, std::size_t patch) {
    return parameter_count<DiT<float>>(dit_settings(size, patch));
  };
  CHECK(count(DiTSize::S, 4) == 33142336);
  CHECK(count(DiTSize::B, 4) == 131165248);
  CHECK(count(DiTSize::B, 2) == 131091472);
  CHECK(count(DiTSize::M, 2) == 308019216);
  CHECK(count(DiTSize::L, 2) == 459137040);
  CHECK(count(DiTSize::XL, 2) == 676440592);
}

TEST_CASE("ImfTransformer has the published numbers of parameters, in training and in sampling") {
  const auto millions = [](ImfSize size, bool v_head) {
    ImfTransformerSettings settings = imf_settings(size);
    settings.v_head = v_head;
    return static_cast<double>(parameter_count<ImfTransformer<float>>(settings)) * 1e-6;
  };
  const auto near = [](double value) { return doctest::Approx(value).epsilon(0.0005); };
  CHECK(millions(ImfSize::B, false) == near(88.95));
  CHECK(millions(ImfSize::B, true) == near(145.6));
  CHECK(millions(ImfSize::M, false) == near(173.9));
  CHECK(millions(ImfSize::M, true) == near(230.6));
  CHECK(millions(ImfSize::L, false) == near(409.1));
  CHECK(millions(ImfSize::L, true) == near(509.8));
  CHECK(millions(ImfSize::XL, false) == near(610.4));
  CHECK(millions(ImfSize::XL, true) == near(711.1));
}

TEST_CASE("transformers are differentiated") {
  expect_derivatives(stirred(DiT<double>(small_dit())), classes());
  expect_derivatives(stirred(ImfTransformer<double>(small_imf())), guided(3));
}

TEST_CASE("what is recomputed of values alone gives the same gradients, bit for bit") {
  const auto gradient = [](bool recompute) {
    DiTSettings settings = small_dit();
    settings.recompute = recompute;
    const auto net = stirred(DiT<double>(settings));
    const Inputs in;
    Tape<double> tape;
    const auto flat = Values::zeros({net.parameters().flat_size()});
    tape.bind(net.parameters(), flat);
    const auto u = net(Var(tape, in.z), Var(tape, in.r), Var(tape, in.t), classes());
    tape.backward(u.node(), numbers(u.shape(), 7));
    return flat;
  };
  CHECK(same_bits(gradient(true), gradient(false)));
}

TEST_CASE("what is recomputed in the backward pass gives the same gradients") {
  // Without the rows of tangents a BLAS may add in another order.
  const auto same = [](const std::vector<Values>& a, const std::vector<Values>& b) {
    REQUIRE(a.size() == b.size());
    for (std::size_t i = 0; i < a.size(); ++i) CHECK(test::relative_error(a[i], b[i]) <= 1e-13);
  };
  DiTSettings dit = small_dit();
  const auto kept = everything(stirred(DiT<double>(dit)), classes());
  dit.recompute = true;
  same(everything(stirred(DiT<double>(dit)), classes()), kept);
  ImfTransformerSettings imf = small_imf();
  const auto imf_kept = everything(stirred(ImfTransformer<double>(imf)), guided(3));
  imf.recompute = true;
  same(everything(stirred(ImfTransformer<double>(imf)), guided(3)), imf_kept);
}

TEST_CASE("what is recomputed is not kept, and nothing is recorded where nothing is learned") {
  const auto recorded = [](bool recompute, bool bound) {
    DiTSettings settings = small_dit();
    settings.recompute = recompute;
    const DiT<double> net(settings);
    const Inputs in;
    Tape<double> tape;
    if (bound) tape.bind(net.parameters(), Values::zeros({net.parameters().flat_size()}));
    (void)net(Var(tape, in.z), Var(tape, in.r), Var(tape, in.t), classes());
    return tape.size();
  };
  CHECK(recorded(true, true) < recorded(false, true) / 2);
  CHECK(recorded(true, false) == 0);
}

TEST_CASE("a part that fails while it is recomputed leaves nothing behind") {
  Tape<double> tape;
  const auto gradient = [&](int calls) {
    tape.clear();
    const auto x = variable(tape, numbers({2, 3}, 1)), other = variable(tape, numbers({2, 3}, 2));
    const auto y = recomputed(Failing{&calls}, x, other) + other;
    tape.backward(y.node(), numbers({2, 3}, 3));
    return tape.take_gradient(x.node());
  };
  const Values expected = gradient(5);
  CHECK_THROWS_AS((void)gradient(0), Error);
  CHECK(same_bits(gradient(5), expected));
}

TEST_CASE("a net that is built undrawn is not drawn, and one after it is") {
  const DiT<double> drawn(small_dit());
  {
    const Undrawn scope;
    const DiT<double> net(small_dit());
    CHECK(net.parameters().count() == drawn.parameters().count());
  }
  const DiT<double> again(small_dit());
  CHECK(same_bits(again.parameters().values(), drawn.parameters().values()));
}

TEST_CASE("transformers begin at zero, and without labels every row has the null class") {
  const Inputs in;
  const DiT<double> fresh(small_dit());
  for (const double value : fresh(in.z, in.r, in.t, classes()).span()) CHECK(value == 0);
  const auto dit = stirred(fresh);
  const LabelCondition<double> null{Tensor<std::int32_t>::full({rows}, 3)};
  CHECK(dit.null_class() == 3);
  CHECK(same_bits(dit(in.z, in.r, in.t, {}), dit(in.z, in.r, in.t, null)));
  const auto imf = stirred(ImfTransformer<double>(small_imf()));
  CHECK(same_bits(imf(in.z, in.r, in.t, {}),
                  imf(in.z, in.r, in.t,
                      {null.labels, Values::full({rows, 1}, 1), Values::full({rows, 1}, 0),
                       Values::full({rows, 1}, 1)})));
}

TEST_CASE("ImfTransformer embeds guidance times its frequency") {
  ImfTransformerSettings twice = small_imf();
  twice.guidance_frequency = 2;
  const auto net = stirred(ImfTransformer<double>(small_imf()));
  const auto scaled = stirred(ImfTransformer<double>(twice));
  const Inputs in;
  // 1 - 1 / omega is a half of 1/2, and the interval a half of [0.5, 1].
  const auto told = [&](const ImfTransformer<double>& of, double omega, double t_min,
                        double t_max) {
    return of(in.z, in.r, in.t,
              {{},
               Values::full({rows, 1}, omega),
               Values::full({rows, 1}, t_min),
               Values::full({rows, 1}, t_max)});
  };
  CHECK(same_bits(told(scaled, 4.0 / 3, 0.25, 0.5), told(net, 2, 0.5, 1)));
  CHECK(!same_bits(told(scaled, 2, 0.5, 1), told(net, 2, 0.5, 1)));
}

TEST_CASE("a DiT without classes takes none") {
  DiTSettings settings = small_dit();
  settings.classes = 0;
  const auto net = stirred(DiT<double>(settings));
  const Inputs in;
  CHECK(!net.null_class());
  CHECK(net(in.z, in.r, in.t, {}).shape() == in.z.shape());
  CHECK(message_of<ShapeError>([&] { (void)net(in.z, in.r, in.t, classes()); }) ==
        "DiT: its classes are 0, but labels were given");
}

TEST_CASE("ImfTransformer samples the same without the weights of its v head") {
  const auto whole = stirred(ImfTransformer<double>(small_imf()));
  ImfTransformerSettings settings = small_imf();
  settings.v_head = false;
  const ImfTransformer<double> half(settings);
  for (const ParameterEntry& entry : half.parameters().entries()) {
    const auto from = whole.parameters()[entry.name].tensor();
    auto to = half.parameters()[entry.name].tensor();
    for (std::size_t i = 0; i < to.size(); ++i) to[i] = from[i];
  }
  const Inputs in;
  CHECK(same_bits(half(in.z, in.r, in.t, guided(2)), whole(in.z, in.r, in.t, guided(2))));
  CHECK(same_bits(whole.heads(in.z, in.r, in.t, guided(2)).u, whole(in.z, in.r, in.t, guided(2))));
  CHECK(
      same_bits(whole.heads(in.z, in.t, in.t, guided(2)).v, whole.velocity(in.z, in.t, guided(2))));
  CHECK(message_of<SettingError>([&] { (void)half.velocity(in.z, in.t, guided(2)); }) ==
        "ImfTransformer: the net was built without its v head, which training needs");
}

TEST_CASE("transformers that cannot be built say why") {
  const auto of_dit = [](auto change) {
    DiTSettings settings = small_dit();
    change(settings);
    return message_of<SettingError>([&] { DiT<double>{settings}; });
  };
  CHECK(of_dit([](auto& s) { s.patch_size = 3; }) ==
        "DiT: input_size is 4, but must be divisible by patch_size, which is 3");
  CHECK(of_dit([](auto& s) { s.heads = 3; }) ==
        "DiT: hidden_size is 8, but must be divisible by heads, which is 3");
  CHECK(of_dit([](auto& s) { s.depth = 0; }) == "DiT: depth is 0, but must be at least 1");
  CHECK(of_dit([](auto& s) { s.hidden_size = 6; }) ==
        "DiT: hidden_size is 6, but must be divisible by 4 for the table of positions");
  const auto of_imf = [](auto change) {
    ImfTransformerSettings settings = small_imf();
    change(settings);
    return message_of<SettingError>([&] { ImfTransformer<double>{settings}; });
  };
  CHECK(of_imf([](auto& s) { s.head_depth = 3; }) ==
        "ImfTransformer: head_depth is 3, but must be at most depth, which is 2");
  CHECK(of_imf([](auto& s) { s.heads = 8; }) ==
        "ImfTransformer: a head has 1 channels, but they must be divisible by 2");
  CHECK(of_imf([](auto& s) { s.mlp_ratio = -1; }) ==
        "ImfTransformer: mlp_ratio is -1.000000, but must be finite and above 0");
  CHECK(of_dit([](auto& s) { s.mlp_ratio = 0.01; }) ==
        "DiT: mlp_ratio times hidden_size is 0, but must be at least 1");
  CHECK(of_imf([](auto& s) { s.guidance_frequency = 0; }) ==
        "ImfTransformer: guidance_frequency is 0.000000, but must be finite and above 0");
  CHECK(of_dit([](auto& s) { s.time_scale = std::numeric_limits<double>::infinity(); }) ==
        "DiT: time_scale is inf, but must be finite and above 0");
  const DiT<double> net(small_dit());
  const Inputs in;
  CHECK(message_of<ShapeError>([&] {
          (void)net(numbers({rows, 6, 4, 3}, 1), in.r, in.t, {});
        }) == "DiT: z has shape (2, 6, 4, 3), but must be (B, 4, 4, 3)");
}
