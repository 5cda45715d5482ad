// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <io/temporary_folder.hpp>
#include <train/difference.hpp>
#include <train/failing.hpp>
#include <train/thread_process.hpp>

#include <meanflow/data/image_source.hpp>
#include <meanflow/data/point_set.hpp>
#include <meanflow/data/source.hpp>
#include <meanflow/flow/guidance.hpp>
#include <meanflow/nn/mlp.hpp>
#include <meanflow/nn/song_unet.hpp>
#include <meanflow/train/any_communicator.hpp>
#include <meanflow/train/checkpoint.hpp>
#include <meanflow/train/early_stopping.hpp>
#include <meanflow/train/exact_sums.hpp>
#include <meanflow/train/progress.hpp>
#include <meanflow/train/sharing.hpp>
#include <meanflow/train/trainer.hpp>

using namespace meanflow;
using meanflow_test::TemporaryFolder;
using test::as_processes;
using test::FailsOnTheWayBack;
using test::Meeting;
using test::OverlappingProcess;
using test::relative_difference;
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

/// Fails in one process before the others evaluate together.
struct EvaluatesInOthers {
  std::size_t rank;

  void on_step(Trainer& trainer, const StepReport& report) const {
    if (report.step != 2) return;
    if (rank == 1) throw std::runtime_error("not here");
    static_cast<void>(trainer.evaluate(Toy2dSource{Toy2d::rings}, 2));
  }
};

struct EvaluatesAlone {
  static constexpr bool root_only = true;

