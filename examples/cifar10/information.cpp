// SPDX-License-Identifier: MIT
#include "information.hpp"

#include <algorithm>
#include <cstdio>
#include <variant>

#include <meanflow/kernels/cpu.hpp>

#include "configuration.hpp"
#include "counting.hpp"
#include "data.hpp"
#include "model.hpp"
#include "nets.hpp"

namespace cifar10 {

namespace {

void print_parameters(const Settings& settings, const ImageFormat& format) {
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

[[nodiscard]] std::size_t parameter_memory(const Settings& s, const ImageFormat& format) {
  const std::size_t size =
      with_net(s, format, [](const auto& net) { return net.parameters().flat_size(); });
  const std::size_t threads = meanflow::kernels::lanes(meanflow::Cpu{});
  const std::size_t tiles = meanflow::kernels::row_tiles(meanflow::Cpu{}, s.train.batch, size);
  // Values, gradient, two moments, averages, and a gradient for each thread that takes tiles.
  return size * sizeof(float) * (4 + s.averages.size() + std::min(threads, tiles));
}

[[nodiscard]] double jump_fraction(const Settings& s) {
  return std::visit([](const auto& times) { return times.jump_fraction; }, make_times(s).chosen);
}

[[nodiscard]] double megabytes(double bytes) { return bytes / (1 << 20); }

}  // namespace

Work work_of(const Settings& settings, const ImageFormat& format) {
  using meanflow::kernels::Counting;
  using Values = meanflow::Tensor<float, Counting>;
  return with_net<Counting>(settings, format, [&](const auto& net) {
    Counting::multiply_adds = Counting::results = 0;
    const auto image = Values::zeros({1, format.height, format.width, format.channels});
    const auto time = Values::zeros({1, 1});
    static_cast<void>(meanflow::evaluate(net, image, time, time, {}));
    return Work{Counting::multiply_adds, Counting::results};
  });
}

void print_information(const InfoRequest& request) {
  Settings settings;
  ImageFormat format;
  if (!request.checkpoint.empty()) {
    const Identity identity = identity_of(request.checkpoint);
    settings = identity.settings;
    format = identity.format;
    std::printf("# %s, step %llu\n", request.checkpoint.c_str(),
                static_cast<unsigned long long>(identity.step));
  } else {
    settings = read_configuration(request.config, request.changes);
    format = request.data.empty() ? known_format(settings.data)
                                  : format_of(load_pictures(settings.data, request.data).training);
  }
  std::printf("%s\n", to_yaml(settings).c_str());
  std::printf("pictures: %zu x %zu x %zu, %zu classes\n\n", format.height, format.width,
              format.channels, format.classes);
  print_parameters(settings, format);
  const Work work = work_of(settings, format);
  const double rows = static_cast<double>(settings.train.batch) * (1 + jump_fraction(settings));
  std::printf("multiply-adds per picture, forward   %.3g G\n",
              1e-9 * static_cast<double>(work.multiply_adds));
  std::printf(
      "memory of training, estimated        %.0f MB for parameters, gradients, moments and "
      "averages,\n%37s%.0f MB for the activations of a batch of %zu with its tangents\n",
      megabytes(static_cast<double>(parameter_memory(settings, format))), "",
      megabytes(rows * static_cast<double>(work.kept * sizeof(float))), settings.train.batch);
}

}  // namespace cifar10
