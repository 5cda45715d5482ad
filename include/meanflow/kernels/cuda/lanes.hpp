// SPDX-License-Identifier: MIT
/// \file
/// Neighbouring numbers that one thread of a GPU works on at a time, so that it reads and writes 16
/// bytes with one instruction and finds out once where they are.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include <meanflow/config.hpp>
#include <meanflow/kernels/element.hpp>
#include <meanflow/scalar/traits.hpp>

namespace meanflow::kernels::cuda {

/// What a comparison of `Lanes` gives.
template <std::size_t N>
struct LanesMask {
  bool of[N];
};

/// N numbers, used as one: the GPU's counterpart of a SIMD batch.
template <class T, std::size_t N>
struct Lanes {
  using value_type = T;
  T of[N];

  Lanes() = default;
  /// N times the same.
  MEANFLOW_HOST_DEVICE constexpr Lanes(T value) {
    for (std::size_t k = 0; k < N; ++k) of[k] = value;
  }

  template <class F>
  [[nodiscard]] MEANFLOW_HOST_DEVICE static Lanes map(const Lanes& x, F f) {
    Lanes y;
    for (std::size_t k = 0; k < N; ++k) y.of[k] = f(x.of[k]);
    return y;
  }
  template <class F>
  [[nodiscard]] MEANFLOW_HOST_DEVICE static Lanes map(const Lanes& x, const Lanes& y, F f) {
    Lanes z;
    for (std::size_t k = 0; k < N; ++k) z.of[k] = f(x.of[k], y.of[k]);
    return z;
  }
  template <class F>
  [[nodiscard]] MEANFLOW_HOST_DEVICE static LanesMask<N> compare(const Lanes& x, const Lanes& y,
                                                                 F f) {
    LanesMask<N> mask;
    for (std::size_t k = 0; k < N; ++k) mask.of[k] = f(x.of[k], y.of[k]);
    return mask;
  }

  [[nodiscard]] friend MEANFLOW_HOST_DEVICE Lanes operator+(const Lanes& a, const Lanes& b) {
    return map(a, b, [](T x, T y) { return x + y; });
  }
  [[nodiscard]] friend MEANFLOW_HOST_DEVICE Lanes operator-(const Lanes& a, const Lanes& b) {
    return map(a, b, [](T x, T y) { return x - y; });
  }
  [[nodiscard]] friend MEANFLOW_HOST_DEVICE Lanes operator*(const Lanes& a, const Lanes& b) {
    return map(a, b, [](T x, T y) { return x * y; });
  }
  [[nodiscard]] friend MEANFLOW_HOST_DEVICE Lanes operator/(const Lanes& a, const Lanes& b) {
    return map(a, b, [](T x, T y) { return x / y; });
  }
  [[nodiscard]] friend MEANFLOW_HOST_DEVICE Lanes operator-(const Lanes& a) {
    return map(a, [](T x) { return -x; });
  }
  MEANFLOW_HOST_DEVICE Lanes& operator+=(const Lanes& b) { return *this = *this + b; }
  MEANFLOW_HOST_DEVICE Lanes& operator-=(const Lanes& b) { return *this = *this - b; }
  MEANFLOW_HOST_DEVICE Lanes& operator*=(const Lanes& b) { return *this = *this * b; }
  MEANFLOW_HOST_DEVICE Lanes& operator/=(const Lanes& b) { return *this = *this / b; }

  [[nodiscard]] friend MEANFLOW_HOST_DEVICE LanesMask<N> operator<(const Lanes& a, const Lanes& b) {
    return compare(a, b, [](T x, T y) { return x < y; });
  }
  [[nodiscard]] friend MEANFLOW_HOST_DEVICE LanesMask<N> operator<=(const Lanes& a,
                                                                    const Lanes& b) {
    return compare(a, b, [](T x, T y) { return x <= y; });
  }
  [[nodiscard]] friend MEANFLOW_HOST_DEVICE LanesMask<N> operator>(const Lanes& a, const Lanes& b) {
    return b < a;
  }
  [[nodiscard]] friend MEANFLOW_HOST_DEVICE LanesMask<N> operator>=(const Lanes& a,
                                                                    const Lanes& b) {
    return b <= a;
  }
  [[nodiscard]] friend MEANFLOW_HOST_DEVICE LanesMask<N> operator==(const Lanes& a,
                                                                    const Lanes& b) {
    return compare(a, b, [](T x, T y) { return x == y; });
  }
  [[nodiscard]] friend MEANFLOW_HOST_DEVICE Lanes select(const LanesMask<N>& mask, const Lanes& a,
                                                         const Lanes& b) {
    Lanes y;
    for (std::size_t k = 0; k < N; ++k) y.of[k] = mask.of[k] ? a.of[k] : b.of[k];
    return y;
  }

