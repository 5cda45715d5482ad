// SPDX-License-Identifier: MIT
/// \file
/// Normalisation over the last axis, scaled and shifted, as plain loops.
///
/// With mean m, or m = 0 if not centred, and deviation s of each row,
///   n = (x - m) / s,  s = sqrt(mean((x - m)^2) + eps),  y = n a + b,
/// where a and b are shared by all rows (parameters), or by the tokens of one image (modulation).
#pragma once

#include <cmath>
#include <cstddef>

#include <meanflow/kernels/grouped_rows.hpp>
#include <meanflow/tensor/device.hpp>

namespace meanflow::kernels {

/// Whether the mean is subtracted before dividing by the deviation: layer normalisation does,
/// RMS normalisation does not.
enum class Centred : bool { no, yes };

/// y = n a + b; a and b (groups, columns), or null for 1 and 0. Keeps m and 1 / s, (rows) each.
/// The `tangent_rows` rows of x and y after the values are tangents of the first ones, whose a and
/// b have the tangents da and db (null for 0):
///   dn = (dx - mean(dx) - n mean(n dx)) / s, without the first mean if not centred,
///   dy = dn a + n da + db
template <class T>
void row_norm(Reference, Centred centred, const GroupedRows& s, std::size_t tangent_rows, T epsilon,
              const T* x, const T* a, const T* b, const T* da, const T* db, T* y, T* mean,
              T* inv_std) {
  using std::sqrt;
  const std::size_t columns = s.columns;
  const T count = T(columns);
  for (std::size_t r = 0; r < s.rows; ++r) {
    const T* in = x + r * columns;
    T sum(0), square(0);
    if (centred == Centred::yes)
      for (std::size_t c = 0; c < columns; ++c) sum += in[c];
    mean[r] = sum / count;
    for (std::size_t c = 0; c < columns; ++c) square += (in[c] - mean[r]) * (in[c] - mean[r]);
    inv_std[r] = T(1) / sqrt(square / count + epsilon);
    const std::size_t of_group = r / s.together * columns;
    for (std::size_t c = 0; c < columns; ++c) {
      const T n = (in[c] - mean[r]) * inv_std[r];
      y[r * columns + c] = (a ? n * a[of_group + c] : n) + (b ? b[of_group + c] : T(0));
    }
  }
  for (std::size_t r = 0; r < tangent_rows; ++r) {
    const T *in = x + r * columns, *dx = x + (s.rows + r) * columns;
    T* dy = y + (s.rows + r) * columns;
    const auto n = [&](std::size_t c) { return (in[c] - mean[r]) * inv_std[r]; };
    T sum(0), dot(0);
    for (std::size_t c = 0; c < columns; ++c) {
      if (centred == Centred::yes) sum += dx[c];
      dot += n(c) * dx[c];
    }
    const std::size_t of_group = r / s.together * columns;
    for (std::size_t c = 0; c < columns; ++c) {
      const T dn = (dx[c] - sum / count - n(c) * (dot / count)) * inv_std[r];
      dy[c] = (a ? dn * a[of_group + c] : dn) + (da ? n(c) * da[of_group + c] : T(0)) +
              (db ? db[of_group + c] : T(0));
    }
  }
}

/// With q = g a:  gx = (q - mean(q) - n mean(n q)) / s, without the first mean if not centred;
/// ga += sum of g n and gb += sum of g over the rows of a group, unless null.
template <class T>
void row_norm_backward(Reference, Centred centred, const GroupedRows& s, const T* x, const T* mean,
                       const T* inv_std, const T* a, const T* g, T* gx, T* ga, T* gb) {
  const std::size_t columns = s.columns;
  const T count = T(columns);
  for (std::size_t r = 0; r < s.rows; ++r) {
    const T *in = x + r * columns, *up = g + r * columns;
    const std::size_t of_group = r / s.together * columns;
    const auto n = [&](std::size_t c) { return (in[c] - mean[r]) * inv_std[r]; };
    const auto q = [&](std::size_t c) { return a ? up[c] * a[of_group + c] : up[c]; };
    T sum(0), dot(0);
    for (std::size_t c = 0; c < columns; ++c) {
      if (centred == Centred::yes) sum += q(c);
      dot += n(c) * q(c);
      if (ga) ga[of_group + c] += up[c] * n(c);
      if (gb) gb[of_group + c] += up[c];
    }
    for (std::size_t c = 0; c < columns; ++c)
      gx[r * columns + c] = (q(c) - sum / count - n(c) * (dot / count)) * inv_std[r];
  }
}

}  // namespace meanflow::kernels
