// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <meanflow/cuda.hpp>

using namespace meanflow;

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
