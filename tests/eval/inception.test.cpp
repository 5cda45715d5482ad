// SPDX-License-Identifier: MIT
// The parts of the Inception network; inception.py compares all of it with PyTorch's.
#include <cmath>
#include <filesystem>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/eval/inception.hpp>
#include <meanflow/eval/inception_score.hpp>

using namespace meanflow;

TEST_CASE(
    "pixel i of a resized image lies at i H / height, without alignment of corners or centres") {
  const auto image = Tensor<float>::from({1, 2, 2, 1}, {0, 4, 8, 12});
  const Tensor<float> y = resize_bilinear_tf1(image, 4, 4);
  REQUIRE(y.shape() == Shape{1, 4, 4, 1});
  const std::vector<float> expected{0, 2, 4, 4, 4, 6, 8, 8, 8, 10, 12, 12, 8, 10, 12, 12};
  for (std::size_t i = 0; i < expected.size(); ++i) CHECK(y[i] == doctest::Approx(expected[i]));
  CHECK_THROWS_AS((void)resize_bilinear_tf1(Tensor<float>::zeros({2, 2}), 4, 4), ShapeError);
}

TEST_CASE("pooling leaves out what lies outside of the image") {
  Tensor<float> x({1, 3, 3, 1});
  for (std::size_t i = 0; i < 9; ++i) x[i] = -1.0F - static_cast<float>(i);
  const Tensor<float> mean = pool_3x3(x, Pooling::average, 1, 1);
  REQUIRE(mean.shape() == x.shape());
  CHECK(mean[0] == doctest::Approx(-(1 + 2 + 4 + 5) / 4.0));
  CHECK(mean[1] == doctest::Approx(-(1 + 2 + 3 + 4 + 5 + 6) / 6.0));
  CHECK(mean[4] == doctest::Approx(-5));
  const Tensor<float> most = pool_3x3(x, Pooling::maximum, 1, 1);
  CHECK(most[0] == -1);
  CHECK(most[8] == -5);
  const Tensor<float> fewer =
      pool_3x3(Tensor<float>::full({2, 7, 5, 3}, 2), Pooling::maximum, 2, 0);
  CHECK(fewer.shape() == Shape{2, 3, 2, 3});
  CHECK_THROWS_AS((void)pool_3x3(Tensor<float>::zeros({1, 2, 9, 1}), Pooling::maximum, 2, 0),
                  ShapeError);
}

TEST_CASE("the Inception score counts kinds that are told apart") {
  Tensor<float> alike = Tensor<float>::zeros({40, 5}), apart = Tensor<float>::zeros({40, 5});
  for (std::size_t i = 0; i < 40; ++i) apart.row(i)[i % 4] = 50;
  CHECK(inception_score(alike, 2).mean == doctest::Approx(1));
  CHECK(inception_score(apart, 2).mean == doctest::Approx(4));
  CHECK(inception_score(apart, 2).standard_deviation == doctest::Approx(0));
  CHECK_THROWS_AS((void)inception_score(alike, 41), ShapeError);
}

TEST_CASE("a file without the network's weights is refused by the first name that it lacks") {
  const auto path = std::filesystem::temp_directory_path() / "meanflow_no_inception.safetensors";
  SafetensorsWriter writer;
  writer.add("fc.weight", {2, 2}, std::vector<float>(4));
  writer.write(path);
  CHECK_THROWS_WITH_AS(Inception{path},
                       (path.string() + " has no tensor Conv2d_1a_3x3.bn.weight of shape (32); "
                                        "tools/convert_inception.py makes such "
                                        "files")
                           .c_str(),
                       FileError);
  std::filesystem::remove(path);
}
