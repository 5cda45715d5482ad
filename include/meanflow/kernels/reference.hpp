// SPDX-License-Identifier: MIT
/// \file
/// The kernels as plain loops over any scalar type: short enough to be seen right, and the oracle
/// that every other device is tested against. Their signatures are those of all devices.
///
/// Conventions: matrices are row-major. `rows` are value rows; `tangent_rows` <= `rows` are the
/// tangents of the first of them and follow the values in the same buffer. A kernel knows no
/// differentiation: what it computes is written in its comment.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include <meanflow/kernels/broadcast.hpp>
#include <meanflow/kernels/precision.hpp>
#include <meanflow/kernels/reference/shapes.hpp>
#include <meanflow/random/philox.hpp>
#include <meanflow/scalar/dual.hpp>
#include <meanflow/scalar/math.hpp>
#include <meanflow/tensor/device.hpp>

namespace meanflow {

/// Whether a matrix enters a product as it is stored, or transposed.
enum class Transpose : bool { no, yes };

namespace kernels {

/// Runs f(first, last) over [0, n); devices with cores split the range.
template <class F>
void parallel_for(Reference, std::size_t n, std::size_t /*grain*/, F f) {
  f(std::size_t{0}, n);
}

/// Runs f(task, worker) for task in [0, tasks); worker < workers(device).
template <class F>
void parallel_tasks(Reference, std::size_t tasks, F f) {
  for (std::size_t task = 0; task < tasks; ++task) f(task, std::size_t{0});
}

/// Throws SettingError if the device cannot compute in `wanted`.
inline void check_precision(Reference, Precision wanted) {
  if (wanted != Precision::float32)
    throw SettingError("precision: the plain loops compute in the type that they are given alone");
}

/// Waits until the device has done all that it was asked for.
inline void wait(Reference) {}

/// Leaves a share of the device's memory free while the returned object is in scope; memory of the
/// host is shared with all.
[[nodiscard]] inline int spare_memory(Reference, double /*share*/) { return 0; }

/// How many workers `parallel_tasks` uses.
[[nodiscard]] inline std::size_t workers(Reference) { return 1; }

/// Into how many tiles a batch of `rows` is best cut for a net with so many parameters.
[[nodiscard]] inline std::size_t row_tiles(Reference, std::size_t /*rows*/,
                                           std::size_t /*parameters*/,
                                           std::size_t /*tile_rows*/ = 0) {
  return 1;
}

// ------------------------------------------------------------------------------- memory

/// y = value
template <class T>
void fill(Reference, std::size_t n, T value, T* y) {
  for (std::size_t i = 0; i < n; ++i) y[i] = value;
}

/// y = x
template <class T>
void copy(Reference, std::size_t n, const T* x, T* y) {
  for (std::size_t i = 0; i < n; ++i) y[i] = x[i];
}

/// y += x
template <class T>
void accumulate(Reference, std::size_t n, const T* x, T* y) {
  for (std::size_t i = 0; i < n; ++i) y[i] += x[i];
}

/// y[:, :columns] (+)= x[:, :columns] between matrices of different strides.
template <class T>
void copy_columns(Reference, std::size_t rows, std::size_t columns, const T* x,
                  std::size_t x_stride, T* y, std::size_t y_stride, bool add) {
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < columns; ++c)
      y[r * y_stride + c] = add ? y[r * y_stride + c] + x[r * x_stride + c] : x[r * x_stride + c];
}

namespace detail {

[[nodiscard]] MEANFLOW_HOST_DEVICE constexpr bool is_label(std::int32_t label,
                                                           std::size_t classes) {
  return label >= 0 && static_cast<std::size_t>(label) < classes;
}

}  // namespace detail

/// y[r] = table[labels[r]]; NaN for a label outside [0, classes), the table's rows.
template <class T>
void gather_rows(Reference, std::size_t rows, std::size_t columns, std::size_t classes,
                 const T* table, const std::int32_t* labels, T* y) {
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < columns; ++c)
      y[r * columns + c] = detail::is_label(labels[r], classes)
                               ? table[static_cast<std::size_t>(labels[r]) * columns + c]
                               : std::numeric_limits<T>::quiet_NaN();
}

/// table[labels[r]] += x[r]; nothing for a label outside [0, classes).
template <class T>
void scatter_add_rows(Reference, std::size_t rows, std::size_t columns, std::size_t classes,
                      const T* x, const std::int32_t* labels, T* table) {
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < columns && detail::is_label(labels[r], classes); ++c)
      table[static_cast<std::size_t>(labels[r]) * columns + c] += x[r * columns + c];
}

