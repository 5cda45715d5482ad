// SPDX-License-Identifier: MIT
// The program on the device Cuda, with Thrust on the host in place of a GPU.
#include "on_cuda.cu"
