// SPDX-License-Identifier: MIT
// Pictures of 2-D flows: panels of points or lines side by side, drawn with Cairo.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <cairo.h>

#include <meanflow/error.hpp>

namespace toy2d {

struct Colour {
  double red, green, blue;
};

inline constexpr Colour ink{0.16, 0.18, 0.22}, faint{0.80, 0.82, 0.85}, blue{0.10, 0.35, 0.70},
    orange{0.88, 0.42, 0.10}, green{0.13, 0.55, 0.33}, purple{0.50, 0.25, 0.65};

/// A white page of the given size in pixels.
class Page {
 public:
  Page(int width, int height)
      : surface_(cairo_image_surface_create(CAIRO_FORMAT_RGB24, width, height),
                 cairo_surface_destroy),
        context_(cairo_create(surface_.get()), cairo_destroy) {
    cairo_set_source_rgb(context(), 1, 1, 1);
    cairo_paint(context());
    cairo_select_font_face(context(), "sans-serif", CAIRO_FONT_SLANT_NORMAL,
                           CAIRO_FONT_WEIGHT_NORMAL);
  }

  [[nodiscard]] cairo_t* context() const { return context_.get(); }

  void colour(const Colour& c, double alpha = 1) const {
    cairo_set_source_rgba(context(), c.red, c.green, c.blue, alpha);
  }

  /// Text whose `anchor` (0 left, 0.5 middle, 1 right) lies at x; y is the base line.
  void text(double x, double y, const std::string& words, double size, double anchor = 0) const {
    cairo_set_font_size(context(), size);
    cairo_text_extents_t extents;
    cairo_text_extents(context(), words.c_str(), &extents);
    cairo_move_to(context(), x - anchor * extents.x_advance, y);
    cairo_show_text(context(), words.c_str());
  }

  void save(const std::string& path) const {
    const cairo_status_t status = cairo_surface_write_to_png(surface_.get(), path.c_str());
    if (status != CAIRO_STATUS_SUCCESS)
      throw meanflow::FileError(path + ": cannot be written (" + cairo_status_to_string(status) +
                                ")");
  }

 private:
  std::unique_ptr<cairo_surface_t, decltype(&cairo_surface_destroy)> surface_;
  std::unique_ptr<cairo_t, decltype(&cairo_destroy)> context_;
};

/// A square window on the plane, [-reach, reach] in both directions, with a title.
class Panel {
 public:
  Panel(const Page& page, double left, double top, double side, double reach,
        const std::string& title, const std::string& note = "")
      : page_(page), left_(left), top_(top), side_(side), reach_(reach) {
    page_.colour(ink);
    page_.text(left, top - 8, title, 15);
    page_.colour(faint);
    cairo_set_line_width(page_.context(), 1);
    cairo_rectangle(page_.context(), left + 0.5, top + 0.5, side - 1, side - 1);
    cairo_stroke(page_.context());
    page_.colour({0.45, 0.47, 0.52});
    page_.text(left + side, top + side + 16, note, 12, 1);
  }

  void points(std::span<const float> xy, const Colour& colour, double radius = 1.1,
              double alpha = 0.45) const {
    clip([&] {
      page_.colour(colour, alpha);
      for (std::size_t i = 0; i + 1 < xy.size(); i += 2) {
        cairo_arc(page_.context(), x(xy[i]), y(xy[i + 1]), radius, 0, 6.2832);
        cairo_fill(page_.context());
      }
    });
  }

  /// One line through corresponding points of all `stages`, each (N, 2).
  void trails(const std::vector<std::vector<float>>& stages, const Colour& colour) const {
    clip([&] {
      page_.colour(colour, 0.35);
      cairo_set_line_width(page_.context(), 0.9);
      for (std::size_t i = 0; i + 1 < stages.front().size(); i += 2) {
        for (std::size_t s = 0; s < stages.size(); ++s)
          (s == 0 ? cairo_move_to : cairo_line_to)(page_.context(), x(stages[s][i]),
                                                   y(stages[s][i + 1]));
        cairo_stroke(page_.context());
      }
    });
  }

