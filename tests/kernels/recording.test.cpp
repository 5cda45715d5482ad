// SPDX-License-Identifier: MIT
#include <algorithm>
#include <functional>
#include <optional>
#include <string>

#include <doctest/doctest.h>

#include <meanflow/kernels/recording.hpp>
#include <meanflow/kernels/report.hpp>
#include <meanflow/tensor/device.hpp>

using namespace meanflow::kernels;

namespace {

/// Writes down what it is asked for; its recording is the work itself.
struct Recorder {
  static constexpr bool records = true;
  struct Recording {
    std::string* course;
    std::function<void()> work;

    void replay() {
      *course += 'p';
      work();
    }
    [[nodiscard]] std::size_t nodes() const { return 7; }
  };

  std::string* course = nullptr;
  bool can = true;

  void run(const std::function<void()>& f) { f(); }
  [[nodiscard]] Attempt<Recording> record(const std::function<void()>& f) {
    *course += can ? 'r' : 'x';
    if (!can) return {std::nullopt, "this recorder cannot"};
    return {Recording{course, f}, {}};
  }
  void release() { *course += 'f'; }
};

}  // namespace

TEST_CASE("work of one shape is recorded after some rounds, then replayed") {
  std::string course;
  RepeatedWork repeated(Recorder{&course});
  const auto work = [&] { course += 'w'; };
  for (int i = 0; i < 5; ++i) repeated.run({1, 2}, work);
  CHECK(course == "wwwrpwpw");
  CHECK(repeated.report().recordings == 1);
  CHECK(repeated.report().nodes == 7);
  CHECK(repeated.report().replays == 2);
  CHECK(repeated.report().why_not.empty());
  course.clear();
  repeated.forget();
  for (int i = 0; i < 4; ++i) repeated.run({1, 2}, work);
  CHECK(course == "fwwwrpw");
}

TEST_CASE("kinds of work that take turns are each recorded") {
  std::string course;
  RepeatedWork repeated(Recorder{&course});
  for (unsigned i = 0; i < 10; ++i) repeated.run({i % 2}, [&, i] { course += i % 2 ? 'b' : 'a'; });
  CHECK(course == "abababrparpbpapb");
  CHECK(repeated.report().recordings == 2);
}

TEST_CASE("work of ever more kinds is not recorded, and not remembered for good") {
  std::string course;
  RepeatedWork repeated(Recorder{&course});
  const unsigned kinds = RepeatedWork<Recorder>::most_kinds + 1;
  for (unsigned i = 0; i < 6 * kinds; ++i) repeated.run({i % kinds}, [&] { course += 'w'; });
  CHECK(course == std::string(6 * kinds, 'w'));
}

TEST_CASE("work that cannot be recorded is done each time, not retried, and the reason is given") {
  std::string course;
  RepeatedWork repeated(Recorder{&course, false});
  for (int i = 0; i < 5; ++i) repeated.run({1}, [&] { course += 'w'; });
  CHECK(course == "wwwxww");
  CHECK(repeated.report().why_not == "this recorder cannot");
  const auto warnings = meanflow::kernel_report().warnings;
  CHECK(std::ranges::any_of(warnings, [](const std::string& warning) {
    return warning.find("is not recorded") != std::string::npos &&
           warning.find("this recorder cannot") != std::string::npos;
  }));
}

TEST_CASE("work of which others record their part must be recorded") {
  std::string course;
  RepeatedWork repeated(Recorder{&course, false});
  const auto run = [&] {
    repeated.run(
        {1}, [&] { course += 'w'; }, true);
  };
  for (int i = 0; i < 3; ++i) run();
  CHECK_THROWS_WITH_AS(run(),
                       "a training step of several processes cannot be recorded, this recorder "
                       "cannot: set replay to false",
                       meanflow::Error);
  CHECK(course == "wwwx");
}

TEST_CASE("a device that does not record does its work each time, without a warning") {
  const std::size_t warnings = warnings_so_far().size();
  RepeatedWork<NoRecorder> repeated;
  int done = 0;
  for (int i = 0; i < 6; ++i) repeated.run({1}, [&] { ++done; });
  CHECK(done == 6);
  CHECK(repeated.report().recordings == 0);
  CHECK(repeated.report().why_not == "the device does not record its work");
  CHECK(warnings_so_far().size() == warnings);
}

TEST_CASE("a warning is kept once") {
  const std::size_t before = warnings_so_far().size();
  for (int i = 0; i < 3; ++i) warn("the test warns");
  CHECK(warnings_so_far().size() == before + 1);
  CHECK(warnings_so_far().back() == "the test warns");
}

TEST_CASE("spinning threads are warned of where others need the cores") {
  using meanflow::detail::warning_of_spinning;
  CHECK(warning_of_spinning(nullptr, 0.2, 2).empty());
  CHECK(warning_of_spinning("passive", 9, 2).empty());
  CHECK(warning_of_spinning(nullptr, 9, 1).empty());
  CHECK(warning_of_spinning("active", 3.25, 2) ==
        "other programs use this machine (a load of 3.2 on 2 threads), and OpenMP's threads spin "
        "while they wait: a training step may take ten times as long. Set OMP_WAIT_POLICY=passive "
        "in the environment.");
}

TEST_CASE("kernels older than the processor are warned of, with the remedy") {
  using meanflow::detail::warning_of_old_kernels;
  CHECK(warning_of_old_kernels("Prescott", 512, nullptr) ==
        "OpenBLAS runs its Prescott kernels, but this processor has 512-bit vectors: products may "
        "take twice as long. Set OPENBLAS_CORETYPE=SkylakeX in the environment.");
  CHECK(warning_of_old_kernels("Prescott", 256, "Prescott")
            .ends_with("Unset OPENBLAS_CORETYPE in the environment."));
}
