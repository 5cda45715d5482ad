// SPDX-License-Identifier: MIT
/// \file
/// Group normalisation: a team of threads for each group of a row, which reads values and tangents
/// once, keeps them in its memory if that is large enough, and writes once.
/// `kernels/reference/norm.hpp` says what each kernel computes.
#pragma once

#include <cmath>
#include <cstddef>
#include <type_traits>

#include <meanflow/kernels/cuda/lanes.hpp>
#include <meanflow/kernels/cuda/memory.hpp>
#include <meanflow/kernels/cuda/tag.hpp>
#include <meanflow/kernels/cuda/team.hpp>
#include <meanflow/kernels/element.hpp>
#include <meanflow/kernels/reference/norm.hpp>

namespace meanflow::kernels {

namespace cuda {

/// How the elements of a group, W channels at a time, are shared among the threads of a team: a
/// thread stays with its channels, so that what belongs to those is loaded once.
template <int W>
struct GroupOfRow {
  using Team = TeamOf<256>;
  using Place = Neighbours<W>;
  int pixels, channels, groups, each;  // of an image, and channels of a group

  explicit GroupOfRow(const NormShape& n)
      : pixels(static_cast<int>(n.pixels)),
        channels(static_cast<int>(n.channels)),
        groups(static_cast<int>(n.groups)),
        each(static_cast<int>(n.group_channels())) {}

  [[nodiscard]] MEANFLOW_HOST_DEVICE int units() const { return each / W; }
  [[nodiscard]] MEANFLOW_HOST_DEVICE int size() const { return pixels * each; }
  /// Threads side by side, a unit each, and how many pixels are worked on at a time.
  [[nodiscard]] MEANFLOW_HOST_DEVICE int across() const {
    return units() < Team::threads ? units() : Team::threads;
  }
  [[nodiscard]] MEANFLOW_HOST_DEVICE int strips() const { return Team::threads / across(); }

  /// of_unit(unit), then of_pixel(its result, place in the image, place in the team's memory) for
  /// the pixels of the thread, then end(unit, result).
  template <class OfUnit, class OfPixel, class End>
  MEANFLOW_HOST_DEVICE void walk(int thread, const OfUnit& of_unit, const OfPixel& of_pixel,
                                 const End& end) const {
    const int wide = across(), strip = thread / wide, step = strips();
    if (strip >= step) return;
    for (int unit = thread - strip * wide; unit < units(); unit += wide) {
      auto state = of_unit(unit);
#ifdef __CUDA_ARCH__
#pragma unroll 2
#endif
      for (int p = strip; p < pixels; p += step)
        of_pixel(state, Place{static_cast<std::size_t>(p * channels + unit * W)},
                 Place{static_cast<std::size_t>(p * each + unit * W)});
      end(unit, state);
    }
  }
  template <class OfUnit, class OfPixel>
  MEANFLOW_HOST_DEVICE void walk(int thread, const OfUnit& of_unit, const OfPixel& of_pixel) const {
    walk(thread, of_unit, of_pixel, [](int, const auto&) {});
  }
};

/// What the sums of a team take of its memory, in numbers.
inline constexpr std::size_t norm_sums = 32;

/// y and dy of a group of a row.
template <class F, class T, int W>
struct NormForward {
  using V = Lanes<T, W>;
  F f;
  GroupOfRow<W> group;
  std::size_t rows, tangent_rows;
  T epsilon;
  const T* x;
  NormTerms<T> terms;
  T *y, *mean, *inv_std;
  bool holds;  // x and dx in the team's memory

  template <class Team>
  MEANFLOW_HOST_DEVICE void operator()(Team team, std::size_t index, T* memory) const {
    const auto groups = static_cast<unsigned>(group.groups);
    const unsigned row = static_cast<unsigned>(index) / groups;
    const unsigned h = static_cast<unsigned>(index) % groups;
    if (row < tangent_rows)
      run<true>(team, row, h, memory);
    else
      run<false>(team, row, h, memory);
  }