 private:
  [[nodiscard]] double x(float value) const {
    return left_ + side_ * (0.5 + 0.5 * static_cast<double>(value) / reach_);
  }
  [[nodiscard]] double y(float value) const {
    return top_ + side_ * (0.5 - 0.5 * static_cast<double>(value) / reach_);
  }

  template <class Draw>
  void clip(Draw draw) const {
    cairo_save(page_.context());
    cairo_rectangle(page_.context(), left_ + 1, top_ + 1, side_ - 2, side_ - 2);
    cairo_clip(page_.context());
    draw();
    cairo_restore(page_.context());
  }

  const Page& page_;
  double left_, top_, side_, reach_;
};

/// A named curve over the training steps.
struct Curve {
  std::string name;
  Colour colour;
  std::vector<double> values;  ///< one per training step
};

/// Each value replaced by the mean of its neighbourhood, so that a trend shows through the noise.
[[nodiscard]] inline std::vector<double> smoothed(const std::vector<double>& values) {
  const std::size_t reach = std::max<std::size_t>(1, values.size() / 200);
  std::vector<double> sums(values.size() + 1, 0), result(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) sums[i + 1] = sums[i] + values[i];
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t first = i > reach ? i - reach : 0;
    const std::size_t last = std::min(values.size(), i + reach + 1);
    result[i] = (sums[last] - sums[first]) / static_cast<double>(last - first);
  }
  return result;
}

/// Steps between the lines of an axis from 0 to `limit`: 1, 2 or 5 times a power of ten.
[[nodiscard]] inline double tick_step(double limit) {
  const double power = std::pow(10, std::floor(std::log10(limit / 4)));
  for (double factor : {1.0, 2.0, 5.0})
    if (limit / (factor * power) <= 6) return factor * power;
  return 10 * power;
}

/// Curves over training steps, with axes and a legend.
inline void draw_curves(const Page& page, double left, double top, double width, double height,
                        const std::string& title, const std::vector<Curve>& curves) {
  double limit = 0;
  std::size_t steps = 1;
  std::vector<std::vector<double>> lines;
  for (const Curve& curve : curves) {
    lines.push_back(smoothed(curve.values));
    for (double value : lines.back()) limit = std::max(limit, value);
    steps = std::max(steps, curve.values.size());
  }
  if (!(limit > 0)) limit = 1;
  const auto x = [&](double step) { return left + width * step / static_cast<double>(steps); };
  const auto y = [&](double value) { return top + height * (1 - value / (1.05 * limit)); };
  cairo_t* context = page.context();
  page.colour(ink);
  page.text(left, top - 10, title, 15);
  cairo_set_line_width(context, 1);
  char label[32];
  for (double value = 0; value <= 1.05 * limit; value += tick_step(limit)) {
    page.colour(faint);
    cairo_move_to(context, left, y(value));
    cairo_line_to(context, left + width, y(value));
    cairo_stroke(context);
    std::snprintf(label, sizeof label, "%g", value);
    page.colour(ink);
    page.text(left - 6, y(value) + 4, label, 11, 1);
  }
  const double step_tick = tick_step(static_cast<double>(steps));
  for (double step = 0; step <= static_cast<double>(steps); step += step_tick) {
    std::snprintf(label, sizeof label, "%g", step);
    page.text(x(step), top + height + 16, label, 11, 0.5);
  }
  page.text(left + width / 2, top + height + 34, "training step", 12, 0.5);
  double legend = left + width;
  for (std::size_t i = 0; i < curves.size(); ++i) {
    page.colour(curves[i].colour);
    cairo_set_line_width(context, 1.6);
    for (std::size_t step = 0; step < lines[i].size(); ++step)
      (step == 0 ? cairo_move_to : cairo_line_to)(context, x(static_cast<double>(step)),
                                                  y(lines[i][step]));
    cairo_stroke(context);
    page.text(legend, top - 10, curves[i].name, 12, 1);
    cairo_text_extents_t extents;
    cairo_text_extents(context, curves[i].name.c_str(), &extents);
    legend -= extents.x_advance + 18;
  }
}

}  // namespace toy2d
