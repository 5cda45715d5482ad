// SPDX-License-Identifier: MIT
// The same steps on a GPU, with larger batches too.
#include <meanflow/cuda.hpp>

#define MEANFLOW_BENCH_CUDA
#include "training.bench.cpp"