  template <bool Tangent, class Team>
  MEANFLOW_HOST_DEVICE void run(Team team, std::size_t row, std::size_t h, T* memory) const {
    using Two = Sums<T, 2>;
    const std::size_t image =
        static_cast<std::size_t>(group.pixels) * static_cast<std::size_t>(group.channels);
    const std::size_t first = h * static_cast<std::size_t>(group.each);
    const std::size_t values = rows * image, at = row * image + first;
    const std::size_t channel = row * static_cast<std::size_t>(group.channels) + first;
    const std::size_t modulations = rows * static_cast<std::size_t>(group.channels);
    const T *const in = x + at, *const din = in + values;
    T *const held = memory + norm_sums, *const dheld = held + group.size();
    const GroupOfRow<W> g = group;
    const bool keep = holds;
    const NormTerms<T> of = terms;

    struct Added {
      V c, dc, sum, dsum;
    };
    const auto added = [&](int unit) {
      const auto place = static_cast<std::size_t>(unit * W);
      Added state{V(T(0)), V(T(0)), V(T(0)), V(T(0))};
      if (!of.added) return state;
      state.c = load_lanes<W>(of.added + channel + place);
      if constexpr (Tangent) state.dc = load_lanes<W>(of.added + modulations + channel + place);
      return state;
    };
    const auto add_up = [](Two& sums) {
      return [&sums](int, const Added& s) {
        sums.of[0] = sums.of[0] + sum_of(s.sum);
        sums.of[1] = sums.of[1] + sum_of(s.dsum);
      };
    };
    const Two sums = team.sum(reinterpret_cast<Two*>(memory), [&](int thread) {
      Two sum{};
      g.walk(
          thread, added,
          [&](Added& s, auto place, auto own) {
            const V v = place.load(in) + s.c;
            s.sum += v;
            if (keep) own.store(held, v);
            if constexpr (Tangent) {
              const V dv = place.load(din) + s.dc;
              s.dsum += dv;
              if (keep) own.store(dheld, dv);
            }
          },
          add_up(sum));
      return sum;
    });
    const T share = T(1) / T(group.size());
    const T m = share * sums.of[0], dm = share * sums.of[1];
    const auto value = [&](const Added& s, auto place, auto own) {
      return keep ? own.load(static_cast<const T*>(held)) : place.load(in) + s.c;
    };
    const auto tangent = [&](const Added& s, auto place, auto own) {
      return keep ? own.load(static_cast<const T*>(dheld)) : place.load(din) + s.dc;
    };
    const Two squares = team.sum(reinterpret_cast<Two*>(memory), [&](int thread) {
      Two sum{};
      g.walk(
          thread, added,
          [&](Added& s, auto place, auto own) {
            const V d = value(s, place, own) - m;
            s.sum += d * d;
            if constexpr (Tangent) s.dsum += d * tangent(s, place, own);
          },
          add_up(sum));
      return sum;
    });
    const T inverse = T(1) / std::sqrt(share * squares.of[0] + epsilon);
    const T dot = inverse * (share * squares.of[1]);
    write<Tangent>(team, row, h, channel, modulations, m, dm, inverse, dot, added, value, tangent,
                   y + at, y + values + at);
  }

  template <bool Tangent, class Team, class Added, class Value, class Tangents>
  MEANFLOW_HOST_DEVICE void write(Team team, std::size_t row, std::size_t h, std::size_t channel,
                                  std::size_t modulations, T m, T dm, T inverse, T dot,
                                  const Added& added, const Value& value, const Tangents& tangent,
                                  T* out, T* dout) const {
    const NormTerms<T> of = terms;
    const std::size_t at = of.shared ? h * static_cast<std::size_t>(group.each) : channel;
    const GroupOfRow<W> g = group;
    const F act = f;
    struct State {
      std::invoke_result_t<Added, int> added;
      V a, b, da, db;
    };
    team.each(Team::threads, [&](int thread) {
      g.walk(
          thread,
          [&](int unit) {
            const std::size_t place = at + static_cast<std::size_t>(unit * W);
            State s{added(unit), load_lanes<W>(of.scale + place), load_lanes<W>(of.shift + place),
                    V(T(0)), V(T(0))};
            if (Tangent && !of.shared) {
              s.da = load_lanes<W>(of.scale + modulations + place);
              s.db = load_lanes<W>(of.shift + modulations + place);
            }
            return s;
          },
          [&](State& s, auto place, auto own) {
            const V n = (value(s.added, place, own) - m) * V(inverse);
            const V p = n * s.a + s.b;
            if constexpr (Tangent) {
              const auto result = act(Dual<V>(p, V(T(1))));
              place.store(out, V(result.primal));
              const V dn = (tangent(s.added, place, own) - dm - n * V(dot)) * V(inverse);
              place.store(dout, V(result.tangent * (dn * s.a + n * s.da + s.db)));
            } else {
              place.store(out, V(act(p)));
            }
          });
      if (thread == 0) {
        mean[row * static_cast<std::size_t>(g.groups) + h] = m;
        inv_std[row * static_cast<std::size_t>(g.groups) + h] = inverse;
      }
    });
  }
};

/// All gradients of a group of a row.
template <class F, class T, int W>
struct NormBackward {
  using V = Lanes<T, W>;
  F f;
  GroupOfRow<W> group;
  const T* x;
  NormTerms<T> terms;
  const T *mean, *inv_std, *g;
  T *gx, *ga, *gb, *added_gradient;
  const T* before;
  bool holds;  // n and q in the team's memory