  void on_step(Trainer& trainer, const StepReport&) const {
    static_cast<void>(trainer.evaluate(Toy2dSource{Toy2d::rings}));
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

TEST_CASE("parts of the gradient are added up while the backward pass goes on") {
  using Overlapping =
      Recipe<MeanFlow, ConstantWeighting, LinearPath, LogitNormalTimes, Adam, OverlappingProcess>;
  const auto train = [](std::size_t processes, std::size_t bucket, int threads,
                        std::size_t bad_row = all_rows) {
    std::vector<double> losses;
    CommunicationReport communication;
    const auto thrown = as_processes(processes, [&](ThreadProcess process) {
      omp_set_num_threads(threads);
      MeanFlowTrainer<Mlp<>, Overlapping> trainer(
          Mlp<>({.hidden = 16, .layers = 4, .seed = 2}),
          {.batch = all_rows, .seed = 5, .tile_rows = 6, .bucket = bucket},
          Overlapping{.communicator = OverlappingProcess(process)});
      const std::size_t own = all_rows / processes, first = process.rank() * own;
      for (std::uint64_t step = 0; step < 20; ++step) {
        Tensor<float> rows = normal_noise({all_rows, 2}, step);
        if (step == 10 && bad_row < all_rows)
          rows.row(bad_row)[0] = std::numeric_limits<float>::infinity();
        const StepReport report = trainer.step(rows.rows(first, first + own));
        if (process.rank() == 0) losses.push_back(report.loss);
      }
      if (process.rank() == 0) communication = trainer.communication();
    });
    for (const std::string& message : thrown)
      CHECK((bad_row < all_rows) == (message.find("not finite") != std::string::npos));
    return std::pair{losses, communication};
  };
  const auto [one, alone] = train(1, 100, 1);
  CHECK(one.size() == 20);
  CHECK(alone.buckets == 0);
  for (const std::size_t processes : {2, 4})
    for (const int threads : {1, 2}) {
      const auto [several, communication] = train(processes, 100, threads);
      CHECK(communication.buckets == 4);
      REQUIRE(communication.sums.size() == 4);
      std::size_t sent = 0;
      double last = 0;
      for (const SumReport& sum : communication.sums) {
        CHECK(last <= sum.sent);
        CHECK(sum.sent <= sum.arrived);
        sent += sum.numbers;
        last = sum.sent;
      }
      CHECK(sent == Mlp<>({.hidden = 16, .layers = 4}).parameters().flat_size());
      CHECK(communication.backward <= last);
      // Of several threads, the one that talks to other processes may be the last one.
      if (threads == 1) CHECK(communication.early == 3);
      REQUIRE(several.size() == one.size());
      for (std::size_t step = 0; step < one.size(); ++step)
        CHECK(several[step] == doctest::Approx(one[step]).epsilon(1e-5));
      CHECK(train(processes, 0, threads).second.buckets == 0);
      CHECK(train(processes, 100, threads, 7).first.size() == 10);
    }
}

TEST_CASE("a process that fails on its way back ends those that wait for its gradient") {
  using Overlapping = Recipe<FailsOnTheWayBack, ConstantWeighting, LinearPath, LogitNormalTimes,
                             Adam, OverlappingProcess>;
  const auto thrown = as_processes(3, [](ThreadProcess process) {
    MeanFlowTrainer<Mlp<>, Overlapping> trainer(
        Mlp<>({.hidden = 16, .layers = 2, .seed = 2}),
        {.steps = 5, .batch = all_rows, .bucket = 100},
        Overlapping{.objective = {.rank = process.rank()},
                    .communicator = OverlappingProcess(process)});
    trainer.fit(Toy2dSource{Toy2d::rings});
  });
  CHECK(thrown[1] == "the way back is closed");
  CHECK(thrown[0] == "process 1 of 3 failed: the way back is closed");
  CHECK(thrown[2] == thrown[0]);
}

TEST_CASE("deterministic: the same bits for any number of processes and threads") {
  const auto state = [](std::size_t processes, int threads) {
    std::vector<double> losses;
    Tensor<float> parameters;
    const auto thrown = as_processes(processes, [&](ThreadProcess process) {
      omp_set_num_threads(threads);
      LogitNormalTimes times{.jump_fraction = 0.7};
      Trainer trainer(Mlp<>({.hidden = 16, .layers = 2, .seed = 2}),
                      {.steps = 60,
                       .batch = all_rows,
                       .learning_rate = {.peak = 1e-3, .decay = Decay::constant},
                       .clip_norm = 1,
                       .seed = 5,
                       .tile_rows = 4,
                       .deterministic = true},
                      Parts{.times = times, .communicator = process});
      std::vector<double> own;
      trainer.fit(Toy2dSource{Toy2d::rings}, [&](const StepReport& report) {
        own.push_back(report.loss);
        own.push_back(report.metrics["jvp_norm"]);
        own.push_back(report.gradient_norm);
      });
      if (process.rank() != 0) return;
      losses = own;
      parameters = trainer.net().parameters().values().clone();
    });
    for (const std::string& message : thrown) CHECK(message == "");
    return std::pair{losses, parameters};
  };
  const auto [losses, parameters] = state(1, 1);
  for (const auto& [processes, threads] : {std::pair{1, 2}, {2, 1}, {3, 2}, {4, 1}, {6, 1}}) {
    const auto [found, values] = state(static_cast<std::size_t>(processes), threads);
    CHECK(found == losses);
    CHECK(std::ranges::equal(values.span(), parameters.span()));
  }
  // And what it computes is the gradient.
  const Course usual = course(1, 60, JumpCount::exact);
  for (std::size_t step = 0; step < 60; ++step)
    CHECK(losses[3 * step] == doctest::Approx(usual.reports[step].loss).epsilon(1e-2));
  const auto thrown = as_processes(2, [](ThreadProcess process) {
    Trainer trainer(Mlp<>({.hidden = 16}),
                    {.batch = all_rows, .tile_rows = 5, .deterministic = true},
                    Parts{.communicator = process});
    trainer.fit(Toy2dSource{Toy2d::rings});
  });
  CHECK(thrown[0] ==
        "deterministic is set: each process has 24 rows, but must have a multiple of tile_rows, 5");
}

TEST_CASE("exact sums do not depend on the order of their terms") {
  const Tensor<float> terms = normal_noise({1000}, 4);
  const auto sum = [&](bool backwards) {
    detail::ExactSums sums(2);
    double expected = 0;
    for (std::size_t i = 0; i < terms.size(); ++i) {
      const double term = 1e-3 * static_cast<double>(terms[backwards ? terms.size() - 1 - i : i]);
      sums.add(1, term);
      expected += term;
    }
    std::vector<double> found(2);
    sums.give(std::span<double>(found));
    CHECK(found[0] == 0);
    CHECK(found[1] == doctest::Approx(expected).epsilon(1e-13));
    return found[1];
  };
  CHECK(sum(false) == sum(true));
  detail::ExactSums sums(1);
  sums.add(0, 1e9);
  std::vector<double> found(1);
  sums.give(std::span<double>(found));
  CHECK(std::isnan(found[0]));
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
  static_assert(ProgressBar::root_only);
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

/// A source that one of three processes cannot read on from.
struct BrokenInOne {
  std::size_t rank;
  [[nodiscard]] Shape row_shape() const { return {2}; }
  void fill(Tensor<float>& x, std::uint64_t seed, std::uint64_t number) const {
    if (rank == 2 && number / 3 == 4) throw std::runtime_error("no more rows");
    Toy2dSource{Toy2d::rings}.fill(x, seed, number);
  }
};

template <class Process>
void expect_end_of_all() {
  using Own = Recipe<MeanFlow, ConstantWeighting, LinearPath, LogitNormalTimes, Adam, Process>;
  const TemporaryFolder folder;
  const auto thrown = as_processes(3, [&](ThreadProcess process) {
    MeanFlowTrainer<Mlp<>, Own> trainer(Mlp<>({.hidden = 16, .layers = 2, .seed = 2}),
                                        {.steps = 10, .batch = all_rows, .bucket = 100},
                                        Own{.communicator = Process(process)});
    Checkpoints checkpoints({.folder = folder.path()});
    trainer.fit(BrokenInOne{process.rank()}, checkpoints);
  });
  CHECK(thrown[2] == "no more rows");
  CHECK(thrown[0] == "process 2 of 3 failed: no more rows");
  CHECK(thrown[1] == thrown[0]);
  CHECK(latest_checkpoint(folder.path()) == checkpoint_path(folder.path(), 4));
}

TEST_CASE("what one process fails in ends all of them, and the root saves what was reached") {
  expect_end_of_all<ThreadProcess>();
  expect_end_of_all<OverlappingProcess>();
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

TEST_CASE("processes tell each other of failures, whatever each is about to say") {
  // One fails in a batch that all evaluate.
  struct Broken {
    std::size_t rank;
    [[nodiscard]] Shape row_shape() const { return {2}; }
    void fill(Tensor<float>& x, std::uint64_t seed, std::uint64_t number) const {
      if (rank == 1) throw 17;  // NOLINT: not a std::exception
      Toy2dSource{Toy2d::rings}.fill(x, seed, number);
    }
  };
  auto thrown = as_processes(3, [](ThreadProcess process) {
    make_trainer(process, 4).fit(Toy2dSource{Toy2d::rings}, EvaluatesInOthers{process.rank()});
  });
  CHECK(thrown[1] == "not here");
  CHECK(thrown[0] == "process 1 of 3 failed: not here");
  CHECK(thrown[2] == thrown[0]);
  thrown = as_processes(3, [](ThreadProcess process) {
    try {
      static_cast<void>(make_trainer(process, 4).evaluate(Broken{process.rank()}));
    } catch (const int&) {
    }
  });
  CHECK(thrown[0] == "process 1 of 3 failed: an exception that is not a std::exception");
  CHECK(thrown[1].empty());
}

TEST_CASE("a failure alone is not taken for one that others have heard of") {
  const auto thrown = as_processes(2, [](ThreadProcess process) {
    Meeting alone(1);
    auto trainer = make_trainer({0, &alone}, 3);
    const auto bad = Tensor<float>::full({4, 2}, std::numeric_limits<float>::infinity());
    CHECK_THROWS_AS(trainer.step(bad), NonFiniteError);
    in_all(process, [&] {
      if (process.rank() == 1) throw std::runtime_error("not here");
    });
  });
  CHECK(thrown[0] == "process 1 of 2 failed: not here");
  CHECK(thrown[1] == "not here");
}

TEST_CASE("a callback may meet the others by itself, after another has failed too") {
  const auto thrown = as_processes(3, [](ThreadProcess process) {
    const auto fails = [&](const StepReport& report) {
      if (report.step == 1 && process.rank() == 1) throw std::runtime_error("not here");
    };
    const auto meets = [&](const StepReport&) { by_root(process, [] {}); };
    make_trainer(process, 4).fit(Toy2dSource{Toy2d::rings}, fails, meets);
  });
  CHECK(thrown[1] == "not here");
  CHECK(thrown[0] == "process 1 of 3 failed: not here");
  CHECK(thrown[2] == thrown[0]);
}

TEST_CASE("a checkpoint that the root cannot read ends all processes") {
  const TemporaryFolder folder;
  const auto path = checkpoint_path(folder.path(), 7);
  std::ofstream(path) << "nothing";
  const auto thrown = as_processes(3, [&](ThreadProcess process) {
    auto trainer = make_trainer(process, 4);
    Checkpoints({.folder = folder.path()}).resume(trainer);
  });
  CHECK(thrown[0].find(path.string()) != std::string::npos);
  CHECK(thrown[1] == "process 0 of 3 failed: " + thrown[0]);
  CHECK(thrown[2] == thrown[1]);
}

TEST_CASE("what all processes have to do together is refused to a callback of the root alone") {
  const auto thrown = as_processes(2, [](ThreadProcess process) {
    make_trainer(process, 4).fit(Toy2dSource{Toy2d::rings}, EvaluatesAlone{});
  });
  CHECK(thrown[0] ==
        "evaluate: all processes have to call it, but a callback that is root_only did");
  CHECK(thrown[1] == "process 0 of 2 failed: " + thrown[0]);
}

TEST_CASE("processes take a step on as many rows") {
  const auto thrown = as_processes(3, [](ThreadProcess process) {
    auto trainer = make_trainer(process, 4);
    trainer.step(normal_noise({process.rank() == 2 ? std::size_t{8} : std::size_t{6}, 2}, 3));
  });
  CHECK(thrown[0] == "step: this process has 6 rows, but others have other numbers of rows");
  CHECK(thrown[2] == "step: this process has 8 rows, but others have other numbers of rows");
}

TEST_CASE("EarlyStopping ends all processes at the step at which it ends one") {
  const auto stopped_at = [](std::size_t processes) {
    std::vector<std::uint64_t> done(processes);
    const auto thrown = as_processes(processes, [&](ThreadProcess process) {
      auto trainer = make_trainer(process, 60);
      trainer.fit(Toy2dSource{Toy2d::rings},
                  EarlyStopping(Toy2dSource{Toy2d::rings},
                                {.every = 3, .patience = 2, .min_improvement = 0.05}));
      done[process.rank()] = trainer.steps_done();
    });
    for (const std::string& message : thrown) CHECK(message.empty());
    CHECK(std::ranges::count(done, done[0]) == static_cast<std::ptrdiff_t>(processes));
    return done[0];
  };
  const std::uint64_t one = stopped_at(1);
  CHECK(one < 60);
  CHECK(stopped_at(3) == one);
}

TEST_CASE("accumulated, clipped gradients and dropped labels are those of one process") {
  // Labelled pictures, a net with dropout, guidance in the target: all that draws numbers.
  const auto losses = [](std::size_t processes) {
    std::vector<double> seen;
    const auto thrown = as_processes(processes, [&](ThreadProcess process) {
      ImageSet set;
      set.count = 40;
      set.height = set.width = 8;
      set.channels = 1;
      for (std::size_t i = 0; i < 40 * 64; ++i)
        set.pixels.push_back(static_cast<std::uint8_t>((7 * i) % 251));
      for (std::int32_t i = 0; i < 40; ++i) set.labels.push_back(i % 3);
      set.classes = 3;
      using Pictures = Recipe<Guided<MeanFlow>, AdaptiveWeighting, LinearPath, LogitNormalTimes,
                              Adam, ThreadProcess>;
      MeanFlowTrainer<SongUNet<>, Pictures> trainer(
          SongUNet<>({.resolution = 8,
                      .in_channels = 1,
                      .out_channels = 1,
                      .augmentation = AugmentPipe{}.label_count(),
                      .classes = 3,
                      .dropout = 0.2,
                      .model_channels = 4,
                      .channel_mult = {1, 2},
                      .blocks = 1,
                      .attention_resolutions = {},
                      .seed = 3}),
          {.steps = 6,
           .batch = 12,
           .gradient_accumulation = 2,
           .learning_rate = {.peak = 1e-3, .decay = Decay::constant},
           .clip_norm = 0.5,
           .condition_dropout = {.rate = 0.25},
           .seed = 5},
          Pictures{.objective = {.guidance = {.omega = 2, .kappa = 0.3}}, .communicator = process});
      ImageSource source(set, {.augment = AugmentPipe{}});
      trainer.fit(source, [&](const StepReport& report) {
        if (process.rank() == 0) seen.push_back(report.loss);
      });
    });
    for (const std::string& message : thrown) CHECK(message == "");
    return seen;
  };
  const std::vector<double> one = losses(1);
  CHECK(one.size() == 6);
  for (const std::size_t processes : {2, 4}) {
    const std::vector<double> several = losses(processes);
    REQUIRE(several.size() == one.size());
    for (std::size_t step = 0; step < one.size(); ++step)
      CHECK(several[step] == doctest::Approx(one[step]).epsilon(2e-5));
  }
}

TEST_CASE("rows are shared out and gathered") {
  const auto thrown = as_processes(4, [](ThreadProcess process) {
    Tensor<float> rows({10, 3});
    const RowShare share = row_share(process, 10);
    for (std::size_t i = share.first; i < share.end; ++i)
      for (std::size_t c = 0; c < 3; ++c) rows.row(i)[c] = static_cast<float>(10 * i + c);
    gather_rows(process, rows);
    for (std::size_t i = 0; i < 10; ++i) CHECK(rows.row(i)[2] == static_cast<float>(10 * i + 2));
  });
  for (const std::string& message : thrown) CHECK(message.empty());
}

TEST_CASE("a communicator that is chosen at run time is the one that it holds") {
  const auto sum = [](auto communicator) {
    Tensor<float> values = Tensor<float>::full({3}, static_cast<float>(communicator.rank() + 1));
    communicator.all_reduce(values);
    std::uint64_t number = communicator.rank() + 17;
    communicator.broadcast({reinterpret_cast<char*>(&number), sizeof number},
                           communicator.size() - 1);
    return std::pair{values[2], number};
  };
  CHECK(sum(AnyCommunicator{}) == std::pair{1.0F, std::uint64_t{17}});
  const auto thrown = as_processes(3, [&](ThreadProcess process) {
    CHECK(sum(AnyCommunicator(process)) == std::pair{6.0F, std::uint64_t{19}});
  });
  for (const std::string& message : thrown) CHECK(message.empty());
}

TEST_CASE("processes whose parameters or data differ do not begin") {
  const auto thrown = as_processes(2, [](ThreadProcess process) {
    auto trainer = make_trainer(process, 3);
    if (process.rank() == 1) trainer.net().parameters().values()[3] += 1;
    trainer.fit(Toy2dSource{Toy2d::rings});
  });
  CHECK(thrown[1].find("checksum of the parameters is") == 0);
  const auto data = as_processes(2, [](ThreadProcess process) {
    std::vector<double> values{1, 2, 3, 4, 5, 6, 7, 8 + static_cast<double>(process.rank())};
    make_trainer(process, 3).fit(PointSet(values, 2));
  });
  CHECK(data[1].find("data is \"") == 0);
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
