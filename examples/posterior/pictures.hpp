// SPDX-License-Identifier: MIT
// Posteriors of two numbers as pictures: references above, samples below.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <span>
#include <utility>
#include <vector>

#include <meanflow/io/image.hpp>
#include <meanflow/io/scatter.hpp>

namespace posterior {

using Points = std::vector<float>;  // (N, parameters)

/// A row of references, and below each the samples that go with it.
class Gallery {
 public:
  /// Both (N, 2), in the square window that the reference fills.
  void add(Points reference, Points samples) {
    for (std::size_t d = 0; d < 2; ++d) centre(reference, samples, d);
    double reach = 0;
    for (const float value : reference) reach = std::max(reach, 1.1 * std::abs(double(value)));
    references_.push_back(draw(reference, reach, {41, 46, 56}));
    samples_.push_back(draw(samples, reach, {26, 89, 179}));
  }

  /// Throws meanflow::FileError if the file cannot be written. Writes nothing if there is nothing.
  void save(const std::filesystem::path& path) const {
    if (references_.empty()) return;
    meanflow::Image page{2 * side, references_.size() * side, 3, {}};
    for (const auto* images : {&references_, &samples_})
      for (std::size_t row = 0; row < side; ++row)
        for (const meanflow::Image& image : *images) {
          const auto line = std::span(image.pixels).subspan(row * side * 3, side * 3);
          page.pixels.insert(page.pixels.end(), line.begin(), line.end());
        }
    meanflow::save_png(path, page);
  }

 private:
  static constexpr std::size_t side = 300;

  /// Moves column d so that the middle of the reference lies at 0.
  static void centre(Points& reference, Points& samples, std::size_t d) {
    float low = reference[d], high = reference[d];
    for (std::size_t i = d; i < reference.size(); i += 2) {
      low = std::min(low, reference[i]);
      high = std::max(high, reference[i]);
    }
    for (Points* points : {&reference, &samples})
      for (std::size_t i = d; i < points->size(); i += 2) (*points)[i] -= (low + high) / 2;
  }

  [[nodiscard]] static meanflow::Image draw(const Points& points, double reach,
                                            const std::array<std::uint8_t, 3>& colour) {
    return meanflow::draw_scatter(
        points, {.side = side, .reach = reach, .radius = 0.8, .opacity = 0.15, .colour = colour});
  }

  std::vector<meanflow::Image> references_, samples_;
};

}  // namespace posterior
