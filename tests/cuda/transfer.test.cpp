// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/cuda.hpp>

using namespace meanflow;

namespace {

template <class X>
concept HasSpan = requires(const X& x) { x.span(); };
template <class X>
concept HasElements = requires(const X& x) { x[0]; };

static_assert(HasSpan<Tensor<float>> && HasElements<Tensor<float, Reference>>);
static_assert(!HasSpan<Tensor<float, Cuda>> && !HasElements<Tensor<float, Cuda>>);

std::vector<float> numbers_of(const Tensor<float, Cuda>& x) {
  const Tensor<float> there = to_host(x);
  return {there.span().begin(), there.span().end()};
}

}  // namespace

TEST_CASE("numbers go to the device and back") {
  auto x = Tensor<float>::from({2, 3}, {1, 2, 3, 4, 5, 6});
  const auto y = to_device<Cuda>(x);
  x[0] = 9;
  CHECK(y.shape() == Shape{2, 3});
  CHECK(numbers_of(y) == std::vector<float>{1, 2, 3, 4, 5, 6});
  CHECK(numbers_of(y.rows(1, 2)) == std::vector<float>{4, 5, 6});
  CHECK(numbers_of(Tensor<float, Cuda>::full({3}, 7)) == std::vector<float>{7, 7, 7});
  CHECK(numbers_of(Tensor<float, Cuda>::zeros({2})) == std::vector<float>{0, 0});
  CHECK(to_device<Cuda>(Tensor<float>{}).empty());
  CHECK(to_host(Tensor<float, Cuda>{}).empty());
}

TEST_CASE("a clone has numbers of its own, a copy does not") {
  auto x = Tensor<float, Cuda>::zeros({2});
  const auto same = x;
  const auto other = x.clone();
  fill(Cuda{}, 2, 1.0f, x.data());
  CHECK(numbers_of(same) == std::vector<float>{1, 1});
  CHECK(numbers_of(other) == std::vector<float>{0, 0});
  CHECK_FALSE(x.unique());
  CHECK(other.unique());
}

TEST_CASE("between devices of the host nothing is copied") {
  const auto x = Tensor<float>::zeros({2});
  const auto y = to_device<Reference>(x);
  CHECK(y.data() == x.data());
  CHECK(to_host(y).data() == x.data());
}

TEST_CASE("noise is that of the processor") {
  for (const std::size_t columns : {1, 2, 5, 300}) {
    const Tensor<float> expected = normal_noise({7, columns}, 3, 11);
    const Tensor<float> found = to_host(normal_noise<float, Cuda>({7, columns}, 3, 11));
    const Tensor<double> wide = normal_noise<double>({7, columns}, 3, 11);
    const Tensor<double> found_wide = to_host(normal_noise<double, Cuda>({7, columns}, 3, 11));
    for (std::size_t i = 0; i < expected.size(); ++i) {
      CHECK(found[i] == doctest::Approx(expected[i]).epsilon(1e-5));
      CHECK(found_wide[i] == doctest::Approx(wide[i]).epsilon(1e-12));
    }
  }
}

TEST_CASE("a step asks the device for little more than its arithmetic, and for one answer") {
  MeanFlowTrainer trainer(Mlp<float, Cuda>({.hidden = 16, .layers = 3}), {.batch = 32});
  const auto x = normal_noise<float, Cuda>({32, 2}, 1);
  trainer.step(x);
  kernels::cuda::Work& work = kernels::cuda::work();
  work = {};
  trainer.step(x);
  CHECK(work.transfers == 4);     // what changes from step to step in three, and the report
  CHECK(work.products == 4 + 7);  // four layers forward, and back but for the first's input
  CHECK(work.launches + work.copies < 80);
}

TEST_CASE("on a GPU a step that repeats itself is one launch, a bad batch or not") {
  if (!kernels::cuda::on_gpu) return;
  const auto trained = [](bool replay) {
    MeanFlowTrainer trainer(Mlp<float, Cuda>({.hidden = 16, .layers = 3}),
                            {.batch = 32, .replay = replay});
    const auto x = normal_noise<float, Cuda>({32, 2}, 1);
    for (int i = 0; i < 5; ++i) trainer.step(x);
    kernels::cuda::Work& work = kernels::cuda::work();
    work = {};
    trainer.step(x);
    CHECK((work.launches == 0) == replay);
    CHECK(trainer.recording().recordings == (replay ? 1 : 0));
    CHECK((trainer.recording().nodes > 20) == replay);
    CHECK(trainer.recording().why_not == "");
    CHECK_THROWS_AS(trainer.step(Tensor<float, Cuda>::full({32, 2}, INFINITY)), NonFiniteError);
    CHECK(trainer.steps_done() == 6);
    trainer.step(x);
    return numbers_of(trainer.net().parameters().values());
  };
  CHECK(trained(true) == trained(false));
}

