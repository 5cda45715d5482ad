// SPDX-License-Identifier: MIT
#include <algorithm>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/eval/features.hpp>
#include <meanflow/random/philox.hpp>

#include "io/temporary_folder.hpp"

using namespace meanflow;
using namespace meanflow_test;

namespace {

Tensor<float> random_images(std::size_t count) {
  Tensor<float> images({count, 2, 3, 1});
  fill_normal_rows(images.span(), 6, 1, Purpose::user, 1);
  return images;
}

/// The first and the last pixel; keeps the shapes it was given. One that is not constant when
/// called.
struct Corners {
  std::vector<Shape> seen;

  Tensor<float> operator()(const Tensor<float>& images) {
    seen.push_back(images.shape());
    Tensor<float> features({images.rows(), 2});
    for (std::size_t i = 0; i < images.rows(); ++i) {
      features.row(i)[0] = images.row(i)[0];
      features.row(i)[1] = images.row(i)[5];
    }
    return features;
  }
};

struct Collector {
  std::vector<float> values;
  void add(const Tensor<float>& features) {
    values.insert(values.end(), features.data(), features.data() + features.size());
  }
};

static_assert(FeatureFunction<Corners>);
static_assert(FeatureFunction<Tensor<float> (*)(const Tensor<float>&)>);
static_assert(!FeatureFunction<int (*)(const Tensor<float>&)>);
static_assert(!FeatureFunction<Tensor<float> (*)(const Tensor<double>&)>);
static_assert(FeatureSink<Collector> && !FeatureSink<Corners>);

}  // namespace

TEST_CASE("Images go through in batches, in order") {
  const Tensor<float> images = random_images(10);
  const Tensor<float> expected = Corners{}(images);
  for (const std::size_t batch : {1U, 3U, 5U, 10U, 64U}) {
    Corners corners;
    const Tensor<float> features = features_of(corners, images, batch);
    CHECK(features.shape() == Shape{10, 2});
    CHECK(std::ranges::equal(features.span(), expected.span()));
    CHECK(corners.seen.size() == (10 + batch - 1) / batch);
    CHECK(corners.seen.front() == Shape{std::min<std::size_t>(batch, 10), 2, 3, 1});

    Collector collector;
    add_features(collector, Corners{}, images, batch);
    CHECK(std::ranges::equal(collector.values, expected.span()));
  }
  Corners corners;
  (void)features_of(corners, images, 4);
  CHECK(corners.seen.back() == Shape{2, 2, 3, 1});
}

TEST_CASE("No images") {
  Collector collector;
  Corners corners;
  add_features(collector, corners, random_images(0));
  CHECK(collector.values.empty());
  CHECK(corners.seen.empty());
  CHECK_THROWS_AS((void)features_of(corners, random_images(0)), ShapeError);
  CHECK_THROWS_AS((void)features_of(corners, Tensor<float>()), ShapeError);
}

TEST_CASE("Functions that do not give a row for every image") {
  const auto refusal = [](const std::vector<Shape>& shapes) {
    std::size_t call = 0;
    const auto function = [&](const Tensor<float>&) {
      return Tensor<float>::zeros(shapes[std::min(call++, shapes.size() - 1)]);
    };
    return message_of<ShapeError>([&] { (void)features_of(function, random_images(8), 4); });
  };
  CHECK(refusal({{4, 2}}).empty());
  CHECK(contains(refusal({{3, 2}}), "shape (3, 2) for images (4, 2, 3, 1), expected (4, D)"));
  CHECK(contains(refusal({{4, 2, 1}}), "(4, 2, 1)"));
  CHECK(contains(refusal({{4}}), "(4)"));
  CHECK(contains(refusal({{4, 2}, {4, 3}}), "3 features for image 4"));
  Collector collector;
  CHECK_THROWS_AS(add_features(collector, Corners{}, random_images(8), 0), SettingError);
  CHECK_THROWS_AS((void)features_of(Corners{}, random_images(8), 0), SettingError);
}
