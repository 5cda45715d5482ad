// SPDX-License-Identifier: MIT
// A panel for each driver, with the ways that it took past one obstacle.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "../toy2d/pictures.hpp"
#include "simulator.hpp"

namespace policy {

/// A window on the plane, `reach` to each side of the middle.
class Scene {
 public:
  static constexpr double reach = 1.35;

  Scene(const toy2d::Page& page, double left, double top, double side, const std::string& title)
      : page_(page), left_(left), top_(top), scale_(side / (2 * reach)) {
    page_.colour(toy2d::ink);
    page_.text(left, top - 8, title, 14);
    page_.colour(toy2d::faint);
    cairo_set_line_width(page_.context(), 1);
    cairo_rectangle(page_.context(), left + 0.5, top + 0.5, side - 1, side - 1);
    cairo_stroke(page_.context());
  }

  void disc(Point centre, double radius, const toy2d::Colour& colour, double alpha = 1) const {
    page_.colour(colour, alpha);
    cairo_arc(page_.context(), x(centre), y(centre), radius * scale_, 0, 6.2832);
    cairo_fill(page_.context());
  }

  void way(const Episode& episode, const toy2d::Colour& colour) const {
    page_.colour(colour, 0.6);
    cairo_set_line_width(page_.context(), 1);
    cairo_new_path(page_.context());
    for (const State& state : episode.states)
      cairo_line_to(page_.context(), x(state.position), y(state.position));
    cairo_stroke(page_.context());
    if (episode.outcome != Outcome::reached)
      disc(episode.states.back().position, 0.025, toy2d::orange);
  }

  void note(const std::string& words, double side) const {
    page_.colour({0.45, 0.47, 0.52});
    page_.text(left_ + side, top_ + side + 16, words, 12, 1);
  }

 private:
  [[nodiscard]] double x(Point p) const { return left_ + scale_ * (reach + p.real()); }
  [[nodiscard]] double y(Point p) const { return top_ + scale_ * (reach - p.imag()); }

  const toy2d::Page& page_;
  double left_, top_, scale_;
};

/// What a panel shows: runs past the obstacle of one world.
struct Ways {
  std::string title, note;
  std::vector<Episode> episodes;
};

inline void draw_ways(const std::filesystem::path& file, const World& world,
                      const std::vector<Ways>& panels) {
  constexpr double side = 210, gap = 16, top = 30, bottom = 26;
  const toy2d::Page page(static_cast<int>(gap + static_cast<double>(panels.size()) * (side + gap)),
                         static_cast<int>(top + side + bottom));
  for (std::size_t i = 0; i < panels.size(); ++i) {
    const Scene scene(page, gap + static_cast<double>(i) * (side + gap), top, side,
                      panels[i].title);
    scene.disc(world.obstacle, world.radius, toy2d::faint);
    scene.disc(world.goal, goal_radius, toy2d::green, 0.4);
    for (const Episode& episode : panels[i].episodes)
      scene.way(episode, episode.outcome == Outcome::reached ? toy2d::blue : toy2d::orange);
    scene.note(panels[i].note, side);
  }
  page.save(file.string());
}

}  // namespace policy