TEST_CASE("on a GPU steps with jumps by chance are replayed as well") {
  MeanFlowTrainer trainer(
      Mlp<float, Cuda>({.hidden = 16, .layers = 3}), {.batch = 1024},
      Recipe<>{.times = {.jump_fraction = 0.75, .count = JumpCount::by_chance}});
  const auto x = normal_noise<float, Cuda>({1024, 2}, 1);
  for (int i = 0; i < 40; ++i) trainer.step(x);
  const auto recording = trainer.recording();
  if (!kernels::cuda::on_gpu) {
    CHECK(recording.why_not == "the device does not record its work");
    return;
  }
  CHECK(recording.why_not == "");
  CHECK(recording.recordings >= 1);
  CHECK(recording.recordings <= 4);
  CHECK(recording.replays >= 20);
}

TEST_CASE("on a GPU products of patches are what cuDNN computes") {
  if (!kernels::cuda::on_gpu) return;
  for (const auto& [in, out] : {std::pair{3, 64}, std::pair{64, 3}, std::pair{32, 32}}) {
    const ConvShape shape{.rows = 4,
                          .height = 16,
                          .width = 16,
                          .in = static_cast<std::size_t>(in),
                          .out = static_cast<std::size_t>(out),
                          .kernel = 3,
                          .stride = 1,
                          .padding = 1};
    const auto x = normal_noise<float, Cuda>({4, 16, 16, shape.in}, 1),
               g = normal_noise<float, Cuda>({4, 16, 16, shape.out}, 2),
               w = normal_noise<float, Cuda>({shape.out, shape.in, 3, 3}, 3);
    const auto same = [](const Tensor<float, Cuda>& a, const Tensor<float, Cuda>& b) {
      const auto found = numbers_of(a), expected = numbers_of(b);
      float largest = 0, difference = 0;
      for (std::size_t i = 0; i < expected.size(); ++i) {
        largest = std::max(largest, std::abs(expected[i]));
        difference = std::max(difference, std::abs(expected[i] - found[i]));
      }
      CHECK(difference < 1e-4F * largest);
    };
    const auto like = [](const auto& t) { return Tensor<float, Cuda>::zeros(t.shape()); };
    auto y = like(g), y2 = like(g), gx = like(x), gx2 = like(x), gw = like(w), gw2 = like(w);
    conv2d(Cuda{}, shape, x.data(), w.data(), y.data());
    kernels::cuda::forward<float>(shape, x.data(), w.data(), y2.data());
    same(y, y2);
    conv2d_backward_data(Cuda{}, shape, g.data(), w.data(), gx.data());
    kernels::cuda::backward_data<float>(shape, g.data(), w.data(), gx2.data());
    same(gx, gx2);
    conv2d_backward_weights(Cuda{}, shape, x.data(), g.data(), gw.data());
    kernels::cuda::backward_weights<float>(shape, x.data(), g.data(), gw2.data());
    same(gw, gw2);
  }
  for (const std::string& warning : kernels::warnings_so_far())
    CHECK(warning.find("cuDNN has no algorithm") == std::string::npos);
}

TEST_CASE("on a GPU convolutions of less precision are near those of float32, in every direction") {
  if (!kernels::cuda::on_gpu) return;
  const ConvShape shape{.rows = 2,
                        .height = 8,
                        .width = 8,
                        .in = 16,
                        .out = 32,
                        .kernel = 3,
                        .stride = 1,
                        .padding = 1};
  const auto x = normal_noise<float, Cuda>({2, 8, 8, 16}, 1),
             g = normal_noise<float, Cuda>({2, 8, 8, 32}, 2),
             w = normal_noise<float, Cuda>({32, 16, 3, 3}, 3);
  const auto in = [&](Precision precision) {
    const AutocastScope scope(precision, Cuda{});
    auto y = Tensor<float, Cuda>::zeros(g.shape()), gx = Tensor<float, Cuda>::zeros(x.shape()),
         gw = Tensor<float, Cuda>::zeros(w.shape());
    conv2d(Cuda{}, shape, x.data(), w.data(), y.data());
    conv2d_backward_data(Cuda{}, shape, g.data(), w.data(), gx.data());
    conv2d_backward_weights(Cuda{}, shape, x.data(), g.data(), gw.data());
    return std::array{numbers_of(y), numbers_of(gx), numbers_of(gw)};
  };
  const auto exact = in(Precision::float32);
  for (const Precision precision : {Precision::tf32, Precision::bfloat16}) {
    const auto rounded = in(precision);
    for (std::size_t k = 0; k < exact.size(); ++k) {
      float largest = 0, difference = 0;
      for (std::size_t i = 0; i < exact[k].size(); ++i) {
        largest = std::max(largest, std::abs(exact[k][i]));
        difference = std::max(difference, std::abs(exact[k][i] - rounded[k][i]));
      }
      CHECK(difference < 0.02F * largest);
      // What goes into these is rounded here; whether TF32 is used for so little is cuDNN's choice.
      if (precision == Precision::bfloat16 && k < 2) CHECK(difference > 0);
    }
  }
}
