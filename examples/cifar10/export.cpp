// SPDX-License-Identifier: MIT
#include "export.hpp"

#include <cstdio>
#include <string>
#include <utility>

#include <meanflow/flow/guidance.hpp>
#include <meanflow/flow/guidance_input.hpp>
#include <meanflow/io/parameters.hpp>
#include <meanflow/train/model.hpp>
#ifdef CIFAR10_WITH_ONNX
#include <meanflow/onnx/export.hpp>
#endif

#include "model.hpp"
#include "nets.hpp"
#include "output.hpp"

namespace cifar10 {

namespace {

/// The net itself, which a file of it is read into by others.
template <meanflow::Net N>
[[nodiscard]] const N& unwrapped(const N& net) {
  return net;
}
template <meanflow::Net N>
[[nodiscard]] const N& unwrapped(const EitherPrediction<N>& net) {
  if (net.of_data())
    throw meanflow::SettingError(
        "--model: this net predicts clean data (net.x_prediction), which a model file cannot tell; "
        "--onnx can");
  return net.net();
}

}  // namespace

void export_net(const ExportRequest& request) {
  if (request.model.empty() && request.onnx.empty())
    throw meanflow::SettingError("export needs --model FILE or --onnx FILE");
#ifndef CIFAR10_WITH_ONNX
  if (!request.onnx.empty())
    throw meanflow::SettingError(
        "--onnx: this program was built without protozero (Debian: libprotozero-dev)");
#endif
  prepare_output(request.model);
  prepare_output(request.onnx);
  const auto [identity, prefix] =
      checkpoint_identity(request.checkpoint, request.average, request.config);
  const auto& [settings, format, step, data] = identity;
  const meanflow::Shape row{format.height, format.width, format.channels};
  const bool velocity = instantaneous(make_objective(settings));
  with_net(settings, format, [&](auto net) {
    meanflow::load_parameters(request.checkpoint, net.parameters(), prefix);
    if (!request.model.empty()) {
      meanflow::save_model(request.model, unwrapped(net),
                           {.instantaneous = velocity, .row_shape = row});
      std::printf("a model of meanflow from step %llu: %s\n", static_cast<unsigned long long>(step),
                  request.model.c_str());
    }
#ifdef CIFAR10_WITH_ONNX
    if (request.onnx.empty()) return;
    const std::size_t steps = request.nfe > 0 ? request.nfe : settings.sample.nfe;
    const meanflow::OnnxOptions options{
        .steps = steps, .instantaneous = velocity, .row_shape = row};
    const auto write = [&](const auto& sampled) {
      if constexpr (meanflow::TellsGuidance<meanflow::ConditionOf<decltype(net)>>)
        meanflow::export_onnx(
            request.onnx, sampled, options,
            with_guidance(null_condition_of(sampled, "--onnx"), settings.sample.input, 1));
      else
        meanflow::export_onnx(request.onnx, sampled, options);
    };
    if (const double scale = settings.sample.guidance; scale == 1)
      write(net);
    else
      write(meanflow::GuidedSampling(net, scale));
    std::printf("a sampler in %zu step%s from step %llu, as ONNX: %s\n", steps,
                steps == 1 ? "" : "s", static_cast<unsigned long long>(step), request.onnx.c_str());
#endif
  });
}

}  // namespace cifar10
