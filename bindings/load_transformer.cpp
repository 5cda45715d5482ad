// SPDX-License-Identifier: MIT
#include <meanflow/nn/dit.hpp>
#include <meanflow/nn/imf_transformer.hpp>

#include "loaded_model.hpp"

namespace bindings {

std::shared_ptr<const AnyModel> load_transformer(const std::string& kind,
                                                 const std::filesystem::path& path) {
  using namespace meanflow;
  return load_one_of<DiT<>, ImfTransformer<>>(kind, path);
}

}  // namespace bindings
