// SPDX-License-Identifier: MIT
// All that nvcc compiles of the tests in one unit: most of its time goes into reading the headers.
#include <string>

#include <doctest/doctest.h>

#include <meanflow/cuda.hpp>

#include "cuda/attention.test.cpp"
#include "cuda/broadcast.test.cpp"
#include "cuda/dropout.test.cpp"
#include "cuda/lanes.test.cpp"
#include "cuda/memory.test.cpp"
#include "cuda/norm.test.cpp"
#include "cuda/on_cuda.cpp"
#include "cuda/recipes.test.cpp"
#include "cuda/rope.test.cpp"
#include "cuda/shapes.test.cpp"
#include "cuda/transfer.test.cpp"

TEST_CASE("without a GPU a tensor is a clear exception") {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess && count > 0) return;
  std::string message;
  try {
    static_cast<void>(Tensor<float, Cuda>::zeros({2}));
  } catch (const CudaError& error) {
    message = error.what();
  }
  CHECK(message.find("a Cuda tensor needs an NVIDIA GPU, but there is none") == 0);
}
