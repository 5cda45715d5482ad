// SPDX-License-Identifier: MIT
/// \file
/// The header of a safetensors file: a JSON object with the type, shape and place of each tensor.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <meanflow/error.hpp>
#include <meanflow/io/safetensors_dtype.hpp>

namespace meanflow {

namespace detail {

struct TensorEntry {
  DType dtype = DType::f32;
  std::vector<std::size_t> shape;
  std::uint64_t begin = 0, end = 0;  // in bytes; in the header from the end of the header, then
                                     // from the start of the file
};

struct SafetensorsHeader {
  std::map<std::string, TensorEntry> tensors;
  std::map<std::string, std::string> metadata;
};

inline std::string shape_text(std::span<const std::size_t> shape) {
  std::string text = "[";
  for (const std::size_t extent : shape) {
    text += (text.size() > 1 ? ", " : "") + std::to_string(extent);
  }
  return text + "]";
}

/// The bytes of a tensor of this shape, or nothing if they do not fit 64 bits.
inline std::optional<std::uint64_t> byte_count(DType dtype, std::span<const std::size_t> shape) {
  if (std::ranges::find(shape, 0U) != shape.end()) return 0;
  std::uint64_t bytes = size_of(dtype);
  for (const std::uint64_t extent : shape) {
    if (bytes > UINT64_MAX / extent) return std::nullopt;
    bytes *= extent;
  }
  return bytes;
}

/// Reads the header's JSON piece by piece, so that its size bounds the memory used, and refuses the
/// first thing that does not belong there.
class SafetensorsHeaderParser final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit SafetensorsHeaderParser(const std::filesystem::path& path) : path_(path) {}

  [[nodiscard]] SafetensorsHeader parse(std::string_view text) && {
    nlohmann::json::sax_parse(text.begin(), text.end(), this);
    return std::move(header_);
  }

  bool start_object(std::size_t) override {
    if (place_ == Place::nothing) {
      place_ = Place::top;
    } else if (place_ == Place::top && key_ == "__metadata__") {
      place_ = Place::metadata;
    } else if (place_ == Place::top) {
      place_ = Place::tensor;
      entry_ = {};
    } else {
      refuse("an object");
    }
    seen_.clear();
    return true;
  }

  bool key(std::string& name) override {
    if (place_ == Place::top) {
      if (!names_.insert(name).second) fail("the name " + shown(name) + " appears twice");
      name_ = name;
    } else if (!seen_.insert(name).second) {
      fail("the key " + shown(name) + " appears twice in " + shown(name_));
    }
    key_ = name;
    return true;
  }

  bool end_object() override {
    if (place_ == Place::tensor) finish_tensor();
    place_ = place_ == Place::top ? Place::nothing : Place::top;
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ != Place::tensor || (key_ != "shape" && key_ != "data_offsets")) refuse("an array");
    place_ = Place::array;
    numbers_.clear();
    return true;
  }

  bool end_array() override {
    place_ = Place::tensor;
    if (key_ == "shape") {
      entry_.shape.assign(numbers_.begin(), numbers_.end());
    } else if (numbers_.size() != 2) {
      fail("data_offsets of " + shown(name_) + " should be two numbers");
    } else {
      entry_.begin = numbers_[0];
      entry_.end = numbers_[1];
    }
    return true;
  }

  bool number_unsigned(std::uint64_t value) override {
    if (place_ != Place::array) refuse("a number");
    const std::size_t most_dimensions = 64;
    if (numbers_.size() == most_dimensions) {
      fail(shown(name_) + " has more than 64 dimensions");
    }
    numbers_.push_back(value);
    return true;
  }

  bool string(std::string& value) override {
    if (place_ == Place::metadata) {
      header_.metadata[key_] = value;
    } else if (place_ == Place::tensor && key_ == "dtype") {
      const auto found = std::ranges::find(dtype_entries, value, &DTypeEntry::name);
      if (found == dtype_entries.end()) {
        fail(shown(name_) + " has the unknown dtype " + shown(value));
      }
      entry_.dtype = found->dtype;
    } else {
      refuse("a string");
    }
    return true;
  }

  bool null() override { refuse("null"); }
  bool boolean(bool) override { refuse("a boolean"); }
  bool number_integer(std::int64_t) override { refuse("a negative number"); }
  bool number_float(double, const std::string&) override { refuse("a fractional or huge number"); }
  bool binary(nlohmann::json::binary_t&) override { refuse("binary data"); }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::json::exception&) override {
    fail("it is not valid JSON at byte " + std::to_string(8 + position));
  }

 private:
  enum class Place { nothing, top, metadata, tensor, array };

  [[noreturn]] void fail(const std::string& what) const {
    throw FileError(quoted(path_) + " has a damaged safetensors header: " + what + ".");
  }

  [[noreturn]] void refuse(const std::string& what) const {
    fail(what + (name_.empty() ? " stands at its top" : " does not belong in " + shown(name_)));
  }

  void finish_tensor() {
    for (const char* key : {"dtype", "shape", "data_offsets"}) {
      if (!seen_.contains(key)) fail(shown(name_) + " has no " + key);
    }
    if (seen_.size() != 3) fail(shown(name_) + " has keys besides dtype, shape and data_offsets");
    header_.tensors.emplace(name_, std::move(entry_));
  }

  const std::filesystem::path& path_;
  SafetensorsHeader header_;
  Place place_ = Place::nothing;
  std::set<std::string> names_, seen_;
  std::string name_, key_;
  std::vector<std::uint64_t> numbers_;
  TensorEntry entry_;
};

}  // namespace detail

}  // namespace meanflow