/// y (rows, classes): `scale` at the label of a row and zero elsewhere. A label of `classes` is
/// none, all zeros; any other outside [0, classes) makes the row NaN.
template <class T>
void one_hot(Reference, std::size_t rows, std::size_t classes, T scale, const std::int32_t* labels,
             T* y) {
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < classes; ++c)
      y[r * classes + c] = !detail::is_label(labels[r], classes + 1)
                               ? std::numeric_limits<T>::quiet_NaN()
                           : static_cast<std::size_t>(labels[r]) == c ? scale
                                                                      : T(0);
}

// ------------------------------------------------------------------------- element-wise

/// y = f(x) for n values; for the first `tangents` of them, whose tangents follow the values,
/// dy = f'(x) dx. Stores f'(x) of all values if `derivative` is given. x and y may be the same.
template <class F, class T>
void unary(Reference, F f, std::size_t n, std::size_t tangents, const T* x, T* y, T* derivative) {
  for (std::size_t i = 0; i < n; ++i) {
    const Dual<T> result = f(Dual<T>(x[i], T(1)));
    if (i < tangents) y[n + i] = result.tangent * x[n + i];
    if (derivative) derivative[i] = result.tangent;
    y[i] = result.primal;
  }
}

/// As `unary`, with f(x + bias) of a matrix of `columns` columns, in place.
template <class F, class T>
void bias_unary(Reference, F f, std::size_t rows, std::size_t tangent_rows, std::size_t columns,
                const T* bias, T* x, T* derivative) {
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < columns; ++c) {
      const std::size_t i = r * columns + c;
      const Dual<T> result = f(Dual<T>(bias ? x[i] + bias[c] : x[i], T(1)));
      if (r < tangent_rows) x[rows * columns + i] *= result.tangent;
      if (derivative) derivative[i] = result.tangent;
      x[i] = result.primal;
    }
}

/// g *= derivative (unless null), then bias_gradient += column sums of g (unless null).
template <class T>
void bias_unary_backward(Reference, std::size_t rows, std::size_t columns, const T* derivative,
                         T* g, T* bias_gradient) {
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < columns; ++c) {
      const std::size_t i = r * columns + c;
      if (derivative) g[i] *= derivative[i];
      if (bias_gradient) bias_gradient[c] += g[i];
    }
}

/// y = a x + b for n values, and dy = a dx for the `tangents` that follow.
template <class T>
void affine(Reference, std::size_t n, std::size_t tangents, T a, T b, const T* x, T* y) {
  for (std::size_t i = 0; i < n; ++i) y[i] = a * x[i] + b;
  for (std::size_t i = n; i < n + tangents; ++i) y[i] = a * x[i];
}

/// z = x y
template <class T>
void multiply(Reference, std::size_t n, const T* x, const T* y, T* z) {
  for (std::size_t i = 0; i < n; ++i) z[i] = x[i] * y[i];
}

/// z = f(x, y), broadcast.
template <class F, class T>
void binary(Reference, F f, const Broadcast& shape, const T* x, const T* y, T* z) {
  const std::size_t inner = shape.inner();
  const std::size_t xs = shape.rank ? shape.x_strides[shape.rank - 1] : 0;
  const std::size_t ys = shape.rank ? shape.y_strides[shape.rank - 1] : 0;
  for (std::size_t o = 0; o < shape.outer(); ++o) {
    const auto at = shape.offsets(o);
    for (std::size_t i = 0; i < inner; ++i)
      z[o * inner + i] = f(x[at.x + i * xs], y[at.y + i * ys]);
  }
}

/// dz = df/dx dx + df/dy dy at (x, y), broadcast.
template <class F, class T>
void binary_tangent(Reference, F f, const Broadcast& shape, const T* x, const T* dx, const T* y,
                    const T* dy, T* dz) {
  const std::size_t inner = shape.inner();
  const std::size_t xs = shape.rank ? shape.x_strides[shape.rank - 1] : 0;
  const std::size_t ys = shape.rank ? shape.y_strides[shape.rank - 1] : 0;
  for (std::size_t o = 0; o < shape.outer(); ++o) {
    const auto at = shape.offsets(o);
    for (std::size_t i = 0; i < inner; ++i) {
      const std::size_t p = at.x + i * xs, q = at.y + i * ys;
      dz[o * inner + i] = f(Dual<T>(x[p], dx[p]), Dual<T>(y[q], dy[q])).tangent;
    }
  }
}

