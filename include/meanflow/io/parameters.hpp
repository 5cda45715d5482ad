// SPDX-License-Identifier: MIT
/// \file
/// The parameters of a net in a safetensors file, under their names.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <meanflow/autodiff/parameters.hpp>
#include <meanflow/io/safetensors.hpp>

namespace meanflow {

/// Writes every parameter under its name, and `metadata` as strings. Whole or not at all.
template <class T>
void save_parameters(const std::filesystem::path& path, const Parameters<T>& parameters,
                     const std::map<std::string, std::string>& metadata = {}) {
  SafetensorsWriter writer;
  for (const auto& [key, value] : metadata) writer.metadata(key, value);
  for (const ParameterEntry& entry : parameters.entries()) {
    const T* values = parameters.values().data() + entry.offset;
    writer.add(entry.name, std::vector<std::size_t>(entry.shape.begin(), entry.shape.end()),
               std::span<const T>(values, entry.shape.size()));
  }
  writer.write(path);
}

/// Reads every parameter by its name, from any floating-point type. Nothing is changed unless all
/// are there in the right shape: throws FileError, naming the first that is missing or different.
/// Names that the net does not have are ignored.
template <class T>
void load_parameters(const std::filesystem::path& path, const Parameters<T>& parameters) {
  const Safetensors file(path);
  for (const ParameterEntry& entry : parameters.entries()) {
    if (!file.contains(entry.name))
      throw FileError(path.string() + ": has no parameter " + entry.name + " of shape " +
                      to_string(entry.shape));
    Shape found;
    for (std::size_t extent : file.shape(entry.name)) found.push_back(extent);
    if (!(found == entry.shape))
      throw FileError(path.string() + ": parameter " + entry.name + " has shape " +
                      to_string(found) + ", expected " + to_string(entry.shape));
  }
  for (const ParameterEntry& entry : parameters.entries())
    file.template read_into<T>(
        entry.name, std::span<T>(parameters.values().data() + entry.offset, entry.shape.size()));
}

}  // namespace meanflow
