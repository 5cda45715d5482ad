// SPDX-License-Identifier: MIT
// The same steps on a GPU, with larger batches too.
#include <cstdlib>

#include <meanflow/cuda.hpp>

#define MEANFLOW_BENCH_CUDA
#include "training.bench.cpp"

namespace {

[[maybe_unused]] const bool times = meanflow::kernels::cuda::times_convolutions() =
    std::getenv("MEANFLOW_TIME_CONVOLUTIONS") != nullptr;

}  // namespace
