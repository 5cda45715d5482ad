// SPDX-License-Identifier: MIT
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <omp.h>

#include <meanflow/data/image_source.hpp>
#include <meanflow/data/source.hpp>
#include <meanflow/train/trainer.hpp>

#include "io/temporary_folder.hpp"

using namespace meanflow;
using namespace meanflow_test;

static_assert(DataSource<ImageSource, float>);
static_assert(DataSource<Prefetched<ImageSource>, float>);
static_assert(DataSource<Prefetched<Toy2dSource>, float>);
static_assert(Prefetched<ImageSource>::has_conditions);
static_assert(!Prefetched<Toy2dSource>::has_conditions);

namespace {

/// Picture i is 4 x 4 x 3: its first row holds i, the rest numbers that grow to the right.
ImageSet numbered(std::size_t count) {
  ImageSet set{count, 4, 4, 3, {}, {}, 7};
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t j = 0; j < 48; ++j) {
      set.pixels.push_back(static_cast<std::uint8_t>(j < 12 ? i : 60 * (j / 3 % 4) + j % 3));
    }
    set.labels.push_back(static_cast<std::int32_t>(i % 7));
  }
  return set;
}

std::size_t number_of(const float* image) {
  return static_cast<std::size_t>(std::lround((image[0] + 1) * 127.5));
}

bool is_mirrored(const float* image) { return image[12] > image[12 + 9]; }

std::vector<float> values(const Tensor<float>& x) { return {x.span().begin(), x.span().end()}; }

struct Batch {
  std::vector<float> x, augmentation;
  std::vector<std::int32_t> labels;
  bool operator==(const Batch&) const = default;
};

template <class Source>
Batch batch_of(Source& source, std::size_t rows, std::uint64_t seed, std::uint64_t step) {
  Tensor<float> x({rows, 4, 4, 3});
  ImageCondition<float> condition;
  source.fill(x, condition, seed, step);
  return {values(x),
          values(condition.augmentation),
          {condition.labels.span().begin(), condition.labels.span().end()}};
}

/// Rows that hold the step; throws at step 3 and notes which threads it ran on.
struct Failing {
  std::shared_ptr<std::vector<std::thread::id>> threads =
      std::make_shared<std::vector<std::thread::id>>();

  [[nodiscard]] Shape row_shape() const { return {2}; }
  void fill(Tensor<float>& x, std::uint64_t, std::uint64_t step) const {
    threads->push_back(std::this_thread::get_id());
    if (step == 3) throw std::runtime_error("no step 3");
    std::ranges::fill(x.span(), static_cast<float>(step));
  }
};

}  // namespace

TEST_CASE("Every epoch holds each picture once, in an order of its own") {
  const std::size_t count = 50;
  ImageSource source(numbered(count));
  std::vector<std::vector<std::size_t>> epochs(4);
  for (std::uint64_t step = 0; step < 25; ++step) {  // 8 rows: steps lie across epochs
    Tensor<float> x({8, 4, 4, 3});
    source.fill(x, 1, step);
    for (std::size_t i = 0; i < 8; ++i) {
      epochs[(step * 8 + i) / count].push_back(number_of(x.row(i)));
    }
  }
  for (std::size_t e = 0; e < 4; ++e) {
    std::vector<std::size_t> sorted = epochs[e];
    std::ranges::sort(sorted);
    REQUIRE(sorted.size() == count);
    for (std::size_t i = 0; i < count; ++i) CHECK(sorted[i] == i);
    CHECK(epochs[e] != sorted);
    CHECK(epochs[e] != epochs[(e + 1) % 4]);
  }
}

TEST_CASE("A batch may hold several epochs") {
  ImageSource source(numbered(3));
  Tensor<float> x({12, 4, 4, 3});
  source.fill(x, 1, 2);
  std::vector<int> seen(3);
  for (std::size_t i = 0; i < 12; ++i) ++seen[number_of(x.row(i))];
  CHECK(seen == std::vector<int>{4, 4, 4});
}

