// SPDX-License-Identifier: MIT
// The Python module meanflow._core. Arrays go in and out without copies; while the library works,
// other Python threads run.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/function.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "../any_model.hpp"
#include "../train_points.hpp"

namespace nb = nanobind;

namespace {

using bindings::AnyModel;
using bindings::Told;
using meanflow::Shape;
using meanflow::Tensor;

template <class T>
using Array = nb::ndarray<const T, nb::c_contig, nb::device::cpu>;
template <class T>
using Given = std::optional<Array<T>>;

/// A view of an array's numbers.
template <class T>
[[nodiscard]] Tensor<T> view(const Array<T>& array) {
  Shape shape;
  for (std::size_t axis = 0; axis < array.ndim(); ++axis) shape.push_back(array.shape(axis));
  return Tensor<T>::borrow(const_cast<T*>(array.data()), shape);  // never written to
}

/// The same as (B, 1) if it is (B).
[[nodiscard]] Tensor<float> column(const Array<float>& array) {
  const Tensor<float> values = view(array);
  return array.ndim() == 1 ? values.reshaped({values.size(), 1}) : values;
}

template <class T>
[[nodiscard]] Tensor<T> view(const Given<T>& array) {
  return array ? view(*array) : Tensor<T>{};
}

[[nodiscard]] Told told(const Given<std::int32_t>& labels, const Given<float>& values,
                        const Given<float>& augmentation, const Given<float>& omega,
                        const Given<float>& t_min, const Given<float>& t_max) {
  const auto columns = [](const Given<float>& array) {
    return array ? column(*array) : Tensor<float>{};
  };
  return {view(labels),   view(values),   view(augmentation),
          columns(omega), columns(t_min), columns(t_max)};
}

/// A tensor as an array that keeps its memory alive.
[[nodiscard]] nb::ndarray<nb::numpy, float> to_numpy(Tensor<float> tensor) {
  auto* owner = new Tensor<float>(std::move(tensor));
  const nb::capsule keeper(owner, [](void* p) noexcept { delete static_cast<Tensor<float>*>(p); });
  const std::vector<std::size_t> extents(owner->shape().begin(), owner->shape().end());
  return {owner->data(), extents.size(), extents.data(), keeper};
}

/// f() while other Python threads run.
template <class F>
auto unlocked(F f) {
  const nb::gil_scoped_release release;
  return f();
}

}  // namespace

NB_MODULE(_core, m) {
  nb::exception<meanflow::Error>(m, "Error", PyExc_ValueError);

  m.def("set_threads", &bindings::set_threads);
  m.def("load", [](const std::string& path) {
    return unlocked(
        [&] { return std::const_pointer_cast<AnyModel>(bindings::load_any_model(path)); });
  });
  m.def(
      "train",
      [](Array<double> points, const bindings::PointTraining& settings,
         const std::function<void(std::uint64_t, double)>& progress) {
        if (points.ndim() != 2) throw meanflow::ShapeError("points must be (N, D)");
        const std::span<const double> values(points.data(), points.size());
        auto trained = unlocked([&] {
          return bindings::train_points(values, points.shape(1), settings,
                                        [&](std::uint64_t step, double loss) {
                                          const nb::gil_scoped_acquire acquire;
                                          if (PyErr_CheckSignals() != 0) throw nb::python_error();
                                          if (progress) progress(step, loss);
                                        });
        });
        return std::pair(std::const_pointer_cast<AnyModel>(trained.model),
                         to_numpy(trained.losses));
      },
      nb::arg("points"), nb::arg("settings"), nb::arg("progress").none());

  nb::class_<bindings::PointTraining>(m, "PointTraining")
      .def(nb::init<>())
      .def_rw("steps", &bindings::PointTraining::steps)
      .def_rw("batch", &bindings::PointTraining::batch)
      .def_rw("hidden", &bindings::PointTraining::hidden)
      .def_rw("layers", &bindings::PointTraining::layers)
      .def_rw("octaves", &bindings::PointTraining::octaves)
      .def_rw("learning_rate", &bindings::PointTraining::learning_rate)
      .def_rw("seed", &bindings::PointTraining::seed);

  nb::class_<AnyModel>(m, "Model")
      .def_prop_ro("net", &AnyModel::net)
      .def_prop_ro("settings_json", &AnyModel::settings)
      .def_prop_ro("parameters", &AnyModel::parameters)
      .def_prop_ro("parts", &AnyModel::parts)
      .def_prop_ro("row_shape",
                   [](const AnyModel& model) {
                     const Shape shape = model.row_shape();
                     return std::vector<std::size_t>(shape.begin(), shape.end());
                   })
      .def("save", [](const AnyModel& model,
                      const std::string& path) { unlocked([&] { model.save(path); }); })
      .def("sample",
           [](const AnyModel& model, std::size_t count, std::size_t steps, std::uint64_t seed,
              double guidance, std::size_t batch, const Given<std::int32_t>& labels,
              const Given<float>& values, const Given<float>& augmentation,
              const Given<float>& omega, const Given<float>& t_min, const Given<float>& t_max) {
             const Told known = told(labels, values, augmentation, omega, t_min, t_max);
             return to_numpy(unlocked([&] {
               return model.sample(
                   count, {.steps = steps, .guidance = guidance, .seed = seed, .batch = batch},
                   known);
             }));
           })
      .def("velocity",
           [](const AnyModel& model, const Array<float>& z, const Array<float>& r,
              const Array<float>& t, const Given<std::int32_t>& labels, const Given<float>& values,
              const Given<float>& augmentation, const Given<float>& omega,
              const Given<float>& t_min, const Given<float>& t_max) {
             const Told known = told(labels, values, augmentation, omega, t_min, t_max);
             return to_numpy(
                 unlocked([&] { return model.velocity(view(z), column(r), column(t), known); }));
           })
      .def("jvp", [](const AnyModel& model, const Array<float>& z, const Array<float>& r,
                     const Array<float>& t, const Array<float>& dz, const Array<float>& dr,
                     const Array<float>& dt, const Given<std::int32_t>& labels,
                     const Given<float>& values, const Given<float>& augmentation,
                     const Given<float>& omega, const Given<float>& t_min,
                     const Given<float>& t_max) {
        const Told known = told(labels, values, augmentation, omega, t_min, t_max);
        auto both = unlocked([&] {
          return model.jvp(view(z), column(r), column(t), view(dz), column(dr), column(dt), known);
        });
        return std::pair(to_numpy(std::move(both.value)), to_numpy(std::move(both.tangent)));
      });
}
