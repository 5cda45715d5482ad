// SPDX-License-Identifier: MIT
#include <meanflow/nn/mlp.hpp>

#include "loaded_model.hpp"

namespace bindings {

std::shared_ptr<const AnyModel> load_mlp(const std::string& kind,
                                         const std::filesystem::path& path) {
  using namespace meanflow;
  return load_one_of<Mlp<>, Mlp<float, Cpu, Gelu>, Mlp<float, Cpu, GeluTanh>, Mlp<float, Cpu, Relu>,
                     Mlp<float, Cpu, Tanh>>(kind, path);
}

}  // namespace bindings
