// SPDX-License-Identifier: MIT
// What the Inception network sees in images, for inception.py.
//
//   inception_features WEIGHTS IMAGES OUT
//
//   IMAGES   NPY of bytes (N, H, W, C)
//   OUT      safetensors with features (N, 2048) and logits (N, 1008)
#include <algorithm>
#include <cstdio>
#include <exception>

#include <meanflow/data/image_array.hpp>
#include <meanflow/eval/inception.hpp>

int main(int argc, char** argv) {
  using namespace meanflow;
  if (argc != 4) {
    std::fputs("usage: inception_features WEIGHTS IMAGES OUT\n", stderr);
    return 2;
  }
  try {
    // [docs:inception]
    const Inception inception{argv[1]};  // a safetensors file of its weights
    const ImageSet set = load_image_array(argv[2]);
    Tensor<float> images({set.count, set.height, set.width, set.channels});
    std::ranges::transform(set.pixels, images.data(), unit_from_pixel);
    const InceptionOutput seen = inception(images);  // (B, H, W, C) in [-1, 1]
    // seen.features (B, 2048), seen.logits (B, 1008)
    // [docs:end]
    SafetensorsWriter writer;
    writer.add("features", {set.count, Inception::feature_count}, seen.features.span());
    writer.add("logits", {set.count, Inception::class_count}, seen.logits.span());
    writer.write(argv[3]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "inception_features: %s\n", error.what());
    return 1;
  }
}
