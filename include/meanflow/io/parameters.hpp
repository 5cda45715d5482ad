// SPDX-License-Identifier: MIT
/// \file
/// The parameters of a net in a safetensors file, under their names.
#pragma once

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <meanflow/autodiff/parameters.hpp>
#include <meanflow/io/safetensors.hpp>
#include <meanflow/tensor/transfer.hpp>

namespace meanflow {

/// Adds a flat buffer laid out as `parameters` is, in named parts: PREFIX and the parameter's name.
/// `values` must stay alive until the file is written.
template <class T, class Device>
void add_parameters(SafetensorsWriter& writer, const std::string& prefix,
                    const Parameters<T, Device>& parameters, const Tensor<T>& values) {
  for (const ParameterEntry& entry : parameters.entries())
    writer.add_view(prefix + entry.name,
                    std::vector<std::size_t>(entry.shape.begin(), entry.shape.end()),
                    std::span<const T>(values.data() + entry.offset, entry.shape.size()));
}

/// Reads what `add_parameters` wrote, from any floating-point type, into a flat buffer. Nothing is
/// changed unless all parts are present in the right shape: throws FileError, naming the first that
/// is missing or different. Other tensors of the file are ignored.
template <class T, class Device>
void read_parameters(const Safetensors& file, const std::string& prefix,
                     const Parameters<T, Device>& parameters, Tensor<T>& values) {
  for (const ParameterEntry& entry : parameters.entries()) {
    const std::string name = prefix + entry.name;
    if (!file.contains(name))
      throw FileError(file.path().string() + ": has no parameter " + name + " of shape " +
                      detail::shape_text({entry.shape.begin(), entry.shape.end()}));
    const std::vector<std::size_t>& found = file.shape(name);
    if (!std::equal(found.begin(), found.end(), entry.shape.begin(), entry.shape.end()))
      throw FileError(file.path().string() + ": parameter " + name + " has shape " +
                      detail::shape_text(found) + ", expected " +
                      detail::shape_text({entry.shape.begin(), entry.shape.end()}));
  }
  for (const ParameterEntry& entry : parameters.entries())
    file.template read_into<T>(prefix + entry.name,
                               std::span<T>(values.data() + entry.offset, entry.shape.size()));
}

/// Writes every parameter under its name, and `metadata` as strings. Whole or not at all.
template <class T, class Device>
void save_parameters(const std::filesystem::path& path, const Parameters<T, Device>& parameters,
                     const std::map<std::string, std::string>& metadata = {}) {
  SafetensorsWriter writer;
  for (const auto& [key, value] : metadata) writer.metadata(key, value);
  const Tensor<T> values = to_host(parameters.values());
  add_parameters(writer, "", parameters, values);
  writer.write(path);
}

/// Reads every parameter by PREFIX and its name, as `read_parameters` does: with the prefix
/// "average.0." the first average of a checkpoint.
template <class T, class Device>
void load_parameters(const std::filesystem::path& path, const Parameters<T, Device>& parameters,
                     const std::string& prefix = "") {
  Tensor<T> values = to_host(parameters.values());
  read_parameters(Safetensors(path), prefix, parameters, values);
  if constexpr (!on_host<Device>) parameters.assign(to_device<Device>(values));
}

}  // namespace meanflow
