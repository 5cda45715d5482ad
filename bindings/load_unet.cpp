// SPDX-License-Identifier: MIT
#include <meanflow/nn/attention_unet.hpp>
#include <meanflow/nn/mean_flow_net.hpp>
#include <meanflow/nn/song_unet.hpp>

#include "loaded_model.hpp"

namespace bindings {

std::shared_ptr<const AnyModel> load_unet(const std::string& kind,
                                          const std::filesystem::path& path) {
  using namespace meanflow;
  return load_one_of<MeanFlowNet<>, SongUNet<>, AttentionUNet<>>(kind, path);
}

}  // namespace bindings
