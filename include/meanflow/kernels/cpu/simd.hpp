// SPDX-License-Identifier: MIT
/// \file
/// Loops over xsimd batches. The last, incomplete batch goes through the same instructions as the
/// full ones, so that an element's result does not depend on where it lies.
#pragma once

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include <xsimd/xsimd.hpp>

#include <meanflow/kernels/element.hpp>

namespace meanflow::kernels::detail {

/// A full batch of T.
template <class T>
struct FullLanes {
  using Batch = xsimd::batch<T>;
  static constexpr std::size_t count = Batch::size;

  [[nodiscard]] Batch load(const T* x) const { return xsimd::load_unaligned(x); }
  void store(T* y, const Batch& value) const { value.store_unaligned(y); }
};

/// The first `count` lanes of a batch; the others hold zeros and are not stored. With 512-bit
/// vectors the processor skips them itself.
template <class T>
struct SomeLanes {
  using Batch = xsimd::batch<T>;
  std::size_t count;

#if XSIMD_WITH_AVX512F
  static constexpr bool masks =
      std::is_same_v<T, float> ? Batch::size == 16 : std::is_same_v<T, double> && Batch::size == 8;
#else
  static constexpr bool masks = false;
#endif

  [[nodiscard]] Batch load(const T* x) const {
    if constexpr (masks) return load_masked(x);
    alignas(64) T lanes[Batch::size] = {};
    std::copy_n(x, count, lanes);
    return xsimd::load_aligned(lanes);
  }
  void store(T* y, const Batch& value) const {
    if constexpr (masks) return store_masked(y, value);
    alignas(64) T lanes[Batch::size];
    value.store_aligned(lanes);
    std::copy_n(lanes, count, y);
  }

 private:
#if XSIMD_WITH_AVX512F
  [[nodiscard]] unsigned mask() const { return (1U << count) - 1; }
  [[nodiscard]] Batch load_masked(const T* x) const {
    if constexpr (std::is_same_v<T, float>)
      return _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask()), x);
    else
      return _mm512_maskz_loadu_pd(static_cast<__mmask8>(mask()), x);
  }
  void store_masked(T* y, const Batch& value) const {
    if constexpr (std::is_same_v<T, float>)
      _mm512_mask_storeu_ps(y, static_cast<__mmask16>(mask()), value);
    else
      _mm512_mask_storeu_pd(y, static_cast<__mmask8>(mask()), value);
  }
#else
  [[nodiscard]] Batch load_masked(const T* x) const;
  void store_masked(T* y, const Batch& value) const;
#endif
};

/// The elements from `index` on that fill a batch, as bodies of work see them (`Element`).
template <class Lanes>
struct Position {
  Lanes lanes;
  std::size_t index;

  template <class T>
  [[nodiscard]] xsimd::batch<T> load(const T* x) const {
    return lanes.load(x + index);
  }
  template <class T>
  void store(T* y, const xsimd::batch<T>& value) const {
    lanes.store(y + index, value);
  }
};

/// body(position) for every batch of [first, last).
template <class T, class Body>
inline void for_each_position(std::size_t first, std::size_t last, const Body& body) {
  constexpr std::size_t width = FullLanes<T>::count;
  std::size_t i = first;
  for (; i + width <= last; i += width) body(Position<FullLanes<T>>{{}, i});
  if (i < last) body(Position<SomeLanes<T>>{{last - i}, i});
}

/// f(lanes, i) for every batch of [first, last).
template <class T, class F>
inline void for_each_batch(std::size_t first, std::size_t last, F f) {
  constexpr std::size_t width = FullLanes<T>::count;
  std::size_t i = first;
  for (; i + width <= last; i += width) f(FullLanes<T>{}, i);
  if (i < last) f(SomeLanes<T>{last - i}, i);
}

/// The sum of the lanes of f(lanes, i) over [first, last); f must give 0 in lanes beyond the end,
/// as sums and products of what `lanes.load` returned do.
template <class T, class F>
[[nodiscard]] inline T sum_of_batches(std::size_t first, std::size_t last, F f) {
  xsimd::batch<T> sum(T(0));
  for_each_batch<T>(first, last, [&](auto lanes, std::size_t i) { sum += f(lanes, i); });
  return xsimd::hadd(sum);
}

}  // namespace meanflow::kernels::detail

template <class T>
struct meanflow::detail::BatchFunctions<xsimd::batch<T>> {
  using Batch = xsimd::batch<T>;

  /// xsimd 8 leaves the choice to the compiler where vectors have 512 bits.
  [[nodiscard]] static Batch fused(const Batch& a, const Batch& b, const Batch& c) {
#if XSIMD_WITH_AVX512F
    if constexpr (std::is_same_v<T, float> && Batch::size == 16)
      return _mm512_fmadd_ps(a, b, c);
    else if constexpr (std::is_same_v<T, double> && Batch::size == 8)
      return _mm512_fmadd_pd(a, b, c);
    else
#endif
      return xsimd::fma(a, b, c);
  }

  [[nodiscard]] static SineAndCosine<Batch> sine_and_cosine(const Batch& x) {
    const auto [sine, cosine] = xsimd::sincos(x);
    return {sine, cosine};
  }
};