TEST_CASE("Pictures are scaled to [-1, 1], labels are theirs") {
  const auto images = std::make_shared<const ImageSet>(numbered(20));
  ImageSource source(images);
  CHECK(source.row_shape() == Shape{4, 4, 3});
  const Batch batch = batch_of(source, 20, 1, 0);
  CHECK(batch.augmentation.empty());
  REQUIRE(batch.labels.size() == 20);
  for (std::size_t i = 0; i < 20; ++i) {
    const float* const row = batch.x.data() + i * 48;
    std::vector<float> expected(48);
    images->to_unit(number_of(row), expected);
    CHECK(std::equal(expected.begin(), expected.end(), row));
    CHECK(batch.labels[i] == images->labels[number_of(row)]);
  }
  ImageSource unlabelled(images, {.labels = false});
  CHECK(batch_of(unlabelled, 20, 1, 0).labels.empty());
  CHECK(batch_of(unlabelled, 20, 1, 0).x == batch.x);
}

TEST_CASE("About half are mirrored, and labels say which when the pipeline does it") {
  ImageSource plain(numbered(200), {.flip = true});
  const Batch flipped = batch_of(plain, 200, 1, 0);
  CHECK(flipped.augmentation.empty());
  AugmentPipe pipe{.scale = 0, .aniso = 0, .translate_frac = 0};
  ImageSource told(numbered(200), {.augment = pipe});
  const Batch labelled = batch_of(told, 200, 1, 0);
  REQUIRE(labelled.augmentation.size() == 200);
  int mirrored = 0, both = 0;
  for (std::size_t i = 0; i < 200; ++i) {
    mirrored += is_mirrored(flipped.x.data() + i * 48);
    both += is_mirrored(labelled.x.data() + i * 48);
    CHECK(is_mirrored(labelled.x.data() + i * 48) == (labelled.augmentation[i] == 1));
  }
  CHECK(std::abs(mirrored - 100) < 30);
  CHECK(std::abs(both - 100) < 30);
}

TEST_CASE("A batch depends on seed, step and its size alone") {
  const ImageSource::Settings settings{.flip = true, .augment = AugmentPipe{.probability = 0.5}};
  ImageSource source(numbered(100), settings), other(numbered(100), settings);
  std::vector<Batch> batches;
  for (std::uint64_t step = 0; step < 6; ++step) batches.push_back(batch_of(source, 64, 1, step));
  const int threads = omp_get_max_threads();
  for (const int count : {1, 2, 5}) {
    omp_set_num_threads(count);
    for (std::uint64_t step = 6; step-- > 0;) {
      CHECK(batch_of(other, 64, 1, step) == batches[step]);
    }
  }
  omp_set_num_threads(threads);
  CHECK(batches[0].x != batches[1].x);
  CHECK(batch_of(source, 64, 2, 0).x != batches[0].x);
  CHECK(batch_of(source, 64, 2, 0).augmentation != batches[0].augmentation);
  const ImageCondition<float> condition = source.condition(64, 1, 4);
  CHECK(values(condition.augmentation) == batches[4].augmentation);
  CHECK(std::ranges::equal(condition.labels.span(), batches[4].labels));
  CHECK(batches[0].augmentation.size() == 64 * 6);
}

TEST_CASE("Conditions handed out before stay as they were") {
  ImageSource source(numbered(50));
  Tensor<float> x({8, 4, 4, 3});
  ImageCondition<float> condition;
  source.fill(x, condition, 1, 0);
  const ImageCondition<float> kept = condition;
  const std::vector<std::int32_t> before(kept.labels.span().begin(), kept.labels.span().end());
  source.fill(x, condition, 1, 1);
  CHECK(std::ranges::equal(kept.labels.span(), before));
}

TEST_CASE("Sets and batches that do not fit are refused") {
  CHECK_THROWS_AS(ImageSource(ImageSet{}), ShapeError);
  CHECK_THROWS_AS(ImageSource(std::shared_ptr<const ImageSet>()), SettingError);
  CHECK_THROWS_AS(ImageSource(numbered(2), {.augment = AugmentPipe{.probability = -1}}),
                  SettingError);
  ImageSource source(numbered(2));
  CHECK(contains(message_of<ShapeError>([&] {
                   Tensor<float> x({2, 4, 3, 4});
                   source.fill(x, 1, 0);
                 }),
                 "ImageSource::fill: shape (2, 4, 3, 4) does not fit shape (2, 4, 4, 3)"));
}

