// SPDX-License-Identifier: MIT
/// \file
/// The number types and devices that the reference vectors are compared on.
#pragma once

#ifdef MEANFLOW_TEST_CUDA
#include <meanflow/cuda.hpp>
#else
#include <meanflow/meanflow.hpp>
#endif

namespace {

#ifdef MEANFLOW_TEST_CUDA

/// What a value in float may deviate from the one in double.
constexpr double float_bound = 1e-4;

/// f<T, Device>(name) for each of them.
template <class F>
void for_each_way(F f) {
#ifndef __CUDACC__  // nvcc takes a minute for each type
  f.template operator()<double, meanflow::Cuda>("double");
#endif
  f.template operator()<float, meanflow::Cuda>("float");
}

#else

constexpr double float_bound = 2e-5;

template <class F>
void for_each_way(F f) {
  f.template operator()<double, meanflow::Cpu>("double");
  f.template operator()<float, meanflow::Cpu>("float");
  f.template operator()<double, meanflow::Reference>("plain loops");
}

#endif

}  // namespace
