// SPDX-License-Identifier: MIT
#include "any_model.hpp"

#include <atomic>

#include <omp.h>

#include "loaded_model.hpp"

namespace bindings {

namespace {
// OpenMP keeps a number for each thread that calls; this one is for all of them.
std::atomic<int> threads{0};
}  // namespace

void set_threads(int count) { threads = count > 0 ? count : omp_get_num_procs(); }

void use_threads() {
  if (const int count = threads; count > 0) omp_set_num_threads(count);
}

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