  /// Sums of a channel: of q n, of q and of n.
  struct OfChannel {
    V qn, q, n;
    friend MEANFLOW_HOST_DEVICE OfChannel operator+(const OfChannel& u, const OfChannel& v) {
      return {u.qn + v.qn, u.q + v.q, u.n + v.n};
    }
  };
  /// Numbers of the team's memory for the sums of the channels.
  static constexpr std::size_t channel_sums =
      GroupOfRow<W>::Team::threads * sizeof(OfChannel) / sizeof(T);

  template <class Team>
  MEANFLOW_HOST_DEVICE void operator()(Team team, std::size_t index, T* memory) const {
    using Two = Sums<T, 2>;
    const GroupOfRow<W> by = group;
    const auto groups = static_cast<unsigned>(by.groups);
    const std::size_t row = static_cast<unsigned>(index) / groups;
    const std::size_t h = static_cast<unsigned>(index) % groups;
    const std::size_t first = h * static_cast<std::size_t>(by.each);
    const std::size_t at =
        row * static_cast<std::size_t>(by.pixels) * static_cast<std::size_t>(by.channels) + first;
    const std::size_t channel = row * static_cast<std::size_t>(by.channels) + first;
    const T m = mean[index], inverse = inv_std[index];
    const T *const in = x + at, *const up = g + at;
    T* const out = gx + at;
    const T* const old = before ? before + at : nullptr;
    OfChannel* const sums = reinterpret_cast<OfChannel*>(memory + norm_sums);
    T *const held = memory + norm_sums + channel_sums, *const qheld = held + by.size();
    const bool keep = holds;
    const NormTerms<T> of = terms;
    const F act = f;
    const T *const scale = of.scale + (of.shared ? first : channel), *const shift =
                                                                         of.shift + (of.shared
                                                                                         ? first
                                                                                         : channel);

    struct State {
      V a, b, c;
      OfChannel sum;
    };
    const auto terms_of = [&](int unit) {
      const auto place = static_cast<std::size_t>(unit * W);
      const V zero(T(0));
      return State{load_lanes<W>(scale + place), load_lanes<W>(shift + place),
                   of.added ? load_lanes<W>(of.added + channel + place) : zero,
                   OfChannel{zero, zero, zero}};
    };
    const auto normalized = [&](const State& s, auto place) {
      return (place.load(in) + s.c - V(m)) * V(inverse);
    };
    // A thread has its channels for itself where there are more units of them than threads;
    // otherwise the sums of the other strips are added to its own.
    const bool alone = by.units() > Team::threads;
    const auto store_sums = [&](int unit, const OfChannel& sum) {
      const std::size_t place = channel + static_cast<std::size_t>(unit * W);
      store_lanes(ga + place, sum.qn);
      store_lanes(gb + place, sum.q);
    };
    const Two total = team.sum(reinterpret_cast<Two*>(memory), [&](int thread) {
      Two sum{};
      if (!alone) sums[thread] = OfChannel{V(T(0)), V(T(0)), V(T(0))};
      by.walk(
          thread, terms_of,
          [&](State& s, auto place, auto own) {
            const V n = normalized(s, place);
            const V q = place.load(up) * act(Dual<V>(n * s.a + s.b, V(T(1)))).tangent;
            s.sum = s.sum + OfChannel{q * n, q, n};
            if (keep) {
              own.store(held, n);
              own.store(qheld, q);
            } else {
              place.store(out, q);
            }
          },
          [&](int unit, const State& s) {
            sum.of[0] = sum.of[0] + sum_of(s.sum.q * s.a);
            sum.of[1] = sum.of[1] + sum_of(s.sum.qn * s.a);
            if (alone)
              store_sums(unit, s.sum);
            else
              sums[thread] = s.sum;
          });
      return sum;
    });
    const T share = T(1) / T(by.size());
    const T average = share * total.of[0], dot = share * total.of[1];
    // gc = sum of gx = (a sum of q - pixels mean(q a) - mean(n q a) sum of n) / s
    const auto store_added = [&](int unit, const OfChannel& sum, const V& a) {
      if (!added_gradient) return;
      const V value = (sum.q * a - V(T(by.pixels) * average) - sum.n * V(dot)) * V(inverse);
      store_lanes(added_gradient + channel + static_cast<std::size_t>(unit * W), value);
    };
    if (!alone) {
      const int wide = by.across(), strips = by.strips();
      int left = strips;
      while (left > 1) {
        const int half = (left + 1) / 2;
        team.each((left - half) * wide, [&](int i) { sums[i] = sums[i] + sums[i + half * wide]; });
        left = half;
      }
      team.each(wide, [&](int unit) {
        store_sums(unit, sums[unit]);
        store_added(unit, sums[unit], load_lanes<W>(scale + static_cast<std::size_t>(unit * W)));
      });
    }
    team.each(Team::threads, [&](int thread) {
      by.walk(
          thread, terms_of,
          [&](State& s, auto place, auto own) {
            const V n = keep ? own.load(static_cast<const T*>(held)) : normalized(s, place);
            const V q = keep ? own.load(static_cast<const T*>(qheld))
                             : place.load(static_cast<const T*>(out));
            if (alone) s.sum = s.sum + OfChannel{q * n, q, n};
            const V value = (q * s.a - V(average) - n * V(dot)) * V(inverse);
            place.store(out, old ? place.load(old) + value : value);
          },
          [&](int unit, const State& s) {
            if (alone) store_added(unit, s.sum, s.a);
          });
    });
  }
};

/// f(the width of what a thread takes at a time, as a constant): four of so many neighbours, or
/// one.
template <class F>
void with_width(std::size_t neighbours, F f) {
  if (neighbours % lanes == 0)
    f(std::integral_constant<int, static_cast<int>(lanes)>{});
  else
    f(std::integral_constant<int, 1>{});
}

}  // namespace cuda

template <class F, class T>
void group_norm(Cuda, F f, const NormShape& n, std::size_t tangent_rows, T epsilon, const T* x,
                const NormTerms<T>& terms, T* y, T* mean, T* inv_std) {
  if (n.image() == 0) return;
  const std::size_t kept = (tangent_rows > 0 ? 2 : 1) * n.group_size();
  const bool holds = (cuda::norm_sums + kept) * sizeof(T) <= cuda::team_memory;
  const std::size_t elements = (n.rows + tangent_rows) * n.image();
  cuda::with_width(n.group_channels(), [&]<int W>(std::integral_constant<int, W>) {
    using Task = cuda::NormForward<F, T, W>;
    const Task task{
        f,    cuda::GroupOfRow<W>(n), n.rows, tangent_rows, epsilon, x, terms, y, mean, inv_std,
        holds};
    cuda::run_teams<T, typename cuda::GroupOfRow<W>::Team>(
        n.rows * n.groups, cuda::norm_sums + (holds ? kept : 0), task, elements,
        (holds ? 2 : 4) * elements * sizeof(T));
  });
}

template <class F, class T>
void group_norm_backward(Cuda, F f, const NormShape& n, const T* x, const NormTerms<T>& terms,
                         const T* mean, const T* inv_std, const T* g, T* gx, T* ga, T* gb,
                         T* added_gradient, const T* before) {
  if (n.image() == 0) return;
  cuda::with_width(n.group_channels(), [&]<int W>(std::integral_constant<int, W>) {
    using Task = cuda::NormBackward<F, T, W>;
    const std::size_t sums = cuda::norm_sums + Task::channel_sums, kept = 2 * n.group_size();
    const bool holds = (sums + kept) * sizeof(T) <= cuda::team_memory;
    const Task task{f,  cuda::GroupOfRow<W>(n), x,      terms, mean, inv_std, g, gx, ga,
                    gb, added_gradient,         before, holds};
    cuda::run_teams<T, typename cuda::GroupOfRow<W>::Team>(
        n.rows * n.groups, sums + (holds ? kept : 0), task, n.rows * n.image(),
        ((holds ? 3 : 6) + (before ? 1 : 0)) * n.rows * n.image() * sizeof(T));
  });
}

}  // namespace meanflow::kernels
