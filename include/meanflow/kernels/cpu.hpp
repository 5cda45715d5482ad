// SPDX-License-Identifier: MIT
/// \file
/// The kernels for the processor: xsimd and OpenMP for element-wise work and reductions, oneDNN or
/// OpenBLAS (through xtensor-blas) for products. `kernels/reference.hpp` says what each computes.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <xsimd/xsimd.hpp>

#include <meanflow/kernels/blas.hpp>
#include <meanflow/kernels/broadcast.hpp>
#include <meanflow/kernels/cpu/shapes.hpp>
#include <meanflow/kernels/cpu/threads.hpp>
#include <meanflow/kernels/onednn.hpp>
#include <meanflow/kernels/onednn_product.hpp>
#include <meanflow/kernels/precision.hpp>
#include <meanflow/kernels/reference.hpp>
#include <meanflow/kernels/simd.hpp>
#include <meanflow/random/philox.hpp>
#include <meanflow/scalar/dual.hpp>
#include <meanflow/scalar/math.hpp>
#include <meanflow/tensor/device.hpp>

namespace meanflow::kernels {

inline void check_precision(Cpu, Precision wanted) {
  if (wanted == Precision::float32) return;
  if (wanted == Precision::tf32)
    throw SettingError("precision is tf32, which GPUs alone compute in");
#ifdef MEANFLOW_WITH_ONEDNN
  if (detail::onednn_has_bfloat16()) return;
  throw SettingError(
      "precision is bfloat16, but this processor has no instructions for it (AVX-512 BF16, AMX)");
#else
  throw SettingError("precision is bfloat16, but this build has no oneDNN, which computes in it");
#endif
}

// ----------------------------------------------------------------------------- memory

template <class T>
void fill(Cpu, std::size_t n, T value, T* y) {
  parallel_for(Cpu{}, n, detail::parallel_grain,
               [=](std::size_t first, std::size_t last) { std::fill(y + first, y + last, value); });
}

template <class T>
void copy(Cpu, std::size_t n, const T* x, T* y) {
  parallel_for(Cpu{}, n, detail::parallel_grain, [=](std::size_t first, std::size_t last) {
    std::copy(x + first, x + last, y + first);
  });
}

template <class T>
void accumulate(Cpu, std::size_t n, const T* x, T* y) {
  parallel_for(Cpu{}, n, detail::parallel_grain, [=](std::size_t first, std::size_t last) {
    detail::for_each_batch<T>(first, last, [=](auto lanes, std::size_t i) {
      lanes.store(y + i, lanes.load(y + i) + lanes.load(x + i));
    });
  });
}

template <class T>
void copy_columns(Cpu, std::size_t rows, std::size_t columns, const T* x, std::size_t x_stride,
                  T* y, std::size_t y_stride, bool add) {
  const std::size_t grain = detail::rows_grain(columns);
  parallel_for(Cpu{}, rows, grain, [=](std::size_t first, std::size_t last) {
    for (std::size_t r = first; r < last; ++r) {
      const T* in = x + r * x_stride;
      T* out = y + r * y_stride;
      if (add)
        for (std::size_t c = 0; c < columns; ++c) out[c] += in[c];
      else
        for (std::size_t c = 0; c < columns; ++c) out[c] = in[c];
    }
  });
}

template <class T>
void gather_rows(Cpu, std::size_t rows, std::size_t columns, std::size_t classes, const T* table,
                 const std::int32_t* labels, T* y) {
  gather_rows(Reference{}, rows, columns, classes, table, labels, y);
}

template <class T>
void scatter_add_rows(Cpu, std::size_t rows, std::size_t columns, std::size_t classes, const T* x,
                      const std::int32_t* labels, T* table) {
  scatter_add_rows(Reference{}, rows, columns, classes, x, labels, table);
}

template <class T>
void one_hot(Cpu, std::size_t rows, std::size_t classes, T scale, const std::int32_t* labels,
             T* y) {
  one_hot(Reference{}, rows, classes, scale, labels, y);
}

// ----------------------------------------------------------------------- element-wise

template <class F, class T>
void unary(Cpu, F f, std::size_t n, std::size_t tangents, const T* x, T* y, T* derivative) {
  using D = Dual<xsimd::batch<T>>;
  parallel_for(Cpu{}, n, detail::parallel_grain, [=](std::size_t first, std::size_t last) {
    const std::size_t middle = std::clamp(tangents, first, last);
    detail::for_each_batch<T>(first, middle, [=](auto lanes, std::size_t i) {
      const D result = f(D(lanes.load(x + i), xsimd::batch<T>(T(1))));
      lanes.store(y + n + i, result.tangent * lanes.load(x + n + i));
      if (derivative) lanes.store(derivative + i, result.tangent);
      lanes.store(y + i, result.primal);
    });
    detail::for_each_batch<T>(middle, last, [=](auto lanes, std::size_t i) {
      if (derivative) {
        const D result = f(D(lanes.load(x + i), xsimd::batch<T>(T(1))));
        lanes.store(derivative + i, result.tangent);
        lanes.store(y + i, result.primal);
      } else {
        lanes.store(y + i, f(lanes.load(x + i)));
      }
    });
  });
}

template <class F, class T>
void bias_unary(Cpu, F f, std::size_t rows, std::size_t tangent_rows, std::size_t columns,
                const T* bias, T* x, T* derivative) {
  using Batch = xsimd::batch<T>;
  using D = Dual<Batch>;
  const std::size_t to_tangent = rows * columns;
  const std::size_t grain = detail::rows_grain(columns);
  parallel_for(Cpu{}, rows, grain, [=](std::size_t first, std::size_t last) {
    for (std::size_t r = first; r < last; ++r) {
      T* row = x + r * columns;
      T* slope = derivative ? derivative + r * columns : nullptr;
      const bool has_tangent = r < tangent_rows;
      const auto shifted = [=](auto lanes, std::size_t c) {
        return bias ? lanes.load(row + c) + lanes.load(bias + c) : lanes.load(row + c);
      };
      if (!has_tangent && !slope) {
        detail::for_each_batch<T>(0, columns, [=](auto lanes, std::size_t c) {
          lanes.store(row + c, f(shifted(lanes, c)));
        });
        continue;
      }
      detail::for_each_batch<T>(0, columns, [=](auto lanes, std::size_t c) {
        const D result = f(D(shifted(lanes, c), Batch(T(1))));
        if (has_tangent)
          lanes.store(row + to_tangent + c, result.tangent * lanes.load(row + to_tangent + c));
        if (slope) lanes.store(slope + c, result.tangent);
        lanes.store(row + c, result.primal);
      });
    }
  });
}

template <class T>
void bias_unary_backward(Cpu, std::size_t rows, std::size_t columns, const T* derivative, T* g,
                         T* bias_gradient) {
  using Batch = xsimd::batch<T>;
  constexpr std::size_t width = Batch::size;
  // Columns are split, not rows: every column sum stays with one thread and its order is fixed.
  const std::size_t grain = std::max<std::size_t>(width, detail::parallel_grain / (rows + 1));
  parallel_for(Cpu{}, columns, grain, [=](std::size_t first, std::size_t last) {
    std::size_t c = first;
    for (; c + 4 * width <= last; c += 4 * width) {
      Batch sums[4] = {Batch(T(0)), Batch(T(0)), Batch(T(0)), Batch(T(0))};
      for (std::size_t r = 0; r < rows; ++r) {
        T* in = g + r * columns + c;
        for (std::size_t k = 0; k < 4; ++k) {
          Batch value = xsimd::load_unaligned(in + k * width);
          if (derivative) {
            value *= Batch(xsimd::load_unaligned(derivative + r * columns + c + k * width));
            value.store_unaligned(in + k * width);
          }
          sums[k] += value;
        }
      }
      if (bias_gradient)
        for (std::size_t k = 0; k < 4; ++k) {
          T* out = bias_gradient + c + k * width;
          (Batch(xsimd::load_unaligned(out)) + sums[k]).store_unaligned(out);
        }
    }
    detail::for_each_batch<T>(c, last, [=](auto lanes, std::size_t j) {
      Batch sum(T(0));
      for (std::size_t r = 0; r < rows; ++r) {
        Batch value = lanes.load(g + r * columns + j);
        if (derivative) {
          value *= lanes.load(derivative + r * columns + j);
          lanes.store(g + r * columns + j, value);
        }
        sum += value;
      }
      if (bias_gradient) lanes.store(bias_gradient + j, lanes.load(bias_gradient + j) + sum);
    });
  });
}

template <class T>
void affine(Cpu, std::size_t n, std::size_t tangents, T a, T b, const T* x, T* y) {
  using Batch = xsimd::batch<T>;
  parallel_for(Cpu{}, n + tangents, detail::parallel_grain,
               [=](std::size_t first, std::size_t last) {
                 const std::size_t middle = std::clamp(n, first, last);
                 detail::for_each_batch<T>(first, middle, [=](auto lanes, std::size_t i) {
                   lanes.store(y + i, Batch(a) * lanes.load(x + i) + Batch(b));
                 });
                 detail::for_each_batch<T>(middle, last, [=](auto lanes, std::size_t i) {
                   lanes.store(y + i, Batch(a) * lanes.load(x + i));
                 });
               });
}

template <class T>
void multiply(Cpu, std::size_t n, const T* x, const T* y, T* z) {
  parallel_for(Cpu{}, n, detail::parallel_grain, [=](std::size_t first, std::size_t last) {
    detail::for_each_batch<T>(first, last, [=](auto lanes, std::size_t i) {
      lanes.store(z + i, lanes.load(x + i) * lanes.load(y + i));
    });
  });
}

namespace detail {

/// Loads element i of an operand with stride 1, or its only element for stride 0.
template <class Lanes, class T>
[[nodiscard]] inline xsimd::batch<T> load_strided(Lanes lanes, const T* x, std::size_t i,
                                                  std::size_t stride) {
  return stride == 0 ? xsimd::batch<T>(*x) : lanes.load(x + i);
}

/// f(x, y, z): the pointers of every inner run; inner strides are 0 or 1.
template <class F>
void for_each_run(const Broadcast& shape, F f) {
  const std::size_t inner = shape.inner();
  const std::size_t grain = rows_grain(inner);
  parallel_for(Cpu{}, shape.outer(), grain, [=](std::size_t first, std::size_t last) {
    for (std::size_t o = first; o < last; ++o) {
      const auto at = shape.offsets(o);
      f(at.x, at.y, o * inner);
    }
  });
}

}  // namespace detail

template <class F, class T>
void binary(Cpu, F f, const Broadcast& shape, const T* x, const T* y, T* z) {
  const std::size_t inner = shape.inner();
  const std::size_t xs = shape.rank ? shape.x_strides[shape.rank - 1] : 0;
  const std::size_t ys = shape.rank ? shape.y_strides[shape.rank - 1] : 0;
  detail::for_each_run(shape, [=](std::size_t xo, std::size_t yo, std::size_t zo) {
    detail::for_each_batch<T>(0, inner, [=](auto lanes, std::size_t i) {
      lanes.store(z + zo + i, f(detail::load_strided(lanes, x + xo, i, xs),
                                detail::load_strided(lanes, y + yo, i, ys)));
    });
  });
}

template <class F, class T>
void binary_tangent(Cpu, F f, const Broadcast& shape, const T* x, const T* dx, const T* y,
                    const T* dy, T* dz) {
  using D = Dual<xsimd::batch<T>>;
  const std::size_t inner = shape.inner();
  const std::size_t xs = shape.rank ? shape.x_strides[shape.rank - 1] : 0;
  const std::size_t ys = shape.rank ? shape.y_strides[shape.rank - 1] : 0;
  detail::for_each_run(shape, [=](std::size_t xo, std::size_t yo, std::size_t zo) {
    detail::for_each_batch<T>(0, inner, [=](auto lanes, std::size_t i) {
      const D a(detail::load_strided(lanes, x + xo, i, xs),
                detail::load_strided(lanes, dx + xo, i, xs));
      const D b(detail::load_strided(lanes, y + yo, i, ys),
                detail::load_strided(lanes, dy + yo, i, ys));
      lanes.store(dz + zo + i, f(a, b).tangent);
    });
  });
}

template <class F, class T>
void binary_backward(Cpu, F f, const Broadcast& shape, const T* x, const T* y, const T* g, T* gx,
                     T* gy) {
  using Batch = xsimd::batch<T>;
  using D = Dual<Batch>;
  const std::size_t inner = shape.inner();
  const std::size_t xs = shape.rank ? shape.x_strides[shape.rank - 1] : 0;
  const std::size_t ys = shape.rank ? shape.y_strides[shape.rank - 1] : 0;
  // Runs that share an operand add to the same place, so this loop stays on one thread.
  for (std::size_t o = 0; o < shape.outer(); ++o) {
    const auto at = shape.offsets(o);
    const T* upstream = g + o * inner;
    Batch x_sum(T(0)), y_sum(T(0));
    detail::for_each_batch<T>(0, inner, [&](auto lanes, std::size_t i) {
      const Batch p = detail::load_strided(lanes, x + at.x, i, xs);
      const Batch q = detail::load_strided(lanes, y + at.y, i, ys);
      const Batch up = lanes.load(upstream + i);
      const auto keep = [&](T* to, std::size_t stride, Batch& sum, const Batch& part) {
        if (stride == 0) {
          // Lanes beyond the end may hold anything (0/0): store and reload only the valid ones.
          alignas(64) T valid[Batch::size] = {};
          lanes.store(valid, part);
          sum += Batch(xsimd::load_aligned(valid));
        } else {
          lanes.store(to + i, lanes.load(to + i) + part);
        }
      };
      if (gx) keep(gx + at.x, xs, x_sum, up * f(D(p, Batch(T(1))), D(q, Batch(T(0)))).tangent);
      if (gy) keep(gy + at.y, ys, y_sum, up * f(D(p, Batch(T(0))), D(q, Batch(T(1)))).tangent);
    });
    if (gx && xs == 0) gx[at.x] += xsimd::hadd(x_sum);
    if (gy && ys == 0) gy[at.y] += xsimd::hadd(y_sum);
  }
}

// ------------------------------------------------------------------------- reductions

template <class T>
void sum_rows(Cpu, std::size_t rows, std::size_t columns, T scale, const T* x, T* y) {
  const std::size_t grain = detail::rows_grain(columns);
  parallel_for(Cpu{}, rows, grain, [=](std::size_t first, std::size_t last) {
    for (std::size_t r = first; r < last; ++r)
      y[r] = scale * detail::sum_of_batches<T>(0, columns, [=](auto lanes, std::size_t c) {
               return lanes.load(x + r * columns + c);
             });
  });
}

template <class T>
void add_to_rows(Cpu, std::size_t rows, std::size_t columns, T scale, const T* g, T* gx) {
  using Batch = xsimd::batch<T>;
  const std::size_t grain = detail::rows_grain(columns);
  parallel_for(Cpu{}, rows, grain, [=](std::size_t first, std::size_t last) {
    for (std::size_t r = first; r < last; ++r) {
      const T value = scale * g[r];
      detail::for_each_batch<T>(r * columns, (r + 1) * columns, [=](auto lanes, std::size_t i) {
        lanes.store(gx + i, lanes.load(gx + i) + Batch(value));
      });
    }
  });
}

template <class T>
[[nodiscard]] double squared_norm(Cpu, std::size_t n, const T* x) {
  // Blocks of fixed size, each summed in T and added in double: the same sum for any thread count.
  constexpr std::size_t block = 4096;
  double sum = 0;
  for (std::size_t first = 0; first < n; first += block)
    sum += static_cast<double>(detail::sum_of_batches<T>(
        first, std::min(n, first + block), [=](auto lanes, std::size_t i) {
          const xsimd::batch<T> value = lanes.load(x + i);
          return value * value;
        }));
  return sum;
}

template <class T>
void squared_norm(Cpu, std::size_t n, const T* x, double* to) {
  *to = squared_norm(Cpu{}, n, x);
}

// --------------------------------------------------------------------------- products

/// oneDNN for wide products of floats, OpenBLAS for the rest: with 2 columns or rows of 4, as the
/// first and last layers of a 2-D flow have, OpenBLAS is several times faster.
template <class T>
void gemm(Cpu, Transpose transpose_a, Transpose transpose_b, std::size_t m, std::size_t n,
          std::size_t k, const T* a, const T* b, T beta, T* c) {
  const bool ta = transpose_a == Transpose::yes, tb = transpose_b == Transpose::yes;
  if (m == 0 || n == 0) return;
  if (k == 0) {  // BLAS refuses leading extents of 0
    for (std::size_t i = 0; i < m * n; ++i) c[i] = beta == T(0) ? T(0) : beta * c[i];
    return;
  }
#ifdef MEANFLOW_WITH_ONEDNN
  if constexpr (std::is_same_v<T, float>) {
    if (precision() == Precision::bfloat16 && (beta == 0 || beta == 1) &&
        std::min({m, n, k}) >= 16 && 2 * m * n * k >= detail::least_bfloat16_product)
      return detail::onednn_bfloat16_gemm(ta, tb, m, n, k, a, b, beta, c);
    if (std::min({m, n, k}) >= 16) return detail::onednn_gemm(ta, tb, m, n, k, a, b, beta, c);
  }
#endif
  detail::blas_gemm(ta, tb, m, n, k, a, b, beta, c);
}

// ----------------------------------------------------------------------------- dropout

template <class T>
void dropout(Cpu, std::size_t rows, std::size_t tangent_rows, std::size_t columns, double rate,
             std::uint64_t seed, const std::uint64_t* step, const std::uint64_t* numbers,
             std::uint32_t block, const T* x, T* y) {
  const std::size_t grain = std::max<std::size_t>(1, detail::parallel_grain / 8 / (columns + 1));
  parallel_for(Cpu{}, rows, grain, [=](std::size_t first, std::size_t last) {
    for (std::size_t r = first; r < last; ++r) {
      const std::size_t at = r * columns, tangent = (rows + r) * columns;
      detail::dropout_row(columns, rate, detail::dropout_stream(seed, *step, numbers[r], block),
                          x + at, r < tangent_rows ? x + tangent : nullptr, y + at, y + tangent);
    }
  });
}

// ---------------------------------------------------------------- softmax, embeddings

template <class T>
void softmax(Cpu, std::size_t rows, std::size_t columns, const T* x, T* y) {
  const std::size_t grain = detail::rows_grain(columns);
  parallel_for(Cpu{}, rows, grain, [=](std::size_t first, std::size_t last) {
    for (std::size_t r = first; r < last; ++r) {
      const T* in = x + r * columns;
      T* out = y + r * columns;
      const T largest = *std::max_element(in, in + columns);
      detail::for_each_batch<T>(0, columns, [=](auto lanes, std::size_t c) {
        lanes.store(out + c, xsimd::exp(lanes.load(in + c) - xsimd::batch<T>(largest)));
      });
      const T sum = detail::sum_of_batches<T>(
          0, columns, [=](auto lanes, std::size_t c) { return lanes.load(out + c); });
      detail::for_each_batch<T>(0, columns, [=](auto lanes, std::size_t c) {
        lanes.store(out + c, lanes.load(out + c) / xsimd::batch<T>(sum));
      });
    }
  });
}

template <class T>
void softmax_jacobian(Cpu, std::size_t rows, std::size_t columns, const T* y, const T* v, T* z) {
  const std::size_t grain = detail::rows_grain(columns);
  parallel_for(Cpu{}, rows, grain, [=](std::size_t first, std::size_t last) {
    for (std::size_t r = first; r < last; ++r) {
      const T *p = y + r * columns, *q = v + r * columns;
      const T dot = detail::sum_of_batches<T>(0, columns, [=](auto lanes, std::size_t c) {
        return lanes.load(p + c) * lanes.load(q + c);
      });
      detail::for_each_batch<T>(0, columns, [=](auto lanes, std::size_t c) {
        lanes.store(z + r * columns + c,
                    lanes.load(p + c) * (lanes.load(q + c) - xsimd::batch<T>(dot)));
      });
    }
  });
}

template <class T>
void sinusoid(Cpu, std::size_t rows, std::size_t tangent_rows, std::size_t half,
              const T* frequencies, bool sines_first, const T* x, T* y) {
  using Batch = xsimd::batch<T>;
  const std::size_t to_tangent = rows * 2 * half;
  const std::size_t grain = std::max<std::size_t>(1, detail::parallel_grain / 8 / (half + 1));
  parallel_for(Cpu{}, rows, grain, [=](std::size_t first, std::size_t last) {
    for (std::size_t r = first; r < last; ++r) {
      T* cosines = y + r * 2 * half + (sines_first ? half : 0);
      T* sines = y + r * 2 * half + (sines_first ? 0 : half);
      detail::for_each_batch<T>(0, half, [=](auto lanes, std::size_t i) {
        const Batch frequency = lanes.load(frequencies + i);
        const auto [s, c] = xsimd::sincos(Batch(x[r]) * frequency);
        lanes.store(cosines + i, c);
        lanes.store(sines + i, s);
        if (r >= tangent_rows) return;
        const Batch angle_tangent = frequency * Batch(x[rows + r]);
        lanes.store(cosines + to_tangent + i, -s * angle_tangent);
        lanes.store(sines + to_tangent + i, c * angle_tangent);
      });
    }
  });
}

template <class T>
void sinusoid_backward(Cpu, std::size_t rows, std::size_t half, const T* frequencies,
                       bool sines_first, const T* y, const T* g, T* gx) {
  for (std::size_t r = 0; r < rows; ++r) {
    const std::size_t c = r * 2 * half + (sines_first ? half : 0);
    const std::size_t s = r * 2 * half + (sines_first ? 0 : half);
    gx[r] += detail::sum_of_batches<T>(0, half, [=](auto lanes, std::size_t i) {
      return lanes.load(frequencies + i) * (lanes.load(y + c + i) * lanes.load(g + s + i) -
                                            lanes.load(y + s + i) * lanes.load(g + c + i));
    });
  }
}

// ----------------------------------------------------------------------------- random

template <class T>
void fill_normal_rows(Cpu, std::uint64_t seed, Purpose purpose, std::uint64_t step,
                      std::size_t first_row, std::size_t rows, std::size_t columns, T* y) {
  const std::size_t grain = std::max<std::size_t>(1, detail::parallel_grain / 8 / (columns + 1));
  parallel_for(Cpu{}, rows, grain, [=](std::size_t first, std::size_t last) {
    fill_normal_rows(Reference{}, seed, purpose, step, first_row + first, last - first, columns,
                     y + first * columns);
  });
}

}  // namespace meanflow::kernels
