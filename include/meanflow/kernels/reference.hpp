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
#include <meanflow/random/philox.hpp>
#include <meanflow/scalar/dual.hpp>
#include <meanflow/scalar/math.hpp>
#include <meanflow/tensor/device.hpp>

namespace meanflow {

/// Whether a matrix enters a product as it is stored, or transposed.
enum class Transpose : bool { no, yes };

/// Coefficients of one Adam step, computed once per step in double precision (`optim/adam.hpp`).
struct AdamCoefficients {
  double learning_rate;
  double beta1, beta2;
  double epsilon;
  double correction1, correction2;  ///< 1 - beta1^n, 1 - beta2^n
  double weight_decay;              ///< decoupled (AdamW): p -= learning_rate * weight_decay * p
  double l2;                        ///< coupled (Adam): g += l2 * p
  double gradient_scale;            ///< multiplies g first: clipping
};

namespace kernels {

/// Runs f(first, last) over [0, n); devices with cores split the range.
template <class F>
void parallel_for(Reference, std::size_t n, std::size_t /*grain*/, F f) {
  f(std::size_t{0}, n);
}

/// Runs f(task, lane) for task in [0, tasks); lane < lanes(device) names the worker.
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

/// How many workers `parallel_tasks` uses.
[[nodiscard]] inline std::size_t lanes(Reference) { return 1; }

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

/// y[r] = table[labels[r]]; not a number for a label outside [0, classes), the table's rows.
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
/// none, all zeros; any other outside [0, classes) makes the row not a number.
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

/// y[i] = first + i
inline void count_up(Reference, std::size_t n, std::uint64_t first, std::uint64_t* y) {
  for (std::size_t i = 0; i < n; ++i) y[i] = first + i;
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
[[nodiscard]] double square_norm(Reference, std::size_t n, const T* x) {
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return sum;
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

// --------------------------------------------------------------------- random, flow, loss

/// y (rows, columns) = standard normal numbers; row r is drawn at (step, first_row + r).
template <class T>
void fill_normal_rows(Reference, std::uint64_t seed, Purpose purpose, std::uint64_t step,
                      std::size_t first_row, std::size_t rows, std::size_t columns, T* y) {
  for (std::size_t r = 0; r < rows; ++r) {
    RandomStream stream(seed, purpose, step, first_row + r);
    for (std::size_t c = 0; c < columns; ++c) y[r * columns + c] = stream.template normal<T>();
  }
}

/// (r, t)[i] = the pair that the sampler `times` draws at (step, first_row + i), which jumps if
/// that row is before `jump_end`.
template <class Times, class T>
void sample_times(Reference, const Times& times, std::uint64_t seed, std::uint64_t step,
                  std::uint64_t first_row, std::size_t rows, std::uint64_t jump_end, T* r, T* t) {
  for (std::size_t i = 0; i < rows; ++i) {
    RandomStream stream(seed, Purpose::times, step, first_row + i);
    const auto pair = times.sample(stream, first_row + i < jump_end);
    r[i] = static_cast<T>(pair.r);
    t[i] = static_cast<T>(pair.t);
  }
}

/// labels[i] = null_class where the rule says so of row first_row + i at that step.
template <class Rule>
void drop_labels(Reference, const Rule& rule, std::uint64_t step, std::size_t first_row,
                 std::size_t rows, std::int32_t null_class, std::int32_t* labels) {
  for (std::size_t i = 0; i < rows; ++i)
    if (rule(first_row + i, step)) labels[i] = null_class;
}

/// What guidance in the target makes a velocity of, row by row: shares of that of the data, of the
/// net without a class, and of the net with the class.
template <class Rule, class T>
void guidance_shares(Reference, const Rule& rule, std::size_t rows, const T* t,
                     const std::int32_t* labels, T* of_data, T* of_null, T* of_class) {
  for (std::size_t r = 0; r < rows; ++r) {
    const auto shares = rule(static_cast<double>(t[r]), labels[r]);
    of_data[r] = static_cast<T>(shares.of_data);
    of_null[r] = static_cast<T>(shares.of_null);
    of_class[r] = static_cast<T>(shares.of_class);
  }
}

/// z = alpha(t) x + sigma(t) e and v = alpha'(t) x + sigma'(t) e, row by row.
template <class Path, class T>
void interpolate(Reference, const Path& path, std::size_t rows, std::size_t columns, const T* t,
                 const T* x, const T* e, T* z, T* v) {
  for (std::size_t r = 0; r < rows; ++r) {
    const Dual<T> time(t[r], T(1));
    const Dual<T> alpha = path.alpha(time), sigma = path.sigma(time);
    for (std::size_t i = r * columns; i < (r + 1) * columns; ++i) {
      z[i] = alpha.primal * x[i] + sigma.primal * e[i];
      v[i] = alpha.tangent * x[i] + sigma.tangent * e[i];
    }
  }
}

/// The MeanFlow residual, row by row:
///   error = u - (v - (t - r) du/dt), with du/dt = 0 beyond the first `jump_rows` rows,
///   square = |error|^2, velocity_square = |u - v|^2, derivative_square = |du/dt|^2.
template <class T>
void flow_residual(Reference, std::size_t rows, std::size_t jump_rows, std::size_t columns,
                   const T* u, const T* derivative, const T* v, const T* r, const T* t, T* error,
                   T* square, T* velocity_square, T* derivative_square) {
  for (std::size_t row = 0; row < rows; ++row) {
    T sum(0), velocity_sum(0), derivative_sum(0);
    for (std::size_t i = row * columns; i < (row + 1) * columns; ++i) {
      const T difference = u[i] - v[i];
      T e = difference;
      if (row < jump_rows) {
        e += (t[row] - r[row]) * derivative[i];
        derivative_sum += derivative[i] * derivative[i];
      }
      velocity_sum += difference * difference;
      sum += e * e;
      error[i] = e;
    }
    square[row] = sum;
    velocity_square[row] = velocity_sum;
    derivative_square[row] = derivative_sum;
  }
}

/// losses[r] = weight square[r] and scales[r] = 2 weight / batch with weight =
/// weighting(square[r], columns): each row's share in the mean loss over `batch` rows, and the
/// factor that turns its error into the gradient of that.
template <class Weighting, class T>
void weigh_rows(Reference, const Weighting& weighting, std::size_t rows, std::size_t columns,
                std::size_t batch, const T* square, double* losses, T* scales) {
  for (std::size_t row = 0; row < rows; ++row) {
    const double value = static_cast<double>(square[row]);
    const double weight = weighting(value, columns);
    losses[row] = weight * value;
    scales[row] = static_cast<T>(2 * weight / static_cast<double>(batch));
  }
}

/// y[r] = scales[r] x[r]; x and y may be the same.
template <class T>
void scale_rows(Reference, std::size_t rows, std::size_t columns, const T* scales, const T* x,
                T* y) {
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < columns; ++c) y[r * columns + c] = scales[r] * x[r * columns + c];
}

/// z -= scale * u
template <class T>
void step_along(Reference, std::size_t n, T scale, const T* u, T* z) {
  for (std::size_t i = 0; i < n; ++i) z[i] -= scale * u[i];
}

// ---------------------------------------------------------------------------- optimizer

/// One step of Adam or AdamW (arXiv 1412.6980, 1711.05101) over flat buffers.
template <class T>
void adam(Reference, std::size_t n, const AdamCoefficients& c, const T* g, T* m, T* v, T* p) {
  using std::sqrt;
  for (std::size_t i = 0; i < n; ++i) {
    const T gradient = T(c.gradient_scale) * g[i] + T(c.l2) * p[i];
    m[i] = T(c.beta1) * m[i] + T(1 - c.beta1) * gradient;
    v[i] = T(c.beta2) * v[i] + T(1 - c.beta2) * gradient * gradient;
    const T denominator = sqrt(v[i]) * T(1 / std::sqrt(c.correction2)) + T(c.epsilon);
    p[i] = p[i] * T(1 - c.learning_rate * c.weight_decay) -
           T(c.learning_rate / c.correction1) * m[i] / denominator;
  }
}

/// average += (1 - decay) (p - average)
template <class T>
void average(Reference, std::size_t n, double decay, const T* p, T* average) {
  for (std::size_t i = 0; i < n; ++i) average[i] += T(1 - decay) * (p[i] - average[i]);
}

}  // namespace kernels
}  // namespace meanflow
