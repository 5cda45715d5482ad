// SPDX-License-Identifier: MIT
// The same steps on a GPU, with larger batches too.
#include <meanflow/cuda.hpp>

#include "training.bench.cpp"
