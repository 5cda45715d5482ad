// SPDX-License-Identifier: MIT
// Checkpoints of every optimizer, one that keeps nothing among them.
#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <string>

#include <doctest/doctest.h>
#include <io/temporary_folder.hpp>

#include <meanflow/data/source.hpp>
#include <meanflow/nn/mlp.hpp>
#include <meanflow/optim/muon.hpp>
#include <meanflow/optim/sgd.hpp>
#include <meanflow/train/checkpoint.hpp>

using namespace meanflow;
using meanflow_test::TemporaryFolder;

namespace {

/// Steps of one length along the gradient's sign: it remembers nothing.
struct SignDescent {
  static constexpr std::array<const char*, 0> state{};
  template <class T>
  struct Numbers {
    T rate;
  };
  template <class T>
  [[nodiscard]] Numbers<T> numbers(const StepRates& rates) const {
    return {T(rates.learning_rate)};
  }
  template <class T, class V>
  static void update(const Numbers<T>& n, const V& g, V& p) {
    const V step = select(g > V(0), V(n.rate), V(-n.rate));
    p = p - select(g == V(0), V(0), step);
  }
};

template <class Optimizer>
auto make_trainer(std::uint64_t steps, Optimizer optimizer = {}) {
  using R = Recipe<MeanFlow, ConstantWeighting, LinearPath, LogitNormalTimes, Optimizer>;
  return MeanFlowTrainer(
      Mlp<>({.hidden = 16, .layers = 2, .seed = 2}),
      {.steps = steps, .batch = 32, .learning_rate = {.decay = Decay::constant}, .seed = 5},
      R{.optimizer = optimizer});
}

const Toy2dSource data{Toy2d::rings};

bool same_bits(const Tensor<float>& a, const Tensor<float>& b) {
  return std::ranges::equal(std::as_bytes(a.span()), std::as_bytes(b.span()));
}

}  // namespace

TEST_CASE_TEMPLATE("every optimizer resumes bit for bit", Optimizer, Adam, Sgd, Muon, SignDescent) {
  const TemporaryFolder folder;
  auto whole = make_trainer<Optimizer>(8);
  whole.fit(data);
  auto first = make_trainer<Optimizer>(4);
  first.fit(data);
  save_checkpoint(folder / "c.safetensors", first);
  auto second = make_trainer<Optimizer>(8);
  load_checkpoint(folder / "c.safetensors", second);
  CHECK(second.steps_done() == 4);
  second.fit(data);
  CHECK(same_bits(second.net().parameters().values(), whole.net().parameters().values()));
  CHECK_FALSE(same_bits(first.net().parameters().values(), whole.net().parameters().values()));
}

TEST_CASE("a checkpoint of another optimizer is refused by name") {
  const TemporaryFolder folder;
  auto muon = make_trainer<Muon>(2);
  muon.fit(data);
  save_checkpoint(folder / "c.safetensors", muon);
  auto sgd = make_trainer<Sgd>(2);
  std::string message;
  try {
    load_checkpoint(folder / "c.safetensors", sgd);
  } catch (const FileError& error) {
    message = error.what();
  }
  CHECK(message.find("optimizer 'Muon{momentum: 0.95") != std::string::npos);
  CHECK(message.find("'Sgd{") != std::string::npos);
}
