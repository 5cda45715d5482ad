// SPDX-License-Identifier: MIT
/// \file
/// Group normalisation on the processor: vectors run along the channels, sums are kept per channel
/// and then added up by group; what is added before is part of each channel's shift, and so costs
/// nothing. `kernels/reference/norm.hpp` says what each kernel computes.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>

#include <meanflow/kernels/cpu.hpp>
#include <meanflow/kernels/reference/norm.hpp>
#include <meanflow/kernels/scratch.hpp>

namespace meanflow::kernels {

namespace detail {

/// f(row) for every row, on all threads where there is enough to do.
template <class F>
void for_each_norm_row(const NormShape& n, F f) {
  const std::size_t grain = rows_grain(n.image());
  parallel_for(Cpu{}, n.rows, grain, [&](std::size_t first, std::size_t last) {
    for (std::size_t r = first; r < last; ++r) f(r);
  });
}

/// f(lanes, channel, offset of that channel in pixel p) over an image, a few vectors of channels at
/// a time so that what belongs to a channel stays in registers and memory is read in stretches:
/// `begin(lanes, c)` gives a channel's state, `end` takes it.
template <class T, class Begin, class Body, class End>
void for_each_channel(const NormShape& n, Begin begin, Body body, End end) {
  using State = decltype(begin(FullLanes<T>{}, std::size_t{0}));
  constexpr std::size_t width = FullLanes<T>::count, together = 4, step = together * width;
  std::size_t first = 0;
  for (; first + step <= n.channels; first += step) {
    const auto channel = [&](std::size_t k) { return first + k * width; };
    State states[together] = {begin(FullLanes<T>{}, channel(0)), begin(FullLanes<T>{}, channel(1)),
                              begin(FullLanes<T>{}, channel(2)), begin(FullLanes<T>{}, channel(3))};
    for (std::size_t p = 0; p < n.pixels; ++p)
      for (std::size_t k = 0; k < together; ++k)
        body(FullLanes<T>{}, states[k], channel(k), p * n.channels + channel(k));
    for (std::size_t k = 0; k < together; ++k) end(FullLanes<T>{}, states[k], channel(k));
  }
  for_each_batch<T>(first, n.channels, [&](auto lanes, std::size_t c) {
    State state = begin(lanes, c);
    for (std::size_t p = 0; p < n.pixels; ++p) body(lanes, state, c, p * n.channels + c);
    end(lanes, state, c);
  });
}

/// to[group] = scale * sum over its channels of from[c].
template <class T>
void channels_to_groups(const NormShape& n, T scale, const T* from, T* to) {
  for (std::size_t g = 0; g < n.groups; ++g) {
    T sum(0);
    for (std::size_t c = g * n.group_channels(); c < (g + 1) * n.group_channels(); ++c)
      sum += from[c];
    to[g] = scale * sum;
  }
}

/// to[c] = from[group of c]
template <class T>
void groups_to_channels(const NormShape& n, const T* from, T* to) {
  for (std::size_t c = 0; c < n.channels; ++c) to[c] = from[c / n.group_channels()];
}

/// shift[c] = added - mean and inv_std[c] of one row, per channel.
template <class T>
void channel_statistics(const NormShape& n, std::size_t row, const T* mean, const T* inv_std,
                        const T* added, T* shift, T* channel_inverse) {
  for (std::size_t c = 0; c < n.channels; ++c) {
    const std::size_t group = row * n.groups + c / n.group_channels();
    shift[c] = added ? added[row * n.channels + c] - mean[group] : -mean[group];
    channel_inverse[c] = inv_std[group];
  }
}

/// Mean and 1 / s of every group.
template <class T>
void group_statistics(const NormShape& n, T epsilon, const T* x, const T* added, T* mean,
                      T* inv_std) {
  using Batch = xsimd::batch<T>;
  for_each_norm_row(n, [&](std::size_t r) {
    const Scratch<T> sums(n.channels), shifts(n.channels), means(n.groups);
    const T* image = x + r * n.image();
    const T scale = T(1) / T(n.group_size());
    for_each_channel<T>(
        n, [](auto, std::size_t) { return Batch(T(0)); },
        [=](auto lanes, Batch& sum, std::size_t, std::size_t i) { sum += lanes.load(image + i); },
        [&](auto lanes, const Batch& sum, std::size_t c) { lanes.store(sums.data() + c, sum); });
    const T* const of_row = added ? added + r * n.channels : nullptr;
    if (of_row)
      for (std::size_t c = 0; c < n.channels; ++c) sums.data()[c] += T(n.pixels) * of_row[c];
    channels_to_groups(n, scale, sums.data(), means.data());
    for (std::size_t c = 0; c < n.channels; ++c) {
      const T m = means.data()[c / n.group_channels()];
      shifts.data()[c] = of_row ? of_row[c] - m : -m;
    }
    struct State {
      Batch shift, square;
    };
    for_each_channel<T>(
        n,
        [&](auto lanes, std::size_t c) {
          return State{lanes.load(shifts.data() + c), Batch(T(0))};
        },
        [=](auto lanes, State& s, std::size_t, std::size_t i) {
          const Batch d = lanes.load(image + i) + s.shift;
          s.square += d * d;
        },
        [&](auto lanes, const State& s, std::size_t c) { lanes.store(sums.data() + c, s.square); });
    T *row_mean = mean + r * n.groups, *row_inverse = inv_std + r * n.groups;
    std::copy_n(means.data(), n.groups, row_mean);
    channels_to_groups(n, scale, sums.data(), row_inverse);
    for (std::size_t g = 0; g < n.groups; ++g)
      row_inverse[g] = T(1) / std::sqrt(row_inverse[g] + epsilon);
  });
}

/// y = f(n a + b)
template <class F, class T>
void group_norm_values(F f, const NormShape& n, const T* x, const NormTerms<T>& terms,
                       const T* mean, const T* inv_std, T* y) {
  using Batch = xsimd::batch<T>;
  struct State {
    Batch shift, inv_std, a, b;
  };
  for_each_norm_row(n, [&](std::size_t r) {
    const Scratch<T> shift(n.channels), scale(n.channels);
    channel_statistics(n, r, mean, inv_std, terms.added, shift.data(), scale.data());
    const T* const image = x + r * n.image();
    const T *const ra = terms.scale + r * terms.stride(n), *const rb =
                                                               terms.shift + (ra - terms.scale);
    T* out = y + r * n.image();
    for_each_channel<T>(
        n,
        [&](auto lanes, std::size_t c) {
          return State{lanes.load(shift.data() + c), lanes.load(scale.data() + c),
                       lanes.load(ra + c), lanes.load(rb + c)};
        },
        [=](auto lanes, const State& s, std::size_t, std::size_t i) {
          const Batch normalized = (lanes.load(image + i) + s.shift) * s.inv_std;
          lanes.store(out + i, f(Batch(normalized * s.a + s.b)));
        },
        [](auto, const State&, std::size_t) {});
  });
}

/// The tangents of the first `tangent_rows` rows.
template <class F, class T>
void group_norm_tangents(F f, const NormShape& all, std::size_t tangent_rows, const T* x,
                         const NormTerms<T>& terms, const T* mean, const T* inv_std, T* y) {
  const std::size_t values = all.rows * all.image(), modulations = all.rows * all.channels;
  NormShape n = all;
  n.rows = tangent_rows;
  using Batch = xsimd::batch<T>;
  for_each_norm_row(n, [&](std::size_t r) {
    const Scratch<T> shift(n.channels), scale(n.channels), sums(n.channels), dots(n.channels),
        groups(2 * n.groups), means(n.channels), dot_means(n.channels), zeros(n.channels);
    std::fill_n(zeros.data(), n.channels, T(0));
    channel_statistics(n, r, mean, inv_std, terms.added, shift.data(), scale.data());
    const T *const image = x + r * n.image(), *const tangent = image + values;
    const T *const a = terms.scale + r * terms.stride(n), *const b =
                                                              terms.shift + (a - terms.scale);
    const T* const da = terms.shared ? zeros.data() : a + modulations;
    const T* const db = terms.shared ? zeros.data() : b + modulations;
    const T* const dc = terms.added ? terms.added + modulations + r * n.channels : zeros.data();
    struct Sums {
      Batch shift, inv_std, added, sum, dot;
    };
    for_each_channel<T>(
        n,
        [&](auto lanes, std::size_t c) {
          return Sums{lanes.load(shift.data() + c), lanes.load(scale.data() + c),
                      lanes.load(dc + c), Batch(T(0)), Batch(T(0))};
        },
        [=](auto lanes, Sums& s, std::size_t, std::size_t i) {
          const Batch normalized = (lanes.load(image + i) + s.shift) * s.inv_std;
          const Batch d = lanes.load(tangent + i) + s.added;
          s.sum += d;
          s.dot += normalized * d;
        },
        [&](auto lanes, const Sums& s, std::size_t c) {
          lanes.store(sums.data() + c, s.sum);
          lanes.store(dots.data() + c, s.dot);
        });
    const T size = T(1) / T(n.group_size());
    channels_to_groups(n, size, sums.data(), groups.data());
    channels_to_groups(n, size, dots.data(), groups.data() + n.groups);
    groups_to_channels(n, groups.data(), means.data());
    groups_to_channels(n, groups.data() + n.groups, dot_means.data());
    struct State {
      Batch shift, inv_std, mean, dot, a, da, b, db;
    };
    // dc - mean is what the tangents are shifted by.
    for (std::size_t c = 0; c < n.channels; ++c) means.data()[c] -= dc[c];
    T* out = y + values + r * n.image();
    for_each_channel<T>(
        n,
        [&](auto lanes, std::size_t c) {
          return State{lanes.load(shift.data() + c),
                       lanes.load(scale.data() + c),
                       lanes.load(means.data() + c),
                       lanes.load(dot_means.data() + c),
                       lanes.load(a + c),
                       lanes.load(da + c),
                       lanes.load(b + c),
                       lanes.load(db + c)};
        },
        [=](auto lanes, const State& s, std::size_t, std::size_t i) {
          const Batch normalized = (lanes.load(image + i) + s.shift) * s.inv_std;
          const Batch d = lanes.load(tangent + i);
          const Batch dn = (d - s.mean - normalized * s.dot) * s.inv_std;
          const Batch slope = f(Dual<Batch>(Batch(normalized * s.a + s.b), Batch(T(1)))).tangent;
          lanes.store(out + i, slope * (dn * s.a + normalized * s.da + s.db));
        },
        [](auto, const State&, std::size_t) {});
  });
}

}  // namespace detail

template <class F, class T>
void group_norm(Cpu, F f, const NormShape& n, std::size_t tangent_rows, T epsilon, const T* x,
                const NormTerms<T>& terms, T* y, T* mean, T* inv_std) {
  detail::group_statistics(n, epsilon, x, terms.added, mean, inv_std);
  detail::group_norm_values(f, n, x, terms, mean, inv_std, y);
  if (tangent_rows > 0) detail::group_norm_tangents(f, n, tangent_rows, x, terms, mean, inv_std, y);
}

template <class F, class T>
void group_norm_backward(Cpu, F f, const NormShape& n, const T* x, const NormTerms<T>& terms,
                         const T* mean, const T* inv_std, const T* g, T* gx, T* ga, T* gb,
                         T* added_gradient, const T* before) {
  using Batch = xsimd::batch<T>;
  detail::for_each_norm_row(n, [&](std::size_t r) {
    const std::size_t row = r * n.channels;
    const detail::Scratch<T> shift(n.channels), scale(n.channels), weighted(n.channels),
        groups(2 * n.groups), means(n.channels), dot_means(n.channels);
    detail::channel_statistics(n, r, mean, inv_std, terms.added, shift.data(), scale.data());
    const T *const a = terms.scale + r * terms.stride(n), *const b =
                                                              terms.shift + (a - terms.scale);
    const T *image = x + r * n.image(), *upstream = g + r * n.image();
    T* out = gx + r * n.image();
    const T* const old = before ? before + r * n.image() : nullptr;
    struct Sums {
      Batch shift, inv_std, a, b, ga, gb;
    };
    // q = g f'(p) is kept in gx between the two passes.
    detail::for_each_channel<T>(
        n,
        [&](auto lanes, std::size_t c) {
          return Sums{lanes.load(shift.data() + c),
                      lanes.load(scale.data() + c),
                      lanes.load(a + c),
                      lanes.load(b + c),
                      Batch(T(0)),
                      Batch(T(0))};
        },
        [=](auto lanes, Sums& s, std::size_t, std::size_t i) {
          const Batch normalized = (lanes.load(image + i) + s.shift) * s.inv_std;
          const Batch slope = f(Dual<Batch>(Batch(normalized * s.a + s.b), Batch(T(1)))).tangent;
          const Batch q = lanes.load(upstream + i) * slope;
          s.ga += q * normalized;
          s.gb += q;
          lanes.store(out + i, q);
        },
        [&](auto lanes, const Sums& s, std::size_t c) {
          lanes.store(ga + row + c, s.ga);
          lanes.store(gb + row + c, s.gb);
        });
    const T size = T(1) / T(n.group_size());
    for (std::size_t c = 0; c < n.channels; ++c) weighted.data()[c] = gb[row + c] * a[c];
    detail::channels_to_groups(n, size, weighted.data(), groups.data());
    for (std::size_t c = 0; c < n.channels; ++c) weighted.data()[c] = ga[row + c] * a[c];
    detail::channels_to_groups(n, size, weighted.data(), groups.data() + n.groups);
    detail::groups_to_channels(n, groups.data(), means.data());
    detail::groups_to_channels(n, groups.data() + n.groups, dot_means.data());
    struct State {
      Batch shift, inv_std, a, mean, dot, sum;
    };
    detail::for_each_channel<T>(
        n,
        [&](auto lanes, std::size_t c) {
          return State{
              lanes.load(shift.data() + c), lanes.load(scale.data() + c),     lanes.load(a + c),
              lanes.load(means.data() + c), lanes.load(dot_means.data() + c), Batch(T(0))};
        },
        [=](auto lanes, State& s, std::size_t, std::size_t i) {
          const Batch normalized = (lanes.load(image + i) + s.shift) * s.inv_std;
          const Batch value = (lanes.load(out + i) * s.a - s.mean - normalized * s.dot) * s.inv_std;
          s.sum += value;
          lanes.store(out + i, old ? lanes.load(old + i) + value : value);
        },
        [&](auto lanes, const State& s, std::size_t c) {
          if (added_gradient) lanes.store(added_gradient + row + c, s.sum);
        });
  });
}

}  // namespace meanflow::kernels