  // Found by the type of their argument, as those of the other packs of numbers are.
  [[nodiscard]] friend MEANFLOW_HOST_DEVICE Lanes exp(const Lanes& x) {
    return map(x, [](T v) { return std::exp(v); });
  }
  [[nodiscard]] friend MEANFLOW_HOST_DEVICE Lanes expm1(const Lanes& x) {
    return map(x, [](T v) { return std::expm1(v); });
  }
  [[nodiscard]] friend MEANFLOW_HOST_DEVICE Lanes log(const Lanes& x) {
    return map(x, [](T v) { return std::log(v); });
  }
  [[nodiscard]] friend MEANFLOW_HOST_DEVICE Lanes log1p(const Lanes& x) {
    return map(x, [](T v) { return std::log1p(v); });
  }
  [[nodiscard]] friend MEANFLOW_HOST_DEVICE Lanes log2(const Lanes& x) {
    return map(x, [](T v) { return std::log2(v); });
  }
  [[nodiscard]] friend MEANFLOW_HOST_DEVICE Lanes sqrt(const Lanes& x) {
    return map(x, [](T v) { return std::sqrt(v); });
  }
  [[nodiscard]] friend MEANFLOW_HOST_DEVICE Lanes cbrt(const Lanes& x) {
    return map(x, [](T v) { return std::cbrt(v); });
  }
  [[nodiscard]] friend MEANFLOW_HOST_DEVICE Lanes sin(const Lanes& x) {
    return map(x, [](T v) { return std::sin(v); });
  }
  [[nodiscard]] friend MEANFLOW_HOST_DEVICE Lanes cos(const Lanes& x) {
    return map(x, [](T v) { return std::cos(v); });
  }
  [[nodiscard]] friend MEANFLOW_HOST_DEVICE Lanes tan(const Lanes& x) {
    return map(x, [](T v) { return std::tan(v); });
  }
  [[nodiscard]] friend MEANFLOW_HOST_DEVICE Lanes sinh(const Lanes& x) {
    return map(x, [](T v) { return std::sinh(v); });
  }
  [[nodiscard]] friend MEANFLOW_HOST_DEVICE Lanes cosh(const Lanes& x) {
    return map(x, [](T v) { return std::cosh(v); });
  }
  [[nodiscard]] friend MEANFLOW_HOST_DEVICE Lanes tanh(const Lanes& x) {
    return map(x, [](T v) { return std::tanh(v); });
  }
  [[nodiscard]] friend MEANFLOW_HOST_DEVICE Lanes asin(const Lanes& x) {
    return map(x, [](T v) { return std::asin(v); });
  }
  [[nodiscard]] friend MEANFLOW_HOST_DEVICE Lanes acos(const Lanes& x) {
    return map(x, [](T v) { return std::acos(v); });
  }
  [[nodiscard]] friend MEANFLOW_HOST_DEVICE Lanes atan(const Lanes& x) {
    return map(x, [](T v) { return std::atan(v); });
  }
  [[nodiscard]] friend MEANFLOW_HOST_DEVICE Lanes erf(const Lanes& x) {
    return map(x, [](T v) { return std::erf(v); });
  }
  [[nodiscard]] friend MEANFLOW_HOST_DEVICE Lanes erfc(const Lanes& x) {
    return map(x, [](T v) { return std::erfc(v); });
  }
  [[nodiscard]] friend MEANFLOW_HOST_DEVICE Lanes abs(const Lanes& x) {
    return map(x, [](T v) { return std::abs(v); });
  }
  [[nodiscard]] friend MEANFLOW_HOST_DEVICE Lanes floor(const Lanes& x) {
    return map(x, [](T v) { return std::floor(v); });
  }
  [[nodiscard]] friend MEANFLOW_HOST_DEVICE Lanes ceil(const Lanes& x) {
    return map(x, [](T v) { return std::ceil(v); });
  }
  [[nodiscard]] friend MEANFLOW_HOST_DEVICE Lanes round(const Lanes& x) {
    return map(x, [](T v) { return std::round(v); });
  }
  [[nodiscard]] friend MEANFLOW_HOST_DEVICE Lanes atan2(const Lanes& y, const Lanes& x) {
    return map(y, x, [](T a, T b) { return std::atan2(a, b); });
  }
  [[nodiscard]] friend MEANFLOW_HOST_DEVICE Lanes hypot(const Lanes& x, const Lanes& y) {
    return map(x, y, [](T a, T b) { return std::hypot(a, b); });
  }
  [[nodiscard]] friend MEANFLOW_HOST_DEVICE Lanes pow(const Lanes& x, const Lanes& y) {
    return map(x, y, [](T a, T b) { return std::pow(a, b); });
  }
  [[nodiscard]] friend MEANFLOW_HOST_DEVICE Lanes fma(const Lanes& a, const Lanes& b,
                                                      const Lanes& c) {
    Lanes y;
    for (std::size_t k = 0; k < N; ++k) y.of[k] = std::fma(a.of[k], b.of[k], c.of[k]);
    return y;
  }
  /// The sum of its numbers.
  [[nodiscard]] friend MEANFLOW_HOST_DEVICE T sum_of(const Lanes& x) {
    T sum = x.of[0];
    for (std::size_t k = 1; k < N; ++k) sum += x.of[k];
    return sum;
  }
};

#ifdef __CUDACC__

namespace detail {

/// Words that one instruction moves: 16 bytes, or all of less.
template <std::size_t Bytes>
using Words = std::conditional_t<Bytes % 16 == 0, uint4, uint2>;
template <std::size_t Bytes>
inline constexpr bool has_words = Bytes % 16 == 0 || Bytes == 8;

}  // namespace detail

#endif

/// N numbers from x on: with 16 bytes an instruction where they lie at a multiple of that.
template <std::size_t N, class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE Lanes<T, N> load_lanes(const T* x) {
  Lanes<T, N> y;
#ifdef __CUDA_ARCH__
  if constexpr (detail::has_words<N * sizeof(T)>) {
    using Word = detail::Words<N * sizeof(T)>;
    if (reinterpret_cast<std::uintptr_t>(x) % sizeof(Word) == 0) {
      Word words[N * sizeof(T) / sizeof(Word)];
      for (std::size_t k = 0; k < N * sizeof(T) / sizeof(Word); ++k)
        words[k] = reinterpret_cast<const Word*>(x)[k];
      memcpy(y.of, words, sizeof y.of);
      return y;
    }
  }
#endif
  for (std::size_t k = 0; k < N; ++k) y.of[k] = x[k];
  return y;
}

template <std::size_t N, class T>
MEANFLOW_HOST_DEVICE void store_lanes(T* y, const Lanes<T, N>& x) {
#ifdef __CUDA_ARCH__
  if constexpr (detail::has_words<N * sizeof(T)>) {
    using Word = detail::Words<N * sizeof(T)>;
    if (reinterpret_cast<std::uintptr_t>(y) % sizeof(Word) == 0) {
      Word words[N * sizeof(T) / sizeof(Word)];
      memcpy(words, x.of, sizeof x.of);
      for (std::size_t k = 0; k < N * sizeof(T) / sizeof(Word); ++k)
        reinterpret_cast<Word*>(y)[k] = words[k];
      return;
    }
  }
#endif
  for (std::size_t k = 0; k < N; ++k) y[k] = x.of[k];
}

/// N elements of buffers, from `index` on, as bodies of work see them (`Element`).
template <std::size_t N>
struct Neighbours {
  std::size_t index;

  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE Lanes<T, N> load(const T* x) const {
    return load_lanes<N>(x + index);
  }
  template <class T>
  MEANFLOW_HOST_DEVICE void store(T* y, const Lanes<T, N>& value) const {
    store_lanes(y + index, value);
  }
};

/// How many elements a thread takes at a time.
inline constexpr std::size_t lanes = 4;
using Four = Neighbours<lanes>;

/// How many threads that makes for n elements.
[[nodiscard]] inline std::size_t fours(std::size_t n) { return (n + lanes - 1) / lanes; }

}  // namespace meanflow::kernels::cuda

namespace meanflow {

template <class T, std::size_t N>
struct scalar_traits<kernels::cuda::Lanes<T, N>> {
  using value_type = T;
};

namespace detail {

template <class T, std::size_t N>
struct BatchFunctions<kernels::cuda::Lanes<T, N>> {
  using Batch = kernels::cuda::Lanes<T, N>;

  [[nodiscard]] MEANFLOW_HOST_DEVICE static Batch fused(const Batch& a, const Batch& b,
                                                        const Batch& c) {
    return fma(a, b, c);
  }
  [[nodiscard]] MEANFLOW_HOST_DEVICE static SineAndCosine<Batch> sine_and_cosine(const Batch& x) {
    return {sin(x), cos(x)};
  }
};

}  // namespace detail
}  // namespace meanflow
