// SPDX-License-Identifier: MIT
#include "any_model.hpp"

#include "loaded_model.hpp"

namespace bindings {

std::shared_ptr<const AnyModel> load_any_model(const std::filesystem::path& path) {
  std::string kind;
  {
    const meanflow::Safetensors file(path);
    kind = meanflow::detail::model_note(file, "net");
  }
  for (auto* load : {load_mlp, load_unet, load_transformer})
    if (auto model = load(kind, path)) return model;
  throw meanflow::FileError(path.string() + " holds a net of the kind " + kind +
                            ", which this library does not have: load it by a program of your own");
}

}  // namespace bindings
