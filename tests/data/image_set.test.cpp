// SPDX-License-Identifier: MIT
#include <cstdint>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/data/image_set.hpp>
#include <meanflow/io/image.hpp>

#include "io/temporary_folder.hpp"

using namespace meanflow;
using namespace meanflow_test;

TEST_CASE("Bytes are scaled to [-1, 1] and come back") {
  CHECK(unit_from_pixel(0) == -1.0F);
  CHECK(unit_from_pixel(255) == 1.0F);
  for (int i = 0; i < 256; ++i) {
    const auto pixel = static_cast<std::uint8_t>(i);
    CHECK(pixel_from_unit(unit_from_pixel(pixel)) == pixel);
    CHECK(unit_from_pixel(pixel) == doctest::Approx(-unit_from_pixel(255 - pixel)));
  }
}

TEST_CASE("Pictures of a set, one by one") {
  const ImageSet set{2, 1, 2, 3, {0, 1, 2, 3, 4, 5, 250, 251, 252, 253, 254, 255}, {1, 0}, 2};
  CHECK_NOTHROW(set.check());
  CHECK(set.image_size() == 6);
  CHECK(set.image(1)[0] == 250);
  std::vector<float> values(6);
  set.to_unit(1, values);
  CHECK(values[5] == 1.0F);
  CHECK(values[0] == unit_from_pixel(250));
  CHECK_THROWS_AS(set.to_unit(2, values), ShapeError);
  values.push_back(0);
  CHECK_THROWS_AS(set.to_unit(1, values), ShapeError);
}

TEST_CASE("A set whose members do not fit together is refused") {
  const auto refusal = [](const ImageSet& set) {
    return message_of<ShapeError>([&] { set.check(); });
  };
  CHECK(refusal({}) ==
        "ImageSet: 0 bytes are not 0 pictures of 0 x 0 x 0 with extents of at least 1.");
  CHECK(contains(refusal({2, 1, 1, 1, {1}, {}, 0}), "1 bytes are not 2 pictures"));
  CHECK(contains(refusal({2, 1, 1, 1, {1, 2}, {0}, 1}), "1 labels for 2 pictures"));
  CHECK(contains(refusal({2, 1, 1, 1, {1, 2}, {0, 3}, 3}), "picture 1 has the label 3"));
  CHECK(contains(refusal({2, 1, 1, 1, {1, 2}, {-1, 0}, 3}), "picture 0 has the label -1"));
  CHECK(refusal({2, 1, 1, 1, {1, 2}, {}, 0}).empty());
}
