// SPDX-License-Identifier: MIT
/// \file
/// Writes safetensors files.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <meanflow/error.hpp>
#include <meanflow/io/file.hpp>
#include <meanflow/io/safetensors_dtype.hpp>
#include <meanflow/io/safetensors_header.hpp>

namespace meanflow {

/// Collects named tensors and writes them to a safetensors file. Tensors are laid out by decreasing
/// width and then by name, as the Python package does, so that all data are aligned.
class SafetensorsWriter {
 public:
  /// Adds a copy of the values.
  /// Throws ShapeError if the shape does not fit the number of values.
  /// Throws SettingError if the name is taken or reserved (so do the other add functions).
  template <std::ranges::contiguous_range Values>
    requires std::ranges::sized_range<Values>
  void add(const std::string& name, std::vector<std::size_t> shape, const Values& values) {
    const auto view = std::span(std::ranges::data(values), std::ranges::size(values));
    const auto bytes = std::as_bytes(view);
    insert(name, dtype_of<std::remove_cv_t<std::ranges::range_value_t<Values>>>(), std::move(shape),
           bytes);
    items_.at(name).owned.assign(bytes.begin(), bytes.end());
  }

  /// Adds the values without copying them: they must stay where they are until write() returns.
  template <class T>
  void add_view(const std::string& name, std::vector<std::size_t> shape,
                std::span<const T> values) {
    insert(name, dtype_of<T>(), std::move(shape), std::as_bytes(values));
  }

  /// Adds a copy of raw bytes of the element type given; for f16 and bf16, for example.
  void add_bytes(const std::string& name, DType dtype, std::vector<std::size_t> shape,
                 std::span<const std::byte> bytes) {
    insert(name, dtype, std::move(shape), bytes);
    items_.at(name).owned.assign(bytes.begin(), bytes.end());
  }

  /// Sets an entry of `__metadata__`.
  void metadata(const std::string& key, const std::string& value) { metadata_[key] = value; }

  /// Writes everything, whole or not at all: an older file of that name is replaced only when the
  /// new one is complete and on the disk.
  /// Throws FileError if that fails, for example on a full disk; nothing is left behind.
  void write(const std::filesystem::path& path) const {
    const std::vector<const std::pair<const std::string, Item>*> order = layout();
    const std::string header = header_text(order);
    const std::uint64_t length = header.size();
    AtomicFile file(path);
    file.write(std::as_bytes(std::span(&length, 1)));
    file.write(header);
    for (const auto* item : order) file.write(item->second.bytes());
    file.commit();
  }

 private:
  struct Item {
    DType dtype;
    std::vector<std::size_t> shape;
    std::span<const std::byte> view;
    std::vector<std::byte> owned;  // in place of the view, if not empty

    [[nodiscard]] std::span<const std::byte> bytes() const {
      return owned.empty() ? view : std::span<const std::byte>(owned);
    }
  };

  void insert(const std::string& name, DType dtype, std::vector<std::size_t> shape,
              std::span<const std::byte> bytes) {
    if (name == "__metadata__") {
      throw SettingError("SafetensorsWriter: a tensor cannot be named '__metadata__'.");
    }
    if (detail::byte_count(dtype, shape) != bytes.size()) {
      throw ShapeError("SafetensorsWriter: tensor " + detail::shown(name) + " of type " +
                       std::string(name_of(dtype)) + " and shape " + detail::shape_text(shape) +
                       " does not fit the " + std::to_string(bytes.size()) + " bytes given.");
    }
    if (!items_.try_emplace(name, Item{dtype, std::move(shape), bytes, {}}).second) {
      throw SettingError("SafetensorsWriter: a tensor named " + detail::shown(name) +
                         " was added before.");
    }
  }

  [[nodiscard]] std::vector<const std::pair<const std::string, Item>*> layout() const {
    std::vector<const std::pair<const std::string, Item>*> order;
    for (const auto& item : items_) order.push_back(&item);
    std::ranges::stable_sort(order, std::ranges::greater{},
                             [](const auto* item) { return size_of(item->second.dtype); });
    return order;
  }

  [[nodiscard]] std::string header_text(
      std::span<const std::pair<const std::string, Item>* const> order) const {
    nlohmann::ordered_json header = nlohmann::ordered_json::object();
    if (!metadata_.empty()) header["__metadata__"] = metadata_;
    std::uint64_t end = 0;
    for (const auto* item : order) {
      const std::uint64_t begin = end;
      end += item->second.bytes().size();
      header[item->first] = {{"dtype", name_of(item->second.dtype)},
                             {"shape", item->second.shape},
                             {"data_offsets", {begin, end}}};
    }
    std::string text;
    try {
      text = header.dump();
    } catch (const nlohmann::json::exception&) {
      throw SettingError("SafetensorsWriter: a name or a metadata entry is not valid UTF-8.");
    }
    const std::size_t alignment = 8;
    text.resize((text.size() + alignment - 1) / alignment * alignment, ' ');
    return text;
  }

  std::map<std::string, Item> items_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace meanflow