/// gx += g df/dx and gy += g df/dy at (x, y), summed over what was broadcast; either may be null.
template <class F, class T>
void binary_backward(Reference, F f, const Broadcast& shape, const T* x, const T* y, const T* g,
                     T* gx, T* gy) {
  const std::size_t inner = shape.inner();
  const std::size_t xs = shape.rank ? shape.x_strides[shape.rank - 1] : 0;
  const std::size_t ys = shape.rank ? shape.y_strides[shape.rank - 1] : 0;
  for (std::size_t o = 0; o < shape.outer(); ++o) {
    const auto at = shape.offsets(o);
    for (std::size_t i = 0; i < inner; ++i) {
      const std::size_t p = at.x + i * xs, q = at.y + i * ys;
      const T upstream = g[o * inner + i];
      if (gx) gx[p] += upstream * f(Dual<T>(x[p], T(1)), Dual<T>(y[q], T(0))).tangent;
      if (gy) gy[q] += upstream * f(Dual<T>(x[p], T(0)), Dual<T>(y[q], T(1))).tangent;
    }
  }
}

// --------------------------------------------------------------------------- reductions

/// y[r] = scale * sum over the columns of x[r]
template <class T>
void sum_rows(Reference, std::size_t rows, std::size_t columns, T scale, const T* x, T* y) {
  for (std::size_t r = 0; r < rows; ++r) {
    T sum(0);
    for (std::size_t c = 0; c < columns; ++c) sum += x[r * columns + c];
    y[r] = scale * sum;
  }
}

/// gx[r, c] += scale * g[r]
template <class T>
void add_to_rows(Reference, std::size_t rows, std::size_t columns, T scale, const T* g, T* gx) {
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < columns; ++c) gx[r * columns + c] += scale * g[r];
}

/// Sum of x^2, in double.
template <class T>
[[nodiscard]] double squared_norm(Reference, std::size_t n, const T* x) {
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return sum;
}

/// *to = the same
template <class T>
void squared_norm(Reference, std::size_t n, const T* x, double* to) {
  *to = squared_norm(Reference{}, n, x);
}

// ----------------------------------------------------------------------------- products

/// c (m, n) = op(a) (m, k) op(b) (k, n) + beta c
template <class T>
void gemm(Reference, Transpose transpose_a, Transpose transpose_b, std::size_t m, std::size_t n,
          std::size_t k, const T* a, const T* b, T beta, T* c) {
  for (std::size_t i = 0; i < m; ++i)
    for (std::size_t j = 0; j < n; ++j) {
      T sum(0);
      for (std::size_t l = 0; l < k; ++l)
        sum += (transpose_a == Transpose::yes ? a[l * m + i] : a[i * k + l]) *
               (transpose_b == Transpose::yes ? b[j * k + l] : b[l * n + j]);
      c[i * n + j] = beta == T(0) ? sum : beta * c[i * n + j] + sum;
    }
}

// ------------------------------------------------------------------------------ dropout

namespace detail {

/// One row of `dropout` and, unless dx is null, its tangent.
template <class T>
void dropout_row(std::size_t columns, double rate, RandomStream stream, const T* x, const T* dx,
                 T* y, T* dy) {
  const double threshold = rate * 0x1p32;
  const T scale = T(1 / (1 - rate));
  for (std::size_t c = 0; c < columns; ++c) {
    const T factor = static_cast<double>(stream.bits()) < threshold ? T(0) : scale;
    y[c] = factor * x[c];
    if (dx) dy[c] = factor * dx[c];
  }
}

[[nodiscard]] inline RandomStream dropout_stream(std::uint64_t seed, std::uint64_t step,
                                                 std::uint64_t number, std::uint32_t block) {
  RandomStream stream(seed, Purpose::dropout, step, number);
  stream.seek(block);
  return stream;
}

}  // namespace detail

