// SPDX-License-Identifier: MIT
/// \file
/// The slots of a training run, by name.
#pragma once

#include <meanflow/flow/coupling.hpp>
#include <meanflow/flow/loss_weighting.hpp>
#include <meanflow/flow/mean_flow.hpp>
#include <meanflow/flow/path_schedule.hpp>
#include <meanflow/flow/time_sampler.hpp>
#include <meanflow/optim/adam.hpp>
#include <meanflow/train/communicator.hpp>

namespace meanflow {

/// What a net is trained towards, and how. Name the slots that differ from the defaults:
/// `Recipe{.objective = ImprovedMeanFlow{}, .weighting = AdaptiveWeighting{.p = 0.5}}` (before
/// Clang 17, spell their types: `Recipe<ImprovedMeanFlow, AdaptiveWeighting>{...}`).
template <class Objective = MeanFlow, LossWeighting Weighting = ConstantWeighting,
          PathSchedule Path = LinearPath, TimeSampler Times = LogitNormalTimes,
          class Optimizer = Adam, class Communicator = SingleProcess,
          Coupling Pairs = IndependentCoupling>
struct Recipe {
  Objective objective{};        ///< `meanflow::Objective`
  Weighting weighting{};        ///< the weight of a row in the loss
  Path path{};                  ///< from data to noise
  Times times{};                ///< how r <= t are drawn
  Optimizer optimizer{};        ///< `meanflow::Optimizer`
  Communicator communicator{};  ///< between processes: `meanflow::Communicator`
  Pairs coupling{};             ///< which noise goes with which data
};

namespace detail {

template <class R>
inline constexpr bool is_recipe = false;
template <class... Slots>
inline constexpr bool is_recipe<Recipe<Slots...>> = true;

}  // namespace detail

/// A `Recipe` of any slots. Those that depend on the net are checked by the trainer one by one, so
/// that the error names what is missing.
template <class R>
concept AnyRecipe = detail::is_recipe<R>;

}  // namespace meanflow
