// SPDX-License-Identifier: MIT
#include "information.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <variant>

#include <meanflow/autodiff/differentiable.hpp>
#include <meanflow/kernels/cpu.hpp>
#include <meanflow/nn/imf_net.hpp>
#include <meanflow/tensor/memory.hpp>

#include "configuration.hpp"
#include "counting.hpp"
#include "data.hpp"
#include "model.hpp"
#include "nets.hpp"

namespace cifar10 {

namespace {

void print_parameters(const Settings& settings, const ImageFormat& format) {
  const meanflow::Undrawn sizes_alone;
  with_net(settings, format, [](const auto& net) {
    std::size_t width = 0;
    for (const auto& entry : net.parameters().entries()) width = std::max(width, entry.name.size());
    for (const auto& entry : net.parameters().entries())
      std::printf("%-*s  %-20s %12zu\n", static_cast<int>(width), entry.name.c_str(),
                  to_string(entry.shape).c_str(), entry.shape.size());
    std::printf("%-*s  %-20s %12zu\n\n", static_cast<int>(width), "parameters", "",
                net.parameters().count());
  });
}

/// How a trainer cuts its batch: tiles that are worked on at the same time, and the rows of each.
struct Tiling {
  std::size_t tiles = 1, rows = 0;
};

[[nodiscard]] Tiling tiling(const TrainSettings& s, std::size_t parameters) {
  using meanflow::Cpu;
  const std::size_t tiles = s.tile_rows > 0 ? (s.batch + s.tile_rows - 1) / s.tile_rows
                                            : row_tiles(Cpu{}, s.batch, parameters);
  return {std::min(meanflow::kernels::workers(Cpu{}), tiles), (s.batch + tiles - 1) / tiles};
}

[[nodiscard]] double jump_fraction(const Settings& s) {
  if (!needs_jumps(make_objective(s))) return 0;
  return std::visit([](const auto& times) { return times.jump_fraction; }, s.times);
}

/// What training holds for each row of a tile until the backward pass: what the pool of memory
/// grows by when a few rows are recorded.
template <class N>
[[nodiscard]] double bytes_of_row(const N& net, const Settings& s, const ImageFormat& format) {
  using Device = typename N::device_type;
  constexpr std::size_t rows = 8;
  const auto jumps = static_cast<std::size_t>(std::lround(rows * jump_fraction(s)));
  const auto zeros = [&](const meanflow::Shape& shape) {
    meanflow::DualTensor<float, Device> values(shape, jumps);
    fill(Device{}, values.buffer().size(), 0.0F, values.buffer().data());
    return values;
  };
  const std::size_t before = meanflow::memory_statistics().system_bytes;
  meanflow::Tape<float, Device> tape;
  const auto z = zeros({rows, format.height, format.width, format.channels});
  const auto t = zeros({rows, 1});
  const meanflow::Var z_t(tape, z), at(tape, t);
  if constexpr (meanflow::ImfNet<N>) {
    if (imf_objective(s)) {
      static_cast<void>(net.heads(z_t, at, at, {}));
      return static_cast<double>(meanflow::memory_statistics().system_bytes - before) / rows;
    }
  }
  static_cast<void>(meanflow::evaluate(net, z_t, at, at, {}));
  return static_cast<double>(meanflow::memory_statistics().system_bytes - before) / rows;
}

[[nodiscard]] double megabytes(double bytes) { return bytes / (1 << 20); }

void print_memory(const Settings& s, const ImageFormat& format) {
  const meanflow::Undrawn sizes_alone;
  with_net<meanflow::kernels::Counting>(s, format, [&](const auto& net) {
    const std::size_t size = net.parameters().flat_size();
    const Tiling at_once = tiling(s.train, size);
    // Values, gradient, two moments, averages, and a gradient for each tile.
    const std::size_t buffers = 4 + s.averages.size() + at_once.tiles;
    const std::size_t pictures = at_once.tiles * at_once.rows;
    std::printf(
        "memory of training, at least         %.0f MB for parameters, gradients, moments "
        "and averages,\n",
        megabytes(static_cast<double>(size * sizeof(float) * buffers)));
    std::printf("%37s%.0f MB for the activations of %zu pictures\n", "",
                megabytes(bytes_of_row(net, s, format) * static_cast<double>(pictures)), pictures);
    std::printf("%37s(train.tile_rows bounds these); the kernels' workspace is extra\n", "");
  });
}

}  // namespace

std::uint64_t multiply_adds(const Settings& settings, const ImageFormat& format) {
  using meanflow::kernels::Counting;
  using Values = meanflow::Tensor<float, Counting>;
  const meanflow::Undrawn sizes_alone;
  return with_net<Counting>(settings, format, [&](const auto& net) {
    Counting::multiply_adds = 0;
    const auto image = Values::zeros({1, format.height, format.width, format.channels});
    const auto time = Values::zeros({1, 1});
    static_cast<void>(meanflow::evaluate(net, image, time, time, {}));
    return Counting::multiply_adds.load();
  });
}

void print_information(const InfoRequest& request) {
  Settings settings;
  ImageFormat format;
  if (!request.checkpoint.empty()) {
    const Identity identity = identity_of(request.checkpoint);
    settings = parse_configuration(to_yaml(identity.settings), "the checkpoint's configuration",
                                   request.changes);
    format = identity.format;
    std::printf("# %s, step %llu\n", request.checkpoint.c_str(),
                static_cast<unsigned long long>(identity.step));
  } else {
    settings = read_configuration(request.config, request.changes);
    if (request.data.empty())
      format = known_format(settings.data);
    else if (settings.data.kind == DataKind::latents)
      format = format_of(meanflow::load_latents(request.data));
    else
      format = format_of(load_pictures(settings.data, request.data).training);
  }
  std::printf("%s\n", to_yaml(settings).c_str());
  std::printf("pictures: %zu x %zu x %zu, %zu classes\n\n", format.height, format.width,
              format.channels, format.classes);
  print_parameters(settings, format);
  std::printf("multiply-adds per picture, forward   %.3g G\n",
              1e-9 * static_cast<double>(multiply_adds(settings, format)));
  print_memory(settings, format);
}

}  // namespace cifar10
