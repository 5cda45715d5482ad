// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <io/temporary_folder.hpp>
#include <train/thread_process.hpp>

#include <meanflow/data/image_source.hpp>
#include <meanflow/data/source.hpp>
#include <meanflow/nn/mlp.hpp>
#include <meanflow/train/checkpoint.hpp>
#include <meanflow/train/progress.hpp>
#include <meanflow/train/trainer.hpp>

using namespace meanflow;
using meanflow_test::TemporaryFolder;
using test::as_processes;
using test::ThreadProcess;

namespace {

constexpr std::size_t all_rows = 48;

using Parts =
    Recipe<MeanFlow, ConstantWeighting, LinearPath, LogitNormalTimes, Adam, ThreadProcess>;
using Trainer = MeanFlowTrainer<Mlp<>, Parts>;

Trainer make_trainer(ThreadProcess process, std::uint64_t steps, JumpCount count = JumpCount::exact,
                     std::uint64_t seed = 5) {
  LogitNormalTimes times{.jump_fraction = 0.7};
  times.count = count;
  return Trainer(Mlp<>({.hidden = 16, .layers = 2, .seed = 2}),
                 {.steps = steps,
                  .batch = all_rows,
                  .learning_rate = {.peak = 1e-3, .decay = Decay::constant},
                  .seed = seed},
                 Parts{.times = times, .communicator = process});
}

/// A source that keeps what it has given.
struct Kept {
  std::vector<float>& rows;  // of all batches, in the order of all processes' rows
  Toy2dSource source{Toy2d::rings};

  [[nodiscard]] Shape row_shape() const { return source.row_shape(); }
  void fill(Tensor<float>& x, std::uint64_t seed, std::uint64_t number) {
    source.fill(x, seed, number);
    std::copy_n(x.data(), x.size(), rows.data() + number * x.size());
  }
};

/// Counts what the root alone is told of.
struct Counting {
  static constexpr bool root_only = true;
  std::size_t& calls;

  template <class Trainer>
  void on_begin(Trainer&) {
    ++calls;
  }
  template <class Trainer>
  void on_step(Trainer&, const StepReport&) {
    ++calls;
  }
  template <class Trainer>
  void on_end(Trainer&) {
    ++calls;
  }
};

struct Course {
  std::vector<StepReport> reports;
  std::vector<float> rows;
  EvaluationReport held_out;
};

Course course(std::size_t processes, std::uint64_t steps, JumpCount count) {
  Course seen{.reports = {}, .rows = std::vector<float>(steps * all_rows * 2), .held_out = {}};
  const auto thrown = as_processes(processes, [&](ThreadProcess process) {
    auto trainer = make_trainer(process, steps, count);
    std::vector<StepReport> reports;
    trainer.fit(Kept{seen.rows}, [&](const StepReport& report) { reports.push_back(report); });
    const EvaluationReport held_out = trainer.evaluate(Toy2dSource{Toy2d::rings}, 3);
    if (process.rank() != 0) return;
    seen.reports = reports;
    seen.held_out = held_out;
  });
  for (const std::string& message : thrown) CHECK(message.empty());
  return seen;
}

/// The state of the root after `steps`, trained from the newest checkpoint in a folder if there is
/// one, and saved there.
Tensor<float> train_on(const std::filesystem::path& folder, std::size_t processes,
                       std::uint64_t steps) {
  Tensor<float> parameters;
  const auto thrown = as_processes(processes, [&](ThreadProcess process) {
    auto trainer = make_trainer(process, steps);
    // As if the other processes ran on machines that do not see the root's files.
    Checkpoints checkpoints({.folder = process.rank() == 0 ? folder : folder / "elsewhere"});
    checkpoints.resume(trainer);
    trainer.fit(Toy2dSource{Toy2d::rings}, checkpoints);
    if (process.rank() == 0) parameters = trainer.net().parameters().values().clone();
  });
  for (const std::string& message : thrown) CHECK(message.empty());
  return parameters;
}

double relative_difference(const Tensor<float>& a, const Tensor<float>& b) {
  double largest = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
    size = std::max(size, std::abs(static_cast<double>(a[i])));
  }
  return largest / size;
}

}  // namespace

