// SPDX-License-Identifier: MIT
#include <cstdio>
#include <string>

#include <meanflow/cuda.hpp>

int main() {
  try {
    const auto x = meanflow::Tensor<float, meanflow::Cuda>::full({2}, 3);
    return meanflow::to_host(x)[1] == 3 ? 0 : 1;
  } catch (const meanflow::CudaError& error) {
    std::puts(error.what());  // without a GPU
    return std::string(error.what()).find("needs an NVIDIA GPU") == std::string::npos;
  }
}
