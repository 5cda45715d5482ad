// SPDX-License-Identifier: MIT
// Writes event files for tensorboard_reader.py, which knows what they should hold.
#include <cstdint>
#include <limits>
#include <string>

#include <meanflow/io/tensorboard.hpp>

int main(int count, char** arguments) {
  using namespace meanflow;
  if (count != 2) return 2;
  const double infinity = std::numeric_limits<double>::infinity();
  {
    TensorBoardWriter writer(arguments[1]);
    for (std::uint64_t step = 0; step < 10; ++step) {
      writer.scalar("loss/train", 1.0 / double(step + 1), step);
    }
    writer.scalar("odd", -infinity, 1);
    Image image{3, 5, 3, {}};
    for (int i = 0; i < 45; ++i) image.pixels.push_back(static_cast<std::uint8_t>(i * 5));
    writer.image("samples", image, 4);
    writer.image("grey", {1, 2, 1, {7, 200}}, 5);
  }
  TensorBoardWriter resumed(arguments[1], {.first_step = 6});
  for (std::uint64_t step = 6; step < 8; ++step) resumed.scalar("loss/train", 100, step);
  resumed.scalar("odd", std::numeric_limits<double>::quiet_NaN(), 1ULL << 40);
}
