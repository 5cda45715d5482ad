// SPDX-License-Identifier: MIT
#include <array>
#include <cstdio>
#include <string>

#include <doctest/doctest.h>

#include <meanflow/train/progress.hpp>

using namespace meanflow;

namespace {

constexpr std::array metrics{Metric{"squared_error"}};

/// What the bar writes for the first `count` of ten steps of `seconds` each, to a file.
std::string shown(std::uint64_t count, double seconds) {
  std::FILE* const file = std::tmpfile();
  REQUIRE(file != nullptr);
  ProgressBar bar("training", file);
  StepReport report{.steps = 10, .loss = 0.5, .metrics = Metrics(metrics)};
  report.metrics.value(0) = 2;
  for (std::uint64_t step = 0; step < count; ++step) {
    report.step = step;
    report.seconds = seconds * static_cast<double>(step + 1);
    bar(report);
  }
  bar.on_end(bar);
  std::rewind(file);
  std::array<char, 4096> text{};
  const std::size_t size = std::fread(text.data(), 1, text.size(), file);
  std::fclose(file);
  return {text.data(), size};
}

}  // namespace

TEST_CASE("a progress bar in a file is a line for every tenth, with rate and time left") {
  CHECK(shown(1, 2) ==
        "training [##..................] 1/10  loss 0.5000  squared error 2.0000  0.50 steps/s  "
        "0:18 left\n");
  const std::string all = shown(10, 0.01);
  CHECK(all.find("100 steps/s  0:00 left\n") != std::string::npos);
  CHECK(all.ends_with("\n"));
  CHECK_FALSE(all.ends_with("\n\n"));
}

TEST_CASE("a progress bar starts over with every training run") {
  std::FILE* const file = std::tmpfile();
  REQUIRE(file != nullptr);
  ProgressBar bar("training", file);
  for (int training = 0; training < 2; ++training) {
    bar.on_begin(bar);
    for (std::uint64_t step = 0; step < 10; ++step)
      bar.on_step(bar, {.step = step, .steps = 10, .seconds = 2 * static_cast<double>(step + 1)});
    bar.on_end(bar);
  }
  std::rewind(file);
  std::array<char, 8192> text{};
  const std::string all(text.data(), std::fread(text.data(), 1, text.size(), file));
  std::fclose(file);
  std::size_t lines = 0;
  for (std::size_t at = 0; (at = all.find("0.50 steps/s", at)) != std::string::npos; ++at) ++lines;
  CHECK(lines == 20);
}
