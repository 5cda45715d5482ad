// error: gemm
// SPDX-License-Identifier: MIT
#include <meanflow/kernels/cpu.hpp>
#include <meanflow/kernels/device.hpp>

namespace own {

struct WithoutProduct : meanflow::Cpu {
  static constexpr const char* name = "without product";
};

template <class... Arguments>
void gemm(WithoutProduct, Arguments...) = delete;

}  // namespace own

static_assert(meanflow::kernels::Device<meanflow::Cpu>);
static_assert(meanflow::kernels::Device<own::WithoutProduct>);

int main() {}