TEST_CASE("Batches for training, prepared ahead") {
  const ImageSet images = numbered(200);
  // [docs:image_source]
  ImageSource source(images, {.augment = AugmentPipe{}});
  Prefetched prefetched(std::move(source));
  Tensor<float> x({128, 4, 4, 3});  // (B, H, W, C)
  ImageCondition<float> condition;  // labels (B), augmentation (B, 6)
  prefetched.fill(x, condition, /*seed=*/1, /*number=*/0);
  // [docs:end]
  CHECK(condition.labels.shape() == Shape{128});
  CHECK(condition.augmentation.shape() == Shape{128, 6});
}

TEST_CASE("Prefetched batches are those of the source, in whatever order they are asked for") {
  const ImageSource::Settings settings{.flip = true, .augment = AugmentPipe{}};
  ImageSource direct(numbered(100), settings);
  Prefetched prefetched(ImageSource(numbered(100), settings));
  CHECK(prefetched.row_shape() == direct.row_shape());
  struct Request {
    std::size_t rows;
    std::uint64_t seed, step;
  };
  for (const auto& [rows, seed, step] :
       {Request{32, 1, 0}, Request{32, 1, 1}, Request{32, 1, 2}, Request{32, 1, 2},
        Request{32, 1, 9}, Request{32, 1, 10}, Request{32, 2, 11}, Request{32, 2, 12},
        Request{16, 2, 13}, Request{16, 2, 14}, Request{64, 2, 15}}) {
    CHECK(batch_of(prefetched, rows, seed, step) == batch_of(direct, rows, seed, step));
  }
  Tensor<float> x({64, 4, 4, 3}), expected({64, 4, 4, 3});
  prefetched.fill(x, 2, 16);
  direct.fill(expected, 2, 16);
  CHECK(values(x) == values(expected));

  Prefetched points(Toy2dSource{Toy2d::rings});
  for (std::uint64_t step = 0; step < 4; ++step) {
    Tensor<float> a({100, 2}), b({100, 2});
    points.fill(a, 1, step);
    Toy2dSource{Toy2d::rings}.fill(b, 1, step);
    CHECK(values(a) == values(b));
  }
}

TEST_CASE("The next batch comes from another thread, and so do its exceptions") {
  const Failing source;
  {
    Prefetched prefetched(source);
    Tensor<float> x({4, 2});
    for (std::uint64_t step = 0; step < 3; ++step) {
      prefetched.fill(x, 1, step);
      CHECK(x[7] == static_cast<float>(step));
    }
    CHECK(message_of<std::runtime_error>([&] { prefetched.fill(x, 1, 3); }) == "no step 3");
    CHECK(message_of<std::runtime_error>([&] { prefetched.fill(x, 1, 3); }) == "no step 3");
    prefetched.fill(x, 1, 4);
    CHECK(x[0] == 4.0F);
    prefetched.fill(x, 1, 2);  // step 3 fails unasked for
    prefetched.fill(x, 1, 7);
    CHECK(x[0] == 7.0F);
  }
  REQUIRE(source.threads->size() >= 6);
  const auto here = std::this_thread::get_id();
  CHECK(source.threads->at(0) == here);
  for (std::size_t step = 1; step <= 3; ++step) CHECK(source.threads->at(step) != here);
}

TEST_CASE("Every third batch, as one of three processes asks for them, is prepared ahead") {
  const Failing source;
  {
    Prefetched prefetched(source);
    Tensor<float> x({4, 2});
    for (const std::uint64_t step : {5, 8, 11, 14}) {
      prefetched.fill(x, 1, step);
      CHECK(x[7] == static_cast<float>(step));
    }
  }
  const auto here = std::this_thread::get_id();
  // In order of preparation: 5 here, 6 in vain, 8 here, and from there on ahead.
  CHECK(std::count(source.threads->begin(), source.threads->end(), here) == 2);
}

TEST_CASE("Prefetching ends at any time") {
  struct Slow {
    std::shared_ptr<std::atomic<int>> done = std::make_shared<std::atomic<int>>(0);
    [[nodiscard]] Shape row_shape() const { return {1}; }
    void fill(Tensor<float>& x, std::uint64_t, std::uint64_t) const {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      x[0] = 0;
      ++*done;
    }
  };
  const Slow slow;
  { const Prefetched unused(slow); }
  CHECK(*slow.done == 0);
  for (int i = 0; i < 20; ++i) {
    Tensor<float> x({1, 1});
    Prefetched prefetched(slow);
    prefetched.fill(x, 1, 0);
    if (i % 2 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(i / 2));
  }
  CHECK(*slow.done >= 20);
  CHECK(slow.done.use_count() == 1);
}