/// y[r] = x[r] m / (1 - rate), with m = 0 or 1 for each element: word 4 * block + c of the stream
/// (seed, dropout, *step, numbers[r]) decides about column c, dropping with probability `rate`.
/// Rows from `rows` on are tangents of the first ones and share their masks. y may be x.
template <class T>
void dropout(Reference, std::size_t rows, std::size_t tangent_rows, std::size_t columns,
             double rate, std::uint64_t seed, const std::uint64_t* step,
             const std::uint64_t* numbers, std::uint32_t block, const T* x, T* y) {
  for (std::size_t r = 0; r < rows; ++r) {
    const std::size_t at = r * columns, tangent = (rows + r) * columns;
    detail::dropout_row(columns, rate, detail::dropout_stream(seed, *step, numbers[r], block),
                        x + at, r < tangent_rows ? x + tangent : nullptr, y + at, y + tangent);
  }
}

// ------------------------------------------------------------------ softmax, embeddings

/// y[r] = exp(x[r] - max x[r]) / sum
template <class T>
void softmax(Reference, std::size_t rows, std::size_t columns, const T* x, T* y) {
  using std::exp;
  for (std::size_t r = 0; r < rows; ++r) {
    const T* in = x + r * columns;
    T* out = y + r * columns;
    T largest = in[0];
    for (std::size_t c = 1; c < columns; ++c) largest = in[c] > largest ? in[c] : largest;
    T sum(0);
    for (std::size_t c = 0; c < columns; ++c) sum += (out[c] = exp(in[c] - largest));
    for (std::size_t c = 0; c < columns; ++c) out[c] /= sum;
  }
}

/// z[r] = y[r] (v[r] - <y[r], v[r]>): the Jacobian of softmax at its result y times v. The Jacobian
/// is symmetric, so this is both the tangent and the backward rule.
template <class T>
void softmax_jacobian(Reference, std::size_t rows, std::size_t columns, const T* y, const T* v,
                      T* z) {
  for (std::size_t r = 0; r < rows; ++r) {
    T dot(0);
    for (std::size_t c = 0; c < columns; ++c) dot += y[r * columns + c] * v[r * columns + c];
    for (std::size_t c = 0; c < columns; ++c)
      z[r * columns + c] = y[r * columns + c] * (v[r * columns + c] - dot);
  }
}

/// y[r] = [cos(x f_0), ..., cos(x f_h), sin(x f_0), ..., sin(x f_h)], or sines first, with x =
/// x[r]. The tangents of the first `tangent_rows` rows follow in x and in y.
template <class T>
void sinusoid(Reference, std::size_t rows, std::size_t tangent_rows, std::size_t half,
              const T* frequencies, bool sines_first, const T* x, T* y) {
  using std::cos, std::sin;
  for (std::size_t r = 0; r < rows; ++r) {
    T* cosines = y + r * 2 * half + (sines_first ? half : 0);
    T* sines = y + r * 2 * half + (sines_first ? 0 : half);
    const std::size_t to_tangent = rows * 2 * half;
    for (std::size_t i = 0; i < half; ++i) {
      const T c = cos(x[r] * frequencies[i]), s = sin(x[r] * frequencies[i]);
      cosines[i] = c;
      sines[i] = s;
      if (r >= tangent_rows) continue;
      const T angle_tangent = frequencies[i] * x[rows + r];
      cosines[to_tangent + i] = -s * angle_tangent;
      sines[to_tangent + i] = c * angle_tangent;
    }
  }
}

/// gx[r] += sum over i of f_i (cos(x f_i) g_sin - sin(x f_i) g_cos), from the values y of
/// `sinusoid`.
template <class T>
void sinusoid_backward(Reference, std::size_t rows, std::size_t half, const T* frequencies,
                       bool sines_first, const T* y, const T* g, T* gx) {
  for (std::size_t r = 0; r < rows; ++r) {
    const std::size_t c = r * 2 * half + (sines_first ? half : 0);
    const std::size_t s = r * 2 * half + (sines_first ? 0 : half);
    T sum(0);
    for (std::size_t i = 0; i < half; ++i)
      sum += frequencies[i] * (y[c + i] * g[s + i] - y[s + i] * g[c + i]);
    gx[r] += sum;
  }
}

// -------------------------------------------------------------------------------- random

/// y (rows, columns) = standard normal numbers; row r is drawn at (step, first_row + r).
template <class T>
void fill_normal_rows(Reference, std::uint64_t seed, Purpose purpose, std::uint64_t step,
                      std::size_t first_row, std::size_t rows, std::size_t columns, T* y) {
  for (std::size_t r = 0; r < rows; ++r) {
    RandomStream stream(seed, purpose, step, first_row + r);
    for (std::size_t c = 0; c < columns; ++c) y[r * columns + c] = stream.template normal<T>();
  }
}

}  // namespace kernels
}  // namespace meanflow
