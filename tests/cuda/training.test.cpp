// SPDX-License-Identifier: MIT
// Training runs on the device beside the same ones on the processor.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <io/temporary_folder.hpp>

#include <meanflow/meanflow.hpp>

#include "course.hpp"

using namespace meanflow;
using test::Course;

namespace {

double largest_difference(const Tensor<float>& a, const Tensor<float>& b) {
  double difference = 0, magnitude = 1;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference = std::max(difference, std::abs(static_cast<double>(a[i] - b[i])));
    magnitude = std::max(magnitude, std::abs(static_cast<double>(b[i])));
  }
  return difference / magnitude;
}

/// Rounding differs between the devices, and Adam, which divides gradients by their own size, makes
/// more of it with every step: the first steps tell whether the same is computed, the others
/// whether the courses stay together.
void expect_same(const Course& found, const Course& expected) {
  REQUIRE(found.reports.size() == 20);
  for (std::size_t i = 0; i < 20; ++i) {
    const StepReport &a = found.reports[i], &b = expected.reports[i];
    const double bound = i < 3 ? 1e-4 : 1e-2;
    INFO("step ", i);
    CHECK(a.loss == doctest::Approx(b.loss).epsilon(bound));
    for (const char* name : {"squared_error", "velocity_error", "jvp_norm"})
      CHECK(a.metrics[name] == doctest::Approx(b.metrics[name]).epsilon(bound));
    CHECK(a.gradient_norm == doctest::Approx(b.gradient_norm).epsilon(bound));
    CHECK(a.jump_rows == b.jump_rows);
  }
  CHECK(largest_difference(found.parameters, expected.parameters) < 1e-2);
  CHECK(largest_difference(found.average, expected.average) < 1e-2);
}

[[nodiscard]] std::string content_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

const test::Courses on_cpu = test::courses_on_cpu(), on_cuda = test::courses_on_cuda();

}  // namespace

TEST_CASE("an Mlp trains the same way on the device") { expect_same(on_cuda.mlp(), on_cpu.mlp()); }

TEST_CASE("with jumps by chance, too, and surplus rows that carry a tangent change nothing") {
  const Course course = on_cuda.mlp_by_chance();
  expect_same(course, on_cpu.mlp_by_chance());
  std::set<std::size_t> counts;
  for (const StepReport& report : course.reports) counts.insert(report.jump_rows);
  CHECK(counts.size() > 4);
}

TEST_CASE("a MeanFlowNet with attention, labels and guidance trains the same way") {
  expect_same(on_cuda.mean_flow_net(), on_cpu.mean_flow_net());
}

TEST_CASE("a SongUNet with dropout and classes trains the same way") {
  expect_same(on_cuda.song_unet(true), on_cpu.song_unet(true));
}

TEST_CASE("steps that are replayed are those that were recorded, bit for bit") {
  const Course replayed = on_cuda.song_unet(true), asked = on_cuda.song_unet(false);
  for (std::size_t i = 0; i < 20; ++i) CHECK(replayed.reports[i].loss == asked.reports[i].loss);
  CHECK(largest_difference(replayed.parameters, asked.parameters) == 0);
  CHECK(largest_difference(replayed.average, asked.average) == 0);
}

TEST_CASE("a number that is not finite changes nothing on the device, and names its row") {
  for (const auto& device : {on_cuda, on_cpu}) {
    const test::Interrupted course = device.interrupted();
    CHECK(course.rows == std::vector<std::size_t>{7});
    CHECK(largest_difference(course.after, course.before) == 0);
    CHECK(largest_difference(course.course.parameters, course.uninterrupted.parameters) == 0);
    CHECK(largest_difference(course.course.average, course.uninterrupted.average) == 0);
    CHECK(course.course.reports[1].loss == course.uninterrupted.reports[1].loss);
  }
}

TEST_CASE("fit reads from sources of the host, and samples are those of the processor") {
  const auto noise = normal_noise({100, 2}, 5);
  for (const std::size_t steps : {1, 3})
    CHECK(largest_difference(on_cuda.samples(noise, steps), on_cpu.samples(noise, steps)) < 1e-3);
}

TEST_CASE("a checkpoint of one device is one of the other") {
  const meanflow_test::TemporaryFolder folder;
  const auto path = folder / "c.safetensors";
  for (const auto& [writer, reader] : {std::pair(on_cuda, on_cpu), std::pair(on_cpu, on_cuda)}) {
    const auto written = writer.write_checkpoint(path);
    CHECK(largest_difference(reader.read_checkpoint(path), written) == 0);
    CHECK(largest_difference(reader.read_average(path), writer.read_average(path)) == 0);
    CHECK(largest_difference(reader.read_average(path), written) > 0);
    reader.rewrite_checkpoint(path, folder / "again.safetensors");
    CHECK(content_of(folder / "again.safetensors") == content_of(path));
  }
}
