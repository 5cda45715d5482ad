// SPDX-License-Identifier: MIT
/// \file
/// Group normalisation on the processor: vectors run along the channels, sums are kept per channel
/// and then added up by group. `kernels/reference/norm.hpp` says what each kernel computes.
#pragma once

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

/// shift[c] = -mean and inv_std[c] of one row, per channel.
template <class T>
void channel_statistics(const NormShape& n, std::size_t row, const T* mean, const T* inv_std,
                        T* shift, T* channel_inverse) {
  for (std::size_t c = 0; c < n.channels; ++c) {
    const std::size_t group = row * n.groups + c / n.group_channels();
    shift[c] = -mean[group];
    channel_inverse[c] = inv_std[group];
  }
}

}  // namespace detail

template <class T>
void group_statistics(Cpu, const NormShape& n, T epsilon, const T* x, T* mean, T* inv_std) {
  using Batch = xsimd::batch<T>;
  detail::for_each_norm_row(n, [&](std::size_t r) {
    const detail::Scratch<T> sums(n.channels), shifts(n.channels), means(n.groups);
    const T* image = x + r * n.image();
    const T scale = T(1) / T(n.group_size());
    detail::for_each_channel<T>(
        n, [](auto, std::size_t) { return Batch(T(0)); },
        [=](auto lanes, Batch& sum, std::size_t, std::size_t i) { sum += lanes.load(image + i); },
        [&](auto lanes, const Batch& sum, std::size_t c) { lanes.store(sums.data() + c, sum); });
    detail::channels_to_groups(n, scale, sums.data(), means.data());
    for (std::size_t c = 0; c < n.channels; ++c)
      shifts.data()[c] = -means.data()[c / n.group_channels()];
    struct State {
      Batch shift, square;
    };
    detail::for_each_channel<T>(
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
    detail::channels_to_groups(n, scale, sums.data(), row_inverse);
    for (std::size_t g = 0; g < n.groups; ++g)
      row_inverse[g] = T(1) / std::sqrt(row_inverse[g] + epsilon);
  });
}

template <class F, class T>
void group_norm(Cpu, F f, const NormShape& n, const T* x, const T* mean, const T* inv_std,
                const T* a, const T* b, T* y) {
  using Batch = xsimd::batch<T>;
  struct State {
    Batch shift, inv_std, a, b;
  };
  detail::for_each_norm_row(n, [&](std::size_t r) {
    const detail::Scratch<T> shift(n.channels), scale(n.channels);
    detail::channel_statistics(n, r, mean, inv_std, shift.data(), scale.data());
    const T *image = x + r * n.image(), *ra = a + r * n.channels, *rb = b + r * n.channels;
    T* out = y + r * n.image();
    detail::for_each_channel<T>(
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

template <class F, class T>
void group_norm_tangent(Cpu, F f, const NormShape& n, const T* x, const T* dx, const T* mean,
                        const T* inv_std, const T* a, const T* da, const T* b, const T* db, T* dy) {
  using Batch = xsimd::batch<T>;
  detail::for_each_norm_row(n, [&](std::size_t r) {
    const std::size_t row = r * n.channels;
    const detail::Scratch<T> shift(n.channels), scale(n.channels), sums(n.channels),
        dots(n.channels), groups(2 * n.groups), means(n.channels), dot_means(n.channels);
    detail::channel_statistics(n, r, mean, inv_std, shift.data(), scale.data());
    const T *image = x + r * n.image(), *tangent = dx + r * n.image();
    struct Sums {
      Batch shift, inv_std, sum, dot;
    };
    detail::for_each_channel<T>(
        n,
        [&](auto lanes, std::size_t c) {
          return Sums{lanes.load(shift.data() + c), lanes.load(scale.data() + c), Batch(T(0)),
                      Batch(T(0))};
        },
        [=](auto lanes, Sums& s, std::size_t, std::size_t i) {
          const Batch normalized = (lanes.load(image + i) + s.shift) * s.inv_std;
          const Batch d = lanes.load(tangent + i);
          s.sum += d;
          s.dot += normalized * d;
        },
        [&](auto lanes, const Sums& s, std::size_t c) {
          lanes.store(sums.data() + c, s.sum);
          lanes.store(dots.data() + c, s.dot);
        });
    const T size = T(1) / T(n.group_size());
    detail::channels_to_groups(n, size, sums.data(), groups.data());
    detail::channels_to_groups(n, size, dots.data(), groups.data() + n.groups);
    detail::groups_to_channels(n, groups.data(), means.data());
    detail::groups_to_channels(n, groups.data() + n.groups, dot_means.data());
    struct State {
      Batch shift, inv_std, mean, dot, a, da, b, db;
    };
    T* out = dy + r * n.image();
    detail::for_each_channel<T>(
        n,
        [&](auto lanes, std::size_t c) {
          return State{lanes.load(shift.data() + c), lanes.load(scale.data() + c),
                       lanes.load(means.data() + c), lanes.load(dot_means.data() + c),
                       lanes.load(a + row + c),      lanes.load(da + row + c),
                       lanes.load(b + row + c),      lanes.load(db + row + c)};
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

template <class F, class T>
void group_norm_backward(Cpu, F f, const NormShape& n, const T* x, const T* mean, const T* inv_std,
                         const T* a, const T* b, const T* g, T* gx, T* ga, T* gb) {
  using Batch = xsimd::batch<T>;
  detail::for_each_norm_row(n, [&](std::size_t r) {
    const std::size_t row = r * n.channels;
    const detail::Scratch<T> shift(n.channels), scale(n.channels), weighted(n.channels),
        groups(2 * n.groups), means(n.channels), dot_means(n.channels);
    detail::channel_statistics(n, r, mean, inv_std, shift.data(), scale.data());
    const T *image = x + r * n.image(), *upstream = g + r * n.image();
    T* out = gx + r * n.image();
    struct Sums {
      Batch shift, inv_std, a, b, ga, gb;
    };
    // q = g f'(p) is kept in gx between the two passes.
    detail::for_each_channel<T>(
        n,
        [&](auto lanes, std::size_t c) {
          return Sums{lanes.load(shift.data() + c),
                      lanes.load(scale.data() + c),
                      lanes.load(a + row + c),
                      lanes.load(b + row + c),
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
    for (std::size_t c = 0; c < n.channels; ++c) weighted.data()[c] = gb[row + c] * a[row + c];
    detail::channels_to_groups(n, size, weighted.data(), groups.data());
    for (std::size_t c = 0; c < n.channels; ++c) weighted.data()[c] = ga[row + c] * a[row + c];
    detail::channels_to_groups(n, size, weighted.data(), groups.data() + n.groups);
    detail::groups_to_channels(n, groups.data(), means.data());
    detail::groups_to_channels(n, groups.data() + n.groups, dot_means.data());
    struct State {
      Batch shift, inv_std, a, mean, dot;
    };
    detail::for_each_channel<T>(
        n,
        [&](auto lanes, std::size_t c) {
          return State{lanes.load(shift.data() + c), lanes.load(scale.data() + c),
                       lanes.load(a + row + c), lanes.load(means.data() + c),
                       lanes.load(dot_means.data() + c)};
        },
        [=](auto lanes, const State& s, std::size_t, std::size_t i) {
          const Batch normalized = (lanes.load(image + i) + s.shift) * s.inv_std;
          lanes.store(out + i,
                      (lanes.load(out + i) * s.a - s.mean - normalized * s.dot) * s.inv_std);
        },
        [](auto, const State&, std::size_t) {});
  });
}

}  // namespace meanflow::kernels
