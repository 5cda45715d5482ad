// SPDX-License-Identifier: MIT
/// \file
/// Random numbers, the path, the loss and the optimizer. `kernels/reference.hpp` says what each
/// computes.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include <meanflow/kernels/cuda/elementwise.hpp>
#include <meanflow/kernels/step_numbers.hpp>
#include <meanflow/random/philox.hpp>

namespace meanflow::kernels {

// ------------------------------------------------------------------------ random numbers

// A step, and the row where its jumps end, are numbers or the places on the device where those lie:
// work that is recorded and replayed has to look them up.

namespace cuda {

[[nodiscard]] MEANFLOW_HOST_DEVICE inline std::uint64_t number(std::uint64_t step) { return step; }
[[nodiscard]] MEANFLOW_HOST_DEVICE inline std::uint64_t number(const std::uint64_t* step) {
  return *step;
}

}  // namespace cuda

// A thread takes what one block of four words gives: four numbers of float, or two of double.
template <class Step, class T>
void fill_normal_rows(Cuda, std::uint64_t seed, Purpose purpose, Step step, std::size_t first_row,
                      std::size_t rows, std::size_t columns, T* y) {
  constexpr std::size_t each = 16 / sizeof(T);
  const std::size_t blocks = (columns + each - 1) / each;
  cuda::for_each_index(rows * blocks, [=] MEANFLOW_HOST_DEVICE(std::size_t index) {
    const std::size_t r = index / blocks, block = index % blocks;
    RandomStream stream(seed, purpose, cuda::number(step), first_row + r);
    stream.seek(static_cast<std::uint32_t>(block));
    const std::size_t first = block * each;
    const std::size_t last = first + each < columns ? first + each : columns;
    for (std::size_t c = first; c < last; ++c) y[r * columns + c] = stream.template normal<T>();
  });
}

template <class T>
void dropout(Cuda, std::size_t rows, std::size_t tangent_rows, std::size_t columns, double rate,
             std::uint64_t seed, const std::uint64_t* step, const std::uint64_t* numbers,
             std::uint32_t block, const T* x, T* y) {
  constexpr std::size_t each = 4;
  const std::size_t blocks = (columns + each - 1) / each;
  const double threshold = rate * 4294967296.0;  // 2^32
  const T scale = T(1 / (1 - rate));
  cuda::for_each_index(rows * blocks, [=] MEANFLOW_HOST_DEVICE(std::size_t index) {
    const std::size_t r = index / blocks, part = index % blocks;
    RandomStream stream(seed, Purpose::dropout, *step, numbers[r]);
    stream.seek(block + static_cast<std::uint32_t>(part));
    const std::size_t first = part * each;
    const std::size_t last = first + each < columns ? first + each : columns;
    for (std::size_t c = first; c < last; ++c) {
      const T factor = static_cast<double>(stream.bits()) < threshold ? T(0) : scale;
      y[r * columns + c] = factor * x[r * columns + c];
      const std::size_t tangent = (rows + r) * columns + c;
      if (r < tangent_rows) y[tangent] = factor * x[tangent];
    }
  });
}

// -------------------------------------------------------------------------- flow and loss

template <class Times, class Step, class T>
void sample_times(Cuda, const Times& times, std::uint64_t seed, Step step, std::uint64_t first_row,
                  std::size_t rows, Step jump_end, T* r, T* t) {
  cuda::for_each_index(rows, [=] MEANFLOW_HOST_DEVICE(std::size_t i) {
    RandomStream stream(seed, Purpose::times, cuda::number(step), first_row + i);
    const auto pair = times.sample(stream, first_row + i < cuda::number(jump_end));
    r[i] = static_cast<T>(pair.r);
    t[i] = static_cast<T>(pair.t);
  });
}

template <class Rule, class Step>
void drop_labels(Cuda, const Rule& rule, Step step, std::size_t first_row, std::size_t rows,
                 std::int32_t null_class, std::int32_t* labels) {
  cuda::for_each_index(rows, [=] MEANFLOW_HOST_DEVICE(std::size_t i) {
    if (rule(first_row + i, cuda::number(step))) labels[i] = null_class;
  });
}

template <class Rule, class T>
void guidance_shares(Cuda, const Rule& rule, std::size_t rows, const T* t,
                     const std::int32_t* labels, T* of_data, T* of_null, T* of_class) {
  cuda::for_each_index(rows, [=] MEANFLOW_HOST_DEVICE(std::size_t r) {
    const auto shares = rule(static_cast<double>(t[r]), labels[r]);
    of_data[r] = static_cast<T>(shares.of_data);
    of_null[r] = static_cast<T>(shares.of_null);
    of_class[r] = static_cast<T>(shares.of_class);
  });
}

template <class Path, class T>
void interpolate(Cuda, const Path& path, std::size_t rows, std::size_t columns, const T* t,
                 const T* x, const T* e, T* z, T* v) {
  const cuda::Divisor by(columns);
  cuda::for_each_index(rows * columns, [=] MEANFLOW_HOST_DEVICE(std::size_t i) {
    const Dual<T> time(t[i / by], T(1));
    const Dual<T> alpha = path.alpha(time), sigma = path.sigma(time);
    z[i] = alpha.primal * x[i] + sigma.primal * e[i];
    v[i] = alpha.tangent * x[i] + sigma.tangent * e[i];
  });
}

namespace cuda {

template <class T>
struct Squares {
  T error{}, velocity{}, derivative{};
  friend MEANFLOW_HOST_DEVICE Squares operator+(const Squares& a, const Squares& b) {
    return {a.error + b.error, a.velocity + b.velocity, a.derivative + b.derivative};
  }
};

}  // namespace cuda

template <class T>
void flow_residual(Cuda, std::size_t rows, std::size_t jump_rows, std::size_t columns, const T* u,
                   const T* derivative, const T* v, const T* r, const T* t, T* error, T* square,
                   T* velocity_square, T* derivative_square) {
  cuda::reduce_rows<cuda::Squares<T>>(
      rows, columns,
      [=] MEANFLOW_HOST_DEVICE(std::size_t row, std::size_t c) {
        const std::size_t i = row * columns + c;
        const T difference = u[i] - v[i];
        const T slope = row < jump_rows ? derivative[i] : T(0);
        const T e = difference + (t[row] - r[row]) * slope;
        error[i] = e;
        return cuda::Squares<T>{e * e, difference * difference, slope * slope};
      },
      [=] MEANFLOW_HOST_DEVICE(std::size_t row, cuda::Squares<T> sums) {
        square[row] = sums.error;
        velocity_square[row] = sums.velocity;
        derivative_square[row] = sums.derivative;
      });
}

template <class Weighting, class T>
void weigh_rows(Cuda, const Weighting& weighting, std::size_t rows, std::size_t columns,
                std::size_t batch, const T* square, double* losses, T* scales) {
  cuda::for_each_index(rows, [=] MEANFLOW_HOST_DEVICE(std::size_t row) {
    const double value = static_cast<double>(square[row]);
    const double weight = weighting(value, columns);
    losses[row] = weight * value;
    scales[row] = static_cast<T>(2 * weight / static_cast<double>(batch));
  });
}

template <class T>
void scale_rows(Cuda, std::size_t rows, std::size_t columns, const T* scales, const T* x, T* y) {
  const cuda::Divisor by(columns);
  cuda::for_each_index(rows * columns,
                       [=] MEANFLOW_HOST_DEVICE(std::size_t i) { y[i] = scales[i / by] * x[i]; });
}

template <class T>
void step_along(Cuda, std::size_t n, T scale, const T* u, T* z) {
  cuda::for_each_index(n, [=] MEANFLOW_HOST_DEVICE(std::size_t i) { z[i] -= scale * u[i]; });
}

// ---------------------------------------------------------------------------- optimizer

template <class T>
void adam(Cuda, std::size_t n, const AdamCoefficients& c, const T* g, T* m, T* v, T* p) {
  const AdamNumbers<T> numbers(c);
  cuda::for_each_index(n, [=] MEANFLOW_HOST_DEVICE(std::size_t i) {
    numbers.update(numbers.scale * g[i], m[i], v[i], p[i]);
  });
}

template <class T>
void average(Cuda, std::size_t n, double decay, const T* p, T* average) {
  const T share = T(1 - decay);
  cuda::for_each_index(
      n, [=] MEANFLOW_HOST_DEVICE(std::size_t i) { average[i] += share * (p[i] - average[i]); });
}

// What the trainer needs of a device that it does not wait for: what happened to the rows, the
// squared norm of the gradient and what changes from step to step lie there, and decide there.

/// to[4 i] to to[4 i + 3] = loss, squared error, |u - v|^2 and |du/dt|^2 of row i.
template <class T>
void report_rows(Cuda, std::size_t rows, const double* losses, const T* square,
                 const T* velocity_square, const T* derivative_square, double* to) {
  cuda::for_each_index(rows, [=] MEANFLOW_HOST_DEVICE(std::size_t i) {
    to[4 * i] = losses[i];
    to[4 * i + 1] = static_cast<double>(square[i]);
    to[4 * i + 2] = static_cast<double>(velocity_square[i]);
    to[4 * i + 3] = static_cast<double>(derivative_square[i]);
  });
}

/// *gradient += 0 times the sum of n numbers: not a number if one of them is not finite.
template <class T>
void poison(Cuda, std::size_t n, const double* numbers, T* gradient) {
  cuda::reduce_rows<double>(
      1, n, [=] MEANFLOW_HOST_DEVICE(std::size_t, std::size_t i) { return 0 * numbers[i]; },
      [=] MEANFLOW_HOST_DEVICE(std::size_t, double sum) { *gradient += static_cast<T>(sum); });
}

namespace cuda {

/// Whether a squared norm is finite.
[[nodiscard]] MEANFLOW_HOST_DEVICE inline bool is_finite(double value) {
  return value - value == 0;
}

/// What a gradient of that squared norm is multiplied by to be no longer than `clip_norm`.
[[nodiscard]] MEANFLOW_HOST_DEVICE inline double clip_factor(double clip_norm, double square) {
  using std::sqrt;
  const double norm = sqrt(square);
  return clip_norm > 0 && norm > clip_norm ? clip_norm / norm : 1.0;
}

}  // namespace cuda

/// `adam` on the gradient clipped to `clip_norm` (0: not at all), given its squared norm; nothing
/// if that is not finite.
template <class T>
void guarded_adam(Cuda, std::size_t n, const StepNumbers<T>* numbers, double clip_norm,
                  const double* square_norm, const T* g, T* m, T* v, T* p) {
  cuda::for_each_index(n, [=] MEANFLOW_HOST_DEVICE(std::size_t i) {
    if (!cuda::is_finite(*square_norm)) return;
    numbers->adam.update(T(cuda::clip_factor(clip_norm, *square_norm)) * g[i], m[i], v[i], p[i]);
  });
}

/// average += *share (p - average), if the squared norm is finite.
template <class T>
void guarded_average(Cuda, std::size_t n, const T* share, const double* square_norm, const T* p,
                     T* average) {
  cuda::for_each_index(n, [=] MEANFLOW_HOST_DEVICE(std::size_t i) {
    if (cuda::is_finite(*square_norm)) average[i] += *share * (p[i] - average[i]);
  });
}

}  // namespace meanflow::kernels
