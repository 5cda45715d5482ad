// SPDX-License-Identifier: MIT
#include "meanflow_c.h"

#include <algorithm>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include <meanflow/config.hpp>

#include "../any_model.hpp"

/// With the texts that are handed out, which live as long as the model.
struct meanflow_model {
  std::shared_ptr<const bindings::AnyModel> model;
  std::string net, settings;
  nlohmann::json parsed;
};

namespace {

using meanflow::Shape;
using meanflow::Tensor;

thread_local std::string last_error;

/// f(), or `otherwise` with the error kept.
void keep(const char* message) noexcept {
  try {
    last_error = message;
  } catch (...) {  // no memory for a longer one
    last_error.clear();
  }
}

template <class R, class F>
R guarded(R otherwise, F f) noexcept {
  try {
    return f();
  } catch (const std::bad_alloc&) {
    keep("out of memory");
  } catch (const std::exception& error) {
    keep(error.what());
  } catch (...) {
    keep("unknown error");
  }
  return otherwise;
}

void check(const void* pointer, const char* what) {
  if (pointer == nullptr) throw meanflow::SettingError(std::string(what) + " is NULL");
}

/// f(model), or `otherwise` with the error kept.
template <class R, class F>
R with_model(const meanflow_model* model, R otherwise, F f) noexcept {
  return guarded(otherwise, [&] {
    check(model, "model");
    return f(*model);
  });
}

/// A view of the caller's numbers; empty for NULL.
template <class T>
[[nodiscard]] Tensor<T> view(const T* numbers, const Shape& shape) {
  if (numbers == nullptr) return {};
  return Tensor<T>::borrow(const_cast<T*>(numbers), shape);  // never written to
}

[[nodiscard]] std::size_t width_of(const meanflow_model& model, const std::string& part) {
  const auto parts = model.model->parts();
  if (std::ranges::find(parts, part) == parts.end()) return 0;
  return model.parsed.value(part == "values" ? "condition" : part, std::size_t{0});
}

[[nodiscard]] bindings::Told told(const meanflow_model& model, const meanflow_condition* condition,
                                  std::size_t rows) {
  if (condition == nullptr) return {};
  return {view(condition->labels, {rows}),
          view(condition->values, {rows, width_of(model, "values")}),
          view(condition->augmentation, {rows, width_of(model, "augmentation")}),
          view(condition->omega, {rows, 1}),
          view(condition->t_min, {rows, 1}),
          view(condition->t_max, {rows, 1})};
}

[[nodiscard]] Shape batch_of(const meanflow_model& model, std::size_t rows) {
  const Shape row = model.model->row_shape();
  if (row.rank() == 0) throw meanflow::SettingError("the file does not tell the shape of a sample");
  return row.batch_of(rows);
}

void copy_out(const Tensor<float>& from, float* to) { std::copy_n(from.data(), from.size(), to); }

}  // namespace

const char* meanflow_version(void) {
  static const std::string text = std::to_string(meanflow::version.major) + "." +
                                  std::to_string(meanflow::version.minor) + "." +
                                  std::to_string(meanflow::version.patch);
  return text.c_str();
}

const char* meanflow_error(void) { return last_error.c_str(); }

void meanflow_set_threads(int count) { bindings::set_threads(count); }

meanflow_model* meanflow_load(const char* path) {
  return guarded<meanflow_model*>(nullptr, [&] {
    check(path, "path");
    auto model = bindings::load_any_model(path);
    std::string settings = model->settings();
    auto parsed = nlohmann::json::parse(settings);
    std::string net = model->net();
    return new meanflow_model{std::move(model), std::move(net), std::move(settings),
                              std::move(parsed)};
  });
}

void meanflow_free(meanflow_model* model) { delete model; }

const char* meanflow_net(const meanflow_model* model) {
  return with_model<const char*>(model, "", [](const auto& m) { return m.net.c_str(); });
}
const char* meanflow_settings(const meanflow_model* model) {
  return with_model<const char*>(model, "", [](const auto& m) { return m.settings.c_str(); });
}
size_t meanflow_parameter_count(const meanflow_model* model) {
  return with_model<std::size_t>(model, 0, [](const auto& m) { return m.model->parameters(); });
}

size_t meanflow_sample_rank(const meanflow_model* model) {
  return with_model<std::size_t>(model, 0,
                                 [](const auto& m) { return m.model->row_shape().rank(); });
}
size_t meanflow_sample_extent(const meanflow_model* model, size_t axis) {
  return with_model<std::size_t>(model, 0, [axis](const auto& m) {
    const Shape row = m.model->row_shape();
    return axis < row.rank() ? row[axis] : 0;
  });
}
size_t meanflow_sample_size(const meanflow_model* model) {
  return with_model<std::size_t>(model, 0,
                                 [](const auto& m) { return m.model->row_shape().size(); });
}
size_t meanflow_condition_width(const meanflow_model* model, const char* part) {
  return with_model<std::size_t>(model, 0, [part](const auto& m) {
    check(part, "part");
    return width_of(m, part);
  });
}

meanflow_sampling meanflow_default_sampling(void) {
  const meanflow::SamplingSettings settings;
  return {settings.steps, settings.guidance, settings.seed, settings.batch};
}

int meanflow_sample(const meanflow_model* model, size_t count, const meanflow_sampling* sampling,
                    const meanflow_condition* condition, float* samples) {
  return guarded(0, [&] {
    check(model, "model");
    check(samples, "samples");
    const meanflow_sampling how = sampling ? *sampling : meanflow_default_sampling();
    (void)batch_of(*model, count);
    copy_out(
        model->model->sample(
            count,
            {.steps = how.steps, .guidance = how.guidance, .seed = how.seed, .batch = how.batch},
            told(*model, condition, count)),
        samples);
    return 1;
  });
}

int meanflow_velocity(const meanflow_model* model, size_t rows, const float* z, const float* r,
                      const float* t, const meanflow_condition* condition, float* u) {
  return guarded(0, [&] {
    check(model, "model");
    for (const float* numbers : {z, r, t, static_cast<const float*>(u)}) check(numbers, "a tensor");
    copy_out(model->model->velocity(view(z, batch_of(*model, rows)), view(r, {rows, 1}),
                                    view(t, {rows, 1}), told(*model, condition, rows)),
             u);
    return 1;
  });
}

int meanflow_jvp(const meanflow_model* model, size_t rows, const float* z, const float* r,
                 const float* t, const float* dz, const float* dr, const float* dt,
                 const meanflow_condition* condition, float* u, float* du) {
  return guarded(0, [&] {
    check(model, "model");
    for (const float* numbers :
         {z, r, t, dz, dr, dt, static_cast<const float*>(u), static_cast<const float*>(du)})
      check(numbers, "a tensor");
    const Shape shape = batch_of(*model, rows), column{rows, 1};
    const auto [value, tangent] =
        model->model->jvp(view(z, shape), view(r, column), view(t, column), view(dz, shape),
                          view(dr, column), view(dt, column), told(*model, condition, rows));
    copy_out(value, u);
    copy_out(tangent, du);
    return 1;
  });
}
