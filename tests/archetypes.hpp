// SPDX-License-Identifier: MIT
/// \file
/// Types that model a concept of the library and nothing more: they can be moved, but not copied,
/// compared or made without arguments. The trainer must work with only these.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include <meanflow/flow/objective.hpp>
#include <meanflow/flow/time_sampler.hpp>
#include <meanflow/ops/elementwise.hpp>
#include <meanflow/ops/linear.hpp>
#include <meanflow/ops/reduce.hpp>

namespace meanflow::test {

struct MoveOnly {
  explicit MoveOnly(int) {}
  MoveOnly(MoveOnly&&) = default;
  MoveOnly& operator=(MoveOnly&&) = delete;
};

/// u = z W^T
class ArchetypeNet : MoveOnly {
 public:
  using value_type = float;
  using device_type = Cpu;

  explicit ArchetypeNet(int seed) : MoveOnly(seed) {
    weight_ = parameters_.add("weight", {2, 2});
    for (std::size_t i = 0; i < 4; ++i) weight_.data()[i] = 0.1f * static_cast<float>(i);
  }
  [[nodiscard]] const Parameters<float>& parameters() const { return parameters_; }
  template <class X>
  [[nodiscard]] X operator()(const X& z, const X&, const X&) const {
    return linear(z, weight_);
  }

 private:
  Parameters<float> parameters_;
  Parameter<float> weight_;
};

/// What is handed to kernels is copied as well.
struct CopyOnly {
  explicit CopyOnly(int) {}
  CopyOnly(const CopyOnly&) = default;
  CopyOnly& operator=(const CopyOnly&) = delete;
};

struct ArchetypePath : CopyOnly {
  using CopyOnly::CopyOnly;
  template <class T>
  [[nodiscard]] T alpha(const T& t) const {
    return 1 - t;
  }
  template <class T>
  [[nodiscard]] T sigma(const T& t) const {
    return t;
  }
};

struct ArchetypeTimes : CopyOnly {
  using CopyOnly::CopyOnly;
  [[nodiscard]] int jump_rows(std::size_t batch, RandomStream&) const {
    return static_cast<int>(batch) / 2;
  }
  [[nodiscard]] TimePair<float> sample(RandomStream& stream, bool jump) const {
    const float t = stream.uniform<float>();
    return {jump ? t / 2 : t, t};
  }
};

struct ArchetypeWeighting : CopyOnly {
  using CopyOnly::CopyOnly;
  [[nodiscard]] float operator()(double, std::size_t) const { return 1; }
};

/// u towards v, without a derivative.
struct ArchetypeObjective : MoveOnly {
  using MoveOnly::MoveOnly;
  template <class W>
  [[nodiscard]] RowLosses<float> operator()(const ArchetypeNet& net, const FlowBatch<float>& batch,
                                            const StepContext<ArchetypeNet, W>& context) const {
    Tape<float>& tape = context.tape;
    const auto u = net(Var(tape, batch.z), Var(tape, batch.r), Var(tape, batch.t));
    const Tensor<float> error = u.value() - batch.v;
    Tensor<double> loss({error.rows()});
    for (std::size_t i = 0; i < error.size(); ++i) {
      if (i % 2 == 0) loss[i / 2] = 0;
      loss[i / 2] += static_cast<double>(error[i] * error[i]);
    }
    return {loss, {{{u.node(), error * (2.0F / static_cast<float>(context.batch))}}}};
  }
};

struct ArchetypeSource : MoveOnly {
  using MoveOnly::MoveOnly;
  [[nodiscard]] Shape row_shape() { return {2}; }
  void fill(Tensor<float>& x, std::uint64_t seed, std::uint64_t step) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>((seed + step + i) % 7) / 7;
  }
};

}  // namespace meanflow::test
