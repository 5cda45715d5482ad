// SPDX-License-Identifier: MIT
/// \file
/// Group normalisation, modulation and activation in one, as plain loops, channels last.
///
/// With mean m and deviation s of each group of channels of a row over all its pixels,
///   n = (x - m) / s,  s = sqrt(var + eps),   p = n a + b,   y = f(p),
/// where a and b are one number per row and channel. Layer normalisation is one group.
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

namespace kernels {

/// Mean and 1 / s of every group: `mean` and `inv_std` are (rows, groups).
template <class T>
void group_statistics(Reference, const NormShape& n, T epsilon, const T* x, T* mean, T* inv_std) {
  using std::sqrt;
  for (std::size_t r = 0; r < n.rows; ++r)
    for (std::size_t g = 0; g < n.groups; ++g) {
      const auto for_each = [&](auto f) {
        for (std::size_t p = 0; p < n.pixels; ++p)
          for (std::size_t c = g * n.group_channels(); c < (g + 1) * n.group_channels(); ++c)
            f(x[r * n.image() + p * n.channels + c]);
      };
      T sum(0), square(0);
      for_each([&](T value) { sum += value; });
      const T m = sum / T(n.group_size());
      for_each([&](T value) { square += (value - m) * (value - m); });
      mean[r * n.groups + g] = m;
      inv_std[r * n.groups + g] = T(1) / sqrt(square / T(n.group_size()) + epsilon);
    }
}

/// y = f(n a + b); a and b are (rows, channels).
template <class F, class T>
void group_norm(Reference, F f, const NormShape& n, const T* x, const T* mean, const T* inv_std,
                const T* a, const T* b, T* y) {
  for (std::size_t r = 0; r < n.rows; ++r)
    for (std::size_t p = 0; p < n.pixels; ++p)
      for (std::size_t c = 0; c < n.channels; ++c) {
        const std::size_t i = r * n.image() + p * n.channels + c, k = r * n.channels + c;
        const std::size_t group = r * n.groups + c / n.group_channels();
        y[i] = f((x[i] - mean[group]) * inv_std[group] * a[k] + b[k]);
      }
}

/// dy = f'(p) (dn a + n da + db) with dn = (dx - mean(dx) - n mean(n dx)) / s.
template <class F, class T>
void group_norm_tangent(Reference, F f, const NormShape& n, const T* x, const T* dx, const T* mean,
                        const T* inv_std, const T* a, const T* da, const T* b, const T* db, T* dy) {
  for (std::size_t r = 0; r < n.rows; ++r)
    for (std::size_t g = 0; g < n.groups; ++g) {
      const std::size_t group = r * n.groups + g;
      const auto for_each = [&](auto body) {
        for (std::size_t p = 0; p < n.pixels; ++p)
          for (std::size_t c = g * n.group_channels(); c < (g + 1) * n.group_channels(); ++c) {
            const std::size_t i = r * n.image() + p * n.channels + c, k = r * n.channels + c;
            body(i, k, (x[i] - mean[group]) * inv_std[group], dx[i]);
          }
      };
      T sum(0), dot(0);
      for_each([&](std::size_t, std::size_t, T normalized, T d) {
        sum += d;
        dot += normalized * d;
      });
      const T size = T(n.group_size());
      for_each([&](std::size_t i, std::size_t k, T normalized, T d) {
        const T dn = (d - sum / size - normalized * (dot / size)) * inv_std[group];
        const T slope = f(Dual<T>(normalized * a[k] + b[k], T(1))).tangent;
        dy[i] = slope * (dn * a[k] + normalized * da[k] + db[k]);
      });
    }
}

/// With q = g f'(p): ga = sum over pixels of q n, gb = sum of q (both (rows, channels)), and
/// gx = (q a - mean(q a) - n mean(n q a)) / s.
template <class F, class T>
void group_norm_backward(Reference, F f, const NormShape& n, const T* x, const T* mean,
                         const T* inv_std, const T* a, const T* b, const T* g, T* gx, T* ga,
                         T* gb) {
  for (std::size_t r = 0; r < n.rows; ++r)
    for (std::size_t group_index = 0; group_index < n.groups; ++group_index) {
      const std::size_t group = r * n.groups + group_index;
      const std::size_t first = group_index * n.group_channels();
      const auto for_each = [&](auto body) {
        for (std::size_t p = 0; p < n.pixels; ++p)
          for (std::size_t c = first; c < first + n.group_channels(); ++c) {
            const std::size_t i = r * n.image() + p * n.channels + c, k = r * n.channels + c;
            const T normalized = (x[i] - mean[group]) * inv_std[group];
            const T q = g[i] * f(Dual<T>(normalized * a[k] + b[k], T(1))).tangent;
            body(i, k, normalized, q);
          }
      };
      for (std::size_t c = first; c < first + n.group_channels(); ++c)
        ga[r * n.channels + c] = gb[r * n.channels + c] = T(0);
      T sum(0), dot(0);
      for_each([&](std::size_t, std::size_t k, T normalized, T q) {
        ga[k] += q * normalized;
        gb[k] += q;
        sum += q * a[k];
        dot += q * a[k] * normalized;
      });
      const T size = T(n.group_size());
      for_each([&](std::size_t i, std::size_t k, T normalized, T q) {
        gx[i] = (q * a[k] - sum / size - normalized * (dot / size)) * inv_std[group];
      });
    }
}

}  // namespace kernels
}  // namespace meanflow
