// SPDX-License-Identifier: MIT
#include <atomic>
#include <barrier>
#include <cstddef>
#include <thread>
#include <vector>

#include <doctest/doctest.h>
#include <omp.h>

#include <meanflow/data/image_source.hpp>
#include <meanflow/data/source.hpp>
#include <meanflow/nn/mlp.hpp>
#include <meanflow/train/trainer.hpp>

using namespace meanflow;

namespace {

/// What threads that stand for processes share.
template <class T>
struct Meeting {
  explicit Meeting(std::size_t size) : values(size), barrier(static_cast<std::ptrdiff_t>(size)) {}
  std::vector<Tensor<T>> values;
  std::barrier<> barrier;
};

/// A process that is a thread.
template <class T>
struct ThreadProcess {
  std::size_t number = 0;
  Meeting<T>* meeting = nullptr;

  [[nodiscard]] std::size_t size() const { return meeting->values.size(); }
  [[nodiscard]] std::size_t rank() const { return number; }
  void all_reduce(Tensor<T>& values) const {
    meeting->values[number] = values.clone();
    meeting->barrier.arrive_and_wait();
    fill(Cpu{}, values.size(), T(0), values.data());
    for (const Tensor<T>& part : meeting->values)
      accumulate(Cpu{}, part.size(), part.data(), values.data());
    meeting->barrier.arrive_and_wait();
  }
};

/// f(communicator) on a thread for each of `count` processes.
template <class T, class F>
void as_processes(std::size_t count, F f) {
  Meeting<T> meeting(count);
  std::vector<std::jthread> processes;
  for (std::size_t rank = 0; rank < count; ++rank)
    processes.emplace_back([&, rank] {
      omp_set_num_threads(1);
      f(ThreadProcess<T>{rank, &meeting});
    });
}

/// A source that keeps what it has given.
template <class Source>
struct Kept {
  Source source;
  std::vector<float>* rows;  ///< of all batches, in the order of all processes' rows
  std::size_t row_size;

  [[nodiscard]] Shape row_shape() const { return source.row_shape(); }
  void fill(Tensor<float>& x, std::uint64_t seed, std::uint64_t number) {
    source.fill(x, seed, number);
    std::copy_n(x.data(), x.size(), rows->data() + number * x.size());
  }
};

constexpr std::size_t all_rows = 48;

struct Course {
  std::vector<double> losses;      ///< the mean of all processes, step by step
  std::vector<float> rows;         ///< of data, as they were given
  std::vector<std::size_t> jumps;  ///< rows with r < t, step by step
};

[[nodiscard]] Course course(std::size_t processes, std::uint64_t steps, JumpCount count) {
  Course all{std::vector<double>(steps), std::vector<float>(steps * all_rows * 2),
             std::vector<std::size_t>(steps)};
  std::vector<std::vector<StepReport>> reports(processes);
  as_processes<float>(processes, [&](ThreadProcess<float> communicator) {
    LogitNormalTimes times{.jump_fraction = 0.7};
    times.count = count;
    using R = Recipe<MeanFlow, ConstantWeighting, LinearPath, LogitNormalTimes, Adam,
                     ThreadProcess<float>>;
    MeanFlowTrainer<Mlp<>, R> trainer(
        Mlp<>({.hidden = 16, .layers = 2, .seed = 2}),
        {.steps = steps, .batch = all_rows / processes, .learning_rate = {.peak = 1e-3}},
        R{.times = times, .communicator = communicator});
    auto& own = reports[communicator.rank()];
    trainer.fit(Kept<Toy2dSource>{{Toy2d::rings}, &all.rows, 2},
                [&](const StepReport& report) { own.push_back(report); });
  });
  for (const auto& of_process : reports)
    for (std::uint64_t step = 0; step < steps; ++step) {
      all.losses[step] += of_process[step].loss / static_cast<double>(processes);
      all.jumps[step] += of_process[step].jump_rows;
    }
  return all;
}

}  // namespace

TEST_CASE("several processes see the data, and take the steps, of one") {
  for (const JumpCount count : {JumpCount::exact, JumpCount::by_chance}) {
    const Course one = course(1, 200, count);
    for (const std::size_t processes : {2, 3, 4}) {
      const Course several = course(processes, 200, count);
      CHECK(several.rows == one.rows);
      CHECK(several.jumps == one.jumps);
      for (std::size_t step = 0; step < one.losses.size(); ++step)
        CHECK(several.losses[step] == doctest::Approx(one.losses[step]).epsilon(1e-5));
    }
  }
}

TEST_CASE("several processes flip the pictures that one would flip") {
  ImageSet set{.count = 10, .height = 2, .width = 2, .channels = 1};
  for (std::size_t i = 0; i < 40; ++i) set.pixels.push_back(static_cast<std::uint8_t>(i));
  const auto batch = [&](std::size_t rows, std::uint64_t number) {
    ImageSource source(set);
    Tensor<float> x({rows, 2, 2, 1});
    source.fill(x, 5, number);
    return x;
  };
  const Tensor<float> one = batch(12, 3);
  for (std::size_t rank = 0; rank < 3; ++rank) {
    const Tensor<float> part = batch(4, 3 * 3 + rank);
    CHECK(std::equal(part.data(), part.data() + part.size(), one.row(4 * rank)));
  }
}
