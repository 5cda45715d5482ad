// SPDX-License-Identifier: MIT
#include "cuda/on_cuda.cpp"
