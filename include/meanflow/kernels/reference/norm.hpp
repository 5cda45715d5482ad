// SPDX-License-Identifier: MIT
/// \file
/// Group normalisation, modulation and activation in one, as plain loops, channels last.
///
/// With mean m and deviation s of each group of channels of a row over all its pixels,
///   n = (x + c - m) / s,  s = sqrt(var + eps),   p = n a + b,   y = f(p),
/// where a, b and c are one number per row and channel, or a and b one per channel; c may be
/// absent. Layer normalisation is one group.
#pragma once

#include <cmath>
#include <cstddef>

#include <meanflow/scalar/dual.hpp>
#include <meanflow/scalar/math.hpp>
#include <meanflow/tensor/device.hpp>

namespace meanflow {

/// The extents of a normalised image batch, (rows, pixels, channels) in `groups` groups.
struct NormShape {
  std::size_t rows, pixels, channels, groups;

  [[nodiscard]] constexpr std::size_t group_channels() const { return channels / groups; }
  [[nodiscard]] constexpr std::size_t image() const { return pixels * channels; }
  /// Elements that share a mean.
  [[nodiscard]] constexpr std::size_t group_size() const { return pixels * group_channels(); }
};

/// What belongs to the channels of a normalised batch. Tangents of the first rows follow the rows.
template <class T>
struct NormTerms {
  const T *scale, *shift;    ///< a and b: (rows, channels), or (channels) without tangents
  bool shared = false;       ///< whether they are one for all rows
  const T* added = nullptr;  ///< c, (rows, channels); null for none

  /// From one row of a and b to the next.
  [[nodiscard]] MEANFLOW_HOST_DEVICE constexpr std::size_t stride(const NormShape& n) const {
    return shared ? 0 : n.channels;
  }
};

namespace kernels {

namespace detail {

/// f(i, k, c) for the elements of a group of row r, at i of the batch, whose a and b are at k and
/// whose c is at place c.
template <class T, class F>
void for_each_of_group(const NormShape& n, const NormTerms<T>& terms, std::size_t r, std::size_t g,
                       F f) {
  for (std::size_t p = 0; p < n.pixels; ++p)
    for (std::size_t c = g * n.group_channels(); c < (g + 1) * n.group_channels(); ++c)
      f(r * n.image() + p * n.channels + c, r * terms.stride(n) + c, r * n.channels + c);
}

template <class T>
[[nodiscard]] T added_at(const NormTerms<T>& terms, std::size_t place) {
  return terms.added ? terms.added[place] : T(0);
}

}  // namespace detail

/// y = f(n a + b), and for the first `tangent_rows` rows, whose tangents follow the rows of x, of
/// a, b and c and of y:
///   dy = f'(p) (dn a + n da + db),  dn = (dx + dc - mean(dx + dc) - n mean(n (dx + dc))) / s.
/// Stores m and 1 / s of every group, (rows, groups).
template <class F, class T>
void group_norm(Reference, F f, const NormShape& n, std::size_t tangent_rows, T epsilon, const T* x,
                const NormTerms<T>& terms, T* y, T* mean, T* inv_std) {
  using std::sqrt;
  const T size = T(n.group_size());
  const std::size_t values = n.rows * n.image(), modulations = n.rows * n.channels;
  for (std::size_t r = 0; r < n.rows; ++r)
    for (std::size_t g = 0; g < n.groups; ++g) {
      const auto for_each = [&](auto body) { detail::for_each_of_group(n, terms, r, g, body); };
      const auto value = [&](std::size_t i, std::size_t c) {
        return x[i] + detail::added_at(terms, c);
      };
      const auto tangent = [&](std::size_t i, std::size_t c) {
        return x[values + i] + detail::added_at(terms, modulations + c);
      };
      T sum(0), square(0);
      for_each([&](std::size_t i, std::size_t, std::size_t c) { sum += value(i, c); });
      const T m = sum / size;
      for_each([&](std::size_t i, std::size_t, std::size_t c) {
        square += (value(i, c) - m) * (value(i, c) - m);
      });
      const T inverse = T(1) / sqrt(square / size + epsilon);
      mean[r * n.groups + g] = m;
      inv_std[r * n.groups + g] = inverse;
      for_each([&](std::size_t i, std::size_t k, std::size_t c) {
        y[i] = f((value(i, c) - m) * inverse * terms.scale[k] + terms.shift[k]);
      });
      if (r >= tangent_rows) continue;
      T dsum(0), dot(0);
      for_each([&](std::size_t i, std::size_t, std::size_t c) {
        dsum += tangent(i, c);
        dot += (value(i, c) - m) * inverse * tangent(i, c);
      });
      for_each([&](std::size_t i, std::size_t k, std::size_t c) {
        const T normalized = (value(i, c) - m) * inverse;
        const T dn = (tangent(i, c) - dsum / size - normalized * (dot / size)) * inverse;
        const T da = terms.shared ? T(0) : terms.scale[modulations + k];
        const T db = terms.shared ? T(0) : terms.shift[modulations + k];
        const T slope = f(Dual<T>(normalized * terms.scale[k] + terms.shift[k], T(1))).tangent;
        y[values + i] = slope * (dn * terms.scale[k] + normalized * da + db);
      });
    }
}

/// With q = g f'(p): ga = sum over pixels of q n and gb = sum of q, (rows, channels) even where a
/// and b are shared; gx = (q a - mean(q a) - n mean(n q a)) / s; gc = sum over pixels of gx, unless
/// `added_gradient` is null. gx is added to `before`, a buffer of its own, unless that is null.
template <class F, class T>
void group_norm_backward(Reference, F f, const NormShape& n, const T* x, const NormTerms<T>& terms,
                         const T* mean, const T* inv_std, const T* g, T* gx, T* ga, T* gb,
                         T* added_gradient, const T* before) {
  for (std::size_t i = 0; i < n.rows * n.channels; ++i) {
    ga[i] = gb[i] = T(0);
    if (added_gradient) added_gradient[i] = T(0);
  }
  const T size = T(n.group_size());
  for (std::size_t r = 0; r < n.rows; ++r)
    for (std::size_t h = 0; h < n.groups; ++h) {
      const std::size_t group = r * n.groups + h;
      const auto for_each = [&](auto body) {
        detail::for_each_of_group(n, terms, r, h, [&](std::size_t i, std::size_t k, std::size_t c) {
          const T value = x[i] + detail::added_at(terms, c);
          const T normalized = (value - mean[group]) * inv_std[group];
          const T p = normalized * terms.scale[k] + terms.shift[k];
          body(i, k, c, normalized, g[i] * f(Dual<T>(p, T(1))).tangent);
        });
      };
      T sum(0), dot(0);
      for_each([&](std::size_t, std::size_t k, std::size_t c, T normalized, T q) {
        ga[c] += q * normalized;
        gb[c] += q;
        sum += q * terms.scale[k];
        dot += q * terms.scale[k] * normalized;
      });
      for_each([&](std::size_t i, std::size_t k, std::size_t c, T normalized, T q) {
        const T value =
            (q * terms.scale[k] - sum / size - normalized * (dot / size)) * inv_std[group];
        if (added_gradient) added_gradient[c] += value;
        gx[i] = before ? before[i] + value : value;
      });
    }
}

}  // namespace kernels
}  // namespace meanflow
