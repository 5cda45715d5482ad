// SPDX-License-Identifier: MIT
// A trained model whose net is known at run time alone: what other languages load and call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <meanflow/flow/generate.hpp>
#include <meanflow/tensor/tensor.hpp>

namespace bindings {

/// What a net is told, part by part, each of as many rows as the batch or of one that is meant for
/// all; a part that is empty is not given.
struct Told {
  meanflow::Tensor<std::int32_t> labels{};
  meanflow::Tensor<float> values{}, augmentation{}, omega{}, t_min{}, t_max{};
};

struct ValueAndTangent {
  meanflow::Tensor<float> value, tangent;
};

/// A model of `meanflow::save_model`, of any of the library's nets. Its functions may be called by
/// several threads at a time.
class AnyModel {
 public:
  virtual ~AnyModel() = default;

  [[nodiscard]] virtual std::string net() const = 0;         ///< its kind, as "Mlp<Silu>"
  [[nodiscard]] virtual std::string settings() const = 0;    ///< of the net, JSON
  [[nodiscard]] virtual std::size_t parameters() const = 0;  ///< their number
  /// The shape of a sample; empty if the file does not say.
  [[nodiscard]] virtual meanflow::Shape row_shape() const = 0;
  /// The parts of a condition that the net may be told, by the names of `Told`.
  [[nodiscard]] virtual std::vector<std::string> parts() const = 0;

  /// (count, ...) in the units of the data.
  [[nodiscard]] virtual meanflow::Tensor<float> sample(std::size_t count,
                                                       const meanflow::SamplingSettings& settings,
                                                       const Told& told) const = 0;
  /// u(z, r, t): z (B, ...), r and t (B, 1), in the units that the net sees.
  [[nodiscard]] virtual meanflow::Tensor<float> velocity(const meanflow::Tensor<float>& z,
                                                         const meanflow::Tensor<float>& r,
                                                         const meanflow::Tensor<float>& t,
                                                         const Told& told) const = 0;
  /// u and its derivative along (dz, dr, dt).
  [[nodiscard]] virtual ValueAndTangent jvp(const meanflow::Tensor<float>& z,
                                            const meanflow::Tensor<float>& r,
                                            const meanflow::Tensor<float>& t,
                                            const meanflow::Tensor<float>& dz,
                                            const meanflow::Tensor<float>& dr,
                                            const meanflow::Tensor<float>& dt,
                                            const Told& told) const = 0;

  /// Writes it as `meanflow::save_model` does. Throws FileError if that fails.
  virtual void save(const std::filesystem::path& path) const = 0;
};

/// How many threads work in each call from now on, whichever thread calls; 0 for all processors.
void set_threads(int count);
/// Has the calling thread keep to that number.
void use_threads();

/// Reads a file of `meanflow::save_model`.
/// Throws meanflow::FileError if it is damaged, no model, or one of a net of the user's own.
[[nodiscard]] std::shared_ptr<const AnyModel> load_any_model(const std::filesystem::path& path);

}  // namespace bindings