TEST_CASE("several processes see the data, and take the steps, of one") {
  for (const JumpCount count : {JumpCount::exact, JumpCount::by_chance}) {
    const Course one = course(1, 200, count);
    for (const std::size_t processes : {2, 3, 4}) {
      const Course several = course(processes, 200, count);
      CHECK(several.rows == one.rows);
      REQUIRE(several.reports.size() == one.reports.size());
      for (std::size_t step = 0; step < one.reports.size(); ++step) {
        const StepReport &found = several.reports[step], &expected = one.reports[step];
        CHECK(found.jump_rows == expected.jump_rows);
        CHECK(found.loss == doctest::Approx(expected.loss).epsilon(1e-5));
        CHECK(found.metrics["jvp_norm"] ==
              doctest::Approx(expected.metrics["jvp_norm"]).epsilon(1e-4));
      }
      CHECK(several.held_out.rows == one.held_out.rows);
      CHECK(several.held_out.loss == doctest::Approx(one.held_out.loss).epsilon(1e-5));
    }
  }
}

TEST_CASE("several processes flip the pictures that one would flip") {
  ImageSet set;
  set.count = 10;
  set.height = set.width = 2;
  set.channels = 1;
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

TEST_CASE(
    "two processes have the gradient that one with all rows would have, and report its rows") {
  const Tensor<float> rows = normal_noise({all_rows, 2}, 9);
  struct Seen {
    Tensor<float> gradient;
    double norm = 0;
    std::vector<double> losses;
  };
  const auto step = [&](std::size_t processes) {
    std::vector<Seen> seen(processes);
    const std::size_t own = all_rows / processes;
    const auto thrown = as_processes(processes, [&](ThreadProcess process) {
      auto trainer = make_trainer(process, 1);
      const std::size_t first = process.rank() * own;
      const StepReport report = trainer.step(rows.rows(first, first + own));
      const auto losses = trainer.rows().loss();
      seen[process.rank()] = {
          trainer.gradient().clone(), report.gradient_norm, {losses.begin(), losses.end()}};
    });
    for (const std::string& message : thrown) CHECK(message.empty());
    return seen;
  };
  const Seen one = step(1)[0];
  const std::vector<Seen> two = step(2);
  for (std::size_t rank = 0; rank < 2; ++rank) {
    CHECK(relative_difference(one.gradient, two[rank].gradient) < 1e-5);
    CHECK(two[rank].norm == doctest::Approx(one.norm).epsilon(1e-5));
    for (std::size_t i = 0; i < all_rows / 2; ++i)
      CHECK(two[rank].losses[i] ==
            doctest::Approx(one.losses[rank * all_rows / 2 + i]).epsilon(1e-5));
  }
}

TEST_CASE("rows are reported in the order in which they were given") {
  for (const std::size_t row : {0, 1, 17, 47}) {
    Tensor<float> rows = normal_noise({all_rows, 2}, 9);
    const auto thrown = as_processes(1, [&](ThreadProcess process) {
      auto trainer = make_trainer(process, 1);
      rows.row(row)[0] = 1000;
      trainer.step(rows);
      const auto losses = trainer.rows().loss();
      CHECK(std::ranges::max_element(losses) - losses.begin() == static_cast<std::ptrdiff_t>(row));
    });
    CHECK(thrown[0].empty());
  }
}

TEST_CASE("what is for the root alone hears of nothing in other processes") {
  std::vector<std::size_t> calls(3);
  const auto thrown = as_processes(3, [&](ThreadProcess process) {
    make_trainer(process, 2).fit(Toy2dSource{Toy2d::rings}, Counting{calls[process.rank()]});
  });
  for (const std::string& message : thrown) CHECK(message.empty());
  CHECK(calls == std::vector<std::size_t>{4, 0, 0});
  static_assert(ProgressBar::root_only && Checkpoints::root_only);
}

TEST_CASE("a batch that processes cannot share is refused") {
  for (const std::string& message : as_processes(5, [](ThreadProcess process) {
         make_trainer(process, 1).fit(Toy2dSource{Toy2d::rings});
       }))
    CHECK(message == "batch is 48, but must be a multiple of the number of processes, 5");
}

TEST_CASE("a number that is not finite stops all processes in the same step") {
  const auto thrown = as_processes(3, [](ThreadProcess process) {
    auto trainer = make_trainer(process, 3);
    Tensor<float> rows = normal_noise({all_rows / 3, 2}, process.rank());
    trainer.step(rows);
    const Tensor<float> before = trainer.net().parameters().values().clone();
    if (process.rank() == 1) rows[5] = std::numeric_limits<float>::quiet_NaN();
    CHECK_THROWS_AS(trainer.step(rows), NonFiniteError);
    CHECK(trainer.steps_done() == 1);
    CHECK(relative_difference(before, trainer.net().parameters().values()) == 0);
  });
  for (const std::string& message : thrown) CHECK(message.empty());
}

TEST_CASE("what one process fails in ends all of them, and the root saves what was reached") {
  struct Broken {
    std::size_t rank;
    [[nodiscard]] Shape row_shape() const { return {2}; }
    void fill(Tensor<float>& x, std::uint64_t seed, std::uint64_t number) const {
      if (rank == 2 && number / 3 == 4) throw std::runtime_error("no more rows");
      Toy2dSource{Toy2d::rings}.fill(x, seed, number);
    }
  };
  const TemporaryFolder folder;
  const auto thrown = as_processes(3, [&](ThreadProcess process) {
    auto trainer = make_trainer(process, 10);
    Checkpoints checkpoints({.folder = folder.path()});
    trainer.fit(Broken{process.rank()}, checkpoints);
  });
  CHECK(thrown[2] == "no more rows");
  CHECK(thrown[0] == "process 2 of 3 failed: no more rows");
  CHECK(thrown[1] == thrown[0]);
  CHECK(latest_checkpoint(folder.path()) == checkpoint_path(folder.path(), 4));
}

TEST_CASE("a callback that fails, or stops, in one process ends all after the same step") {
  for (const bool fails : {false, true}) {
    std::vector<std::uint64_t> done(4);
    const auto thrown = as_processes(4, [&](ThreadProcess process) {
      auto trainer = make_trainer(process, 10);
      try {
        trainer.fit(Toy2dSource{Toy2d::rings}, [&](const StepReport& report) {
          const bool here = process.rank() == 3 && report.step == 6;
          if (here && fails) throw std::runtime_error("enough");
          return here;
        });
      } catch (...) {
        done[process.rank()] = trainer.steps_done();
        throw;
      }
      done[process.rank()] = trainer.steps_done();
    });
    CHECK(done == std::vector<std::uint64_t>(4, 7));
    CHECK(thrown[0] == (fails ? "process 3 of 4 failed: enough" : ""));
    CHECK(thrown[3] == (fails ? "enough" : ""));
  }
}

TEST_CASE("processes whose settings differ do not begin") {
  const auto thrown = as_processes(3, [](ThreadProcess process) {
    const std::uint64_t seed = process.rank() == 1 ? 7 : 5;
    make_trainer(process, 3, JumpCount::exact, seed).fit(Toy2dSource{Toy2d::rings});
  });
  CHECK(thrown[1] == "seed is \"7\", but \"5\" in the root");
  CHECK(thrown[0] == "process 1 of 3 failed: " + thrown[1]);
  CHECK(thrown[2] == thrown[0]);
}

TEST_CASE("what two processes have begun, three go on with") {
  const TemporaryFolder undisturbed, folder;
  const Tensor<float> expected = train_on(undisturbed.path(), 1, 30);
  train_on(folder.path(), 2, 12);
  train_on(folder.path(), 3, 20);
  CHECK(relative_difference(expected, train_on(folder.path(), 4, 30)) < 1e-4);
  CHECK_FALSE(latest_checkpoint(folder.path() / "elsewhere"));
}
