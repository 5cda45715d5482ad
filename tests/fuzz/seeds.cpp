// SPDX-License-Identifier: MIT
// fuzz_seeds FOLDER writes small files for every fuzz target into FOLDER/TARGET, and a list of
// them, FOLDER/TARGET.list, with commas between. Most are valid; those named liar claim what they
// do not have, and make a reader that believes them fail at once.
#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <meanflow/io/image.hpp>
#include <meanflow/io/npy.hpp>
#include <meanflow/io/safetensors.hpp>

#include "io/jpeg_bytes.hpp"
#include "io/temporary_folder.hpp"

using namespace meanflow;
using namespace meanflow_test;
using namespace std::string_literals;

namespace {

using Path = std::filesystem::path;

Image picture(std::size_t height, std::size_t width, std::size_t channels) {
  Image image{height, width, channels, std::vector<std::uint8_t>(height * width * channels)};
  std::iota(image.pixels.begin(), image.pixels.end(), std::uint8_t(50));
  return image;
}

std::string counted(std::size_t count) {
  std::string bytes(count, '\0');
  std::iota(bytes.begin(), bytes.end(), '\0');
  return bytes;
}

/// The text with what stands at `place` overwritten.
std::string with(std::string text, std::size_t place, const std::string& part) {
  return text.replace(place, part.size(), part);
}

std::string safetensors_of(const std::string& header) {
  return static_cast<char>(header.size()) + "\0\0\0\0\0\0\0"s + header;
}

void make_safetensors(const Path& folder) {
  SafetensorsWriter writer;
  writer.write(folder / "none");
  writer.add("step", {}, std::vector<std::int64_t>{1000});
  writer.add("weight", {2, 3}, std::vector<float>{1, 2, 3, 4, 5, 6});
  writer.metadata("net", "mlp");
  writer.write(folder / "two");
  writer.add("flags", {3}, std::array{true, false, true});
  writer.add("wide", {1, 0, 2}, std::vector<double>{});
  writer.add_bytes("half", DType::f16, {2}, std::as_bytes(std::span("\x00\x3c\x01\x00", 4)));
  writer.add_bytes("brain", DType::bf16, {1}, std::as_bytes(std::span("\x80\x3f", 2)));
  writer.write(folder / "many");
  write_bytes(folder / "liar-backwards",
              safetensors_of(R"({"x":{"dtype":"U8","shape":[18446744073709551615],)"
                             R"("data_offsets":[1,0]}})"));
  write_bytes(folder / "liar-large", safetensors_of(R"({"x":{"dtype":"U8","shape":[9999999999],)"
                                                    R"("data_offsets":[0,9999999999]}})"));
}

void make_npy(const Path& folder) {
  save_npy(folder / "points", {3, 2}, std::vector<float>{0, 1, 2, 3, 4, 5});
  save_npy(folder / "one", {}, std::vector<double>{0.5});
  save_npy(folder / "labels", {4}, std::vector<std::int64_t>{0, 1, 2, 1});
  save_npy(folder / "pictures", {2, 2, 2, 3}, picture(4, 2, 3).pixels);
  save_npy(folder / "nothing", {0, 2, 2}, std::vector<std::uint8_t>{});
  save_npy(folder / "units", {1, 2, 2}, std::vector<float>{-1, 0, 0.5, 1});
  std::string columns = read_bytes(folder / "points");
  columns.replace(columns.find("False"), 5, "True ");
  columns.replace(columns.find('<'), 1, ">");
  write_bytes(folder / "columns", columns);
  // 2^61 + 4 numbers of 8 bytes are, in 64 bits, the 32 bytes that are there.
  const std::string labels = read_bytes(folder / "labels");
  write_bytes(folder / "liar", with(labels, labels.find("(4,)"), "(2305843009213693956,), }"));
}

void make_idx(const Path& folder) {
  write_bytes(folder / "images", "\0\0\x08\x03\0\0\0\2\0\0\0\2\0\0\0\3"s + counted(12));
  write_bytes(folder / "labels", "\0\0\x08\x01\0\0\0\4"s + counted(4));
  write_bytes(folder / "nothing", "\0\0\x08\x02\0\0\0\0\0\0\0\4"s);
  const std::string huge(8, '\xff');
  write_bytes(folder / "liar", "\0\0\x08\x02"s + huge + counted(8));
}

void make_cifar10(const Path& folder) {
  write_bytes(folder / "one", counted(3073));
  write_bytes(folder / "two", counted(3073) + counted(3073));
  write_bytes(folder / "liar", with(counted(3073), 0, "\xff"));
}

void make_png(const Path& folder) {
  save_png(folder / "grey", picture(3, 5, 1));
  save_png(folder / "colour", picture(6, 4, 3));
  // Kinds that this library reads, but does not write.
  png_image other{};
  other.version = PNG_IMAGE_VERSION;
  other.width = other.height = 2;
  const std::array<std::uint8_t, 32> pixels{1, 2, 3, 255, 4, 5, 6, 128};
  const std::array<std::uint8_t, 6> colours{9, 8, 7, 6, 5, 4};
  for (const png_uint_32 format : {PNG_FORMAT_GA, PNG_FORMAT_RGBA, PNG_FORMAT_LINEAR_RGB}) {
    other.format = format;
    png_image_write_to_file(&other, (folder / std::to_string(format)).c_str(), 0, pixels.data(), 0,
                            nullptr);
  }
  other.format = PNG_FORMAT_RGB_COLORMAP;
  other.colormap_entries = 2;
  const std::array<std::uint8_t, 4> places{0, 1, 1, 0};
  png_image_write_to_file(&other, (folder / "palette").c_str(), 0, places.data(), 0,
                          colours.data());
  // 60000 x 60000 pixels, and the checksum of a header that says so.
  const std::string liar = with(read_bytes(folder / "grey"), 16, "\0\0\xea\x60\0\0\xea\x60"s);
  write_bytes(folder / "liar", with(liar, 29, "\xa5\xb9\x2a\x9e"));
}

void make_jpeg(const Path& folder) {
  write_bytes(folder / "grey", jpeg_bytes(picture(9, 7, 1), {.quality = 50}));
  write_bytes(folder / "colour", jpeg_bytes(picture(17, 9, 3), {.quality = 30}));
  write_bytes(folder / "progressive", jpeg_bytes(picture(9, 9, 3), {.progressive = true}));
  write_bytes(folder / "scans", jpeg_bytes(picture(8, 8, 3), {.one_scan_per_channel = true}));
  write_bytes(folder / "arithmetic", jpeg_bytes(picture(8, 8, 3), {.arithmetic = true}));
  write_bytes(folder / "four", jpeg_bytes(picture(8, 8, 4)));
  const std::string sides(4, '\xee');
  for (const auto& [name, mark] : {std::pair("grey", "\xff\xc0"), {"progressive", "\xff\xc2"}}) {
    const std::string bytes = read_bytes(folder / name);
    write_bytes(folder / ("liar-"s + name), with(bytes, bytes.find(mark) + 5, sides));
  }
}

void make_yaml(const Path& folder) {
  write_bytes(folder / "all",
              "# as in configs\n"
              "data: {kind: folder, fraction: 0.5, labels: true, flip: false}\n"
              "net: {kind: mean_flow_net, base: 16, multipliers: [1, 2, 2], blocks: 1}\n"
              "times: {distribution: logit_normal, t: {mean: -0.4, deviation: 1.4}}\n"
              "weighting: {p: 0.75, epsilon: 1.0e-3}\n"
              "averages: [{rule: warmup, most: 0.995}, {rule: constant}]\n"s);
  write_bytes(folder / "lines",
              "train:\n  steps: 1500\n  clip_norm: 1\n  label_dropout:\n    rate: 0.1\n"
              "guidance:\n  omega: 2\n  kappa: .5\nlog: {every: 25}\n"s);
  write_bytes(folder / "song_unet", "net: {kind: song_unet, dropout: 0.1}\ndata: ~\n"s);
  write_bytes(folder / "liar-anchors",
              "a: &a [x,x,x,x]\nb: &b [*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b]\ntrain: &d {steps: *c}\n"
              "net: *d\n<<: *d\n"s);
  write_bytes(folder / "liar-deep", "train: " + std::string(500, '[') + "\n");
}

void write_seeds(const Path& folder, const std::string& target, void (*make)(const Path&)) {
  const Path seeds = folder / target;
  std::filesystem::remove_all(seeds);
  std::filesystem::create_directories(seeds);
  make(seeds);
  std::vector<Path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(seeds)) paths.push_back(entry);
  std::ranges::sort(paths);
  std::string list;
  for (const Path& path : paths) list += (list.empty() ? "" : ",") + path.string();
  write_bytes(folder / (target + ".list"), list);
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    std::cerr << "fuzz_seeds FOLDER\n";
    return 2;
  }
  const Path folder = arguments[1];
  write_seeds(folder, "safetensors", make_safetensors);
  write_seeds(folder, "npy", make_npy);
  write_seeds(folder, "idx", make_idx);
  write_seeds(folder, "idx_gzip", make_idx);
  write_seeds(folder, "cifar10", make_cifar10);
  write_seeds(folder, "png", make_png);
  write_seeds(folder, "jpeg", make_jpeg);
  write_seeds(folder, "yaml", make_yaml);
}
