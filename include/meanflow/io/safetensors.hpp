// SPDX-License-Identifier: MIT
/// \file
/// Named tensors in safetensors files (https://github.com/huggingface/safetensors): the length of
/// the header in 8 bytes, a JSON header, and the raw row-major data, all little-endian.
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <ranges>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <meanflow/error.hpp>
#include <meanflow/io/convert.hpp>
#include <meanflow/io/file.hpp>

namespace meanflow {

/// The element types of safetensors files that this library knows.
enum class DType { f64, f32, f16, bf16, i64, i32, i16, i8, u64, u32, u16, u8, boolean };

namespace detail {

struct DTypeEntry {
  DType dtype;
  std::string_view name;
  std::size_t size;
};

inline constexpr std::array<DTypeEntry, 13> dtype_entries{{{DType::f64, "F64", 8},
                                                           {DType::f32, "F32", 4},
                                                           {DType::f16, "F16", 2},
                                                           {DType::bf16, "BF16", 2},
                                                           {DType::i64, "I64", 8},
                                                           {DType::i32, "I32", 4},
                                                           {DType::i16, "I16", 2},
                                                           {DType::i8, "I8", 1},
                                                           {DType::u64, "U64", 8},
                                                           {DType::u32, "U32", 4},
                                                           {DType::u16, "U16", 2},
                                                           {DType::u8, "U8", 1},
                                                           {DType::boolean, "BOOL", 1}}};

}  // namespace detail

/// Bytes per element.
[[nodiscard]] constexpr std::size_t size_of(DType dtype) {
  return detail::dtype_entries[static_cast<std::size_t>(dtype)].size;
}

/// The name used in files, such as "F32".
[[nodiscard]] constexpr std::string_view name_of(DType dtype) {
  return detail::dtype_entries[static_cast<std::size_t>(dtype)].name;
}

/// The element type that holds values of the C++ type T.
template <class T>
  requires FileNumber<T> || std::same_as<T, bool>
[[nodiscard]] constexpr DType dtype_of() {
  if constexpr (std::same_as<T, double>) return DType::f64;
  if constexpr (std::same_as<T, float>) return DType::f32;
  if constexpr (std::same_as<T, bool>) return DType::boolean;
  constexpr bool is_signed = std::is_signed_v<T>;
  switch (sizeof(T)) {
    case 1:
      return is_signed ? DType::i8 : DType::u8;
    case 2:
      return is_signed ? DType::i16 : DType::u16;
    case 4:
      return is_signed ? DType::i32 : DType::u32;
    default:
      return is_signed ? DType::i64 : DType::u64;
  }
}

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

/// Takes the header's JSON piece by piece, so that its size bounds the memory used, and refuses the
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

/// A safetensors file open for reading. Opening it reads and checks the header alone; data are read
/// when asked for. Copies share the open file, and reading is safe from several threads.
///
/// Opening accepts what the format's specification allows and nothing else: the tensors must cover
/// the data exactly, without gaps or overlaps, so a truncated file is noticed at once.
class Safetensors {
 public:
  /// \throws FileError if the file is missing, truncated or damaged; the message says where.
  explicit Safetensors(const std::filesystem::path& path) : file_(path) {
    std::uint64_t data_begin = 0;
    header_ = read_header(data_begin);
    check_offsets(data_begin);
  }

  [[nodiscard]] const std::filesystem::path& path() const { return file_.path(); }

  /// The names of all tensors, sorted.
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> names;
    names.reserve(header_.tensors.size());
    for (const auto& [name, entry] : header_.tensors) names.push_back(name);
    return names;
  }

  [[nodiscard]] bool contains(const std::string& name) const {
    return header_.tensors.contains(name);
  }

  /// \throws FileError if there is no such tensor (so do all members below that take a name).
  [[nodiscard]] const std::vector<std::size_t>& shape(const std::string& name) const {
    return entry(name).shape;
  }

  [[nodiscard]] DType dtype(const std::string& name) const { return entry(name).dtype; }

  /// Number of elements.
  [[nodiscard]] std::size_t size(const std::string& name) const { return size(entry(name)); }

  /// The file's `__metadata__`; empty if it has none.
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const {
    return header_.metadata;
  }

  /// The tensor's values in row-major order. Floats of any width (also f16 and bf16) are rounded to
  /// T; other conversions must be exact; booleans become 0 and 1.
  /// \throws FileError if T cannot hold a value; the message names the element.
  template <FileNumber T>
  [[nodiscard]] std::vector<T> read(const std::string& name) const {
    std::vector<T> values(size(name));
    read_values(name, entry(name), std::span<T>(values));
    return values;
  }

  /// As read(), into memory of the caller's. \throws ShapeError if the size is not the tensor's.
  template <FileNumber T>
  void read_into(const std::string& name, std::span<T> values) const {
    const detail::TensorEntry& tensor = entry(name);
    if (values.size() != size(tensor)) {
      throw ShapeError("read_into: tensor " + detail::shown(name) + " of " +
                       detail::quoted(path()) + " has the shape " +
                       detail::shape_text(tensor.shape) + ", which is " +
                       std::to_string(size(tensor)) + " elements, but there is room for " +
                       std::to_string(values.size()) + ".");
    }
    read_values(name, tensor, values);
  }

  /// The tensor's bytes as they are in the file.
  [[nodiscard]] std::vector<std::byte> read_bytes(const std::string& name) const {
    const detail::TensorEntry& tensor = entry(name);
    std::vector<std::byte> bytes(static_cast<std::size_t>(tensor.end - tensor.begin));
    file_.read_at(tensor.begin, bytes);
    return bytes;
  }

 private:
  static constexpr std::uint64_t length_size = 8;
  static constexpr std::uint64_t longest_header = 100'000'000;  // the format's own limit

  [[noreturn]] void fail(const std::string& what) const {
    throw FileError(detail::quoted(path()) + " is not a usable safetensors file: " + what + ".");
  }

  [[nodiscard]] detail::SafetensorsHeader read_header(std::uint64_t& data_begin) const {
    if (file_.size() < length_size) {
      fail("it has " + std::to_string(file_.size()) + " bytes, fewer than the 8 it starts with");
    }
    std::uint64_t length = 0;
    file_.read_at(0, std::as_writable_bytes(std::span(&length, 1)));
    if (length > longest_header) {
      fail("its header is said to have " + std::to_string(length) +
           " bytes, where at most 100000000 are allowed");
    }
    if (length > file_.size() - length_size) {
      fail("its header is said to have " + std::to_string(length) + " bytes, but only " +
           std::to_string(file_.size() - length_size) + " follow, so it is truncated or damaged");
    }
    std::string text(static_cast<std::size_t>(length), '\0');
    file_.read_at(length_size, std::as_writable_bytes(std::span(text)));
    data_begin = length_size + length;
    if (!text.starts_with('{')) fail("its header does not start with '{'");
    return detail::SafetensorsHeaderParser(path()).parse(text);
  }

  /// Checks each tensor against its shape and all of them against the file, then turns offsets into
  /// places in the file.
  void check_offsets(std::uint64_t data_begin) {
    const std::uint64_t available = file_.size() - data_begin;
    std::vector<std::pair<const std::string*, detail::TensorEntry*>> order;
    for (auto& [name, tensor] : header_.tensors) {
      check_entry(name, tensor, available);
      order.emplace_back(&name, &tensor);
    }
    std::ranges::sort(order, {}, [](const auto& item) {
      return std::pair(item.second->begin, item.second->end);
    });
    std::uint64_t end = 0;
    for (const auto& [name, tensor] : order) {
      if (tensor->begin != end) {
        fail("the data of tensor " + detail::shown(*name) + " begin at byte " +
             std::to_string(tensor->begin) +
             (tensor->begin < end ? " and overlap those before, which end at "
                                  : " and leave a gap after those before, which end at ") +
             std::to_string(end));
      }
      end = tensor->end;
      tensor->begin += data_begin;
      tensor->end += data_begin;
    }
    if (end != available) {
      fail("its tensors take " + std::to_string(end) + " bytes, but " + std::to_string(available) +
           " follow the header");
    }
  }

  void check_entry(const std::string& name, const detail::TensorEntry& tensor,
                   std::uint64_t available) const {
    const std::string offsets =
        std::string("[") + std::to_string(tensor.begin) + ", " + std::to_string(tensor.end) + "]";
    if (tensor.begin > tensor.end) {
      fail("the offsets " + offsets + " of tensor " + detail::shown(name) + " run backwards");
    }
    if (tensor.end > available) {
      fail("tensor " + detail::shown(name) + " should lie at " + offsets + ", but only " +
           std::to_string(available) + " bytes of data follow, so it is truncated or damaged");
    }
    const std::optional<std::uint64_t> bytes = detail::byte_count(tensor.dtype, tensor.shape);
    if (bytes != tensor.end - tensor.begin) {
      fail("tensor " + detail::shown(name) + " of type " + std::string(name_of(tensor.dtype)) +
           " and shape " + detail::shape_text(tensor.shape) + " needs " +
           (bytes ? std::to_string(*bytes) : "more than 2^64") + " bytes, but its offsets are " +
           offsets);
    }
  }

  [[nodiscard]] const detail::TensorEntry& entry(const std::string& name) const {
    const auto found = header_.tensors.find(name);
    if (found == header_.tensors.end()) {
      throw FileError(detail::quoted(path()) + " has no tensor named " + detail::shown(name) + ".");
    }
    return found->second;
  }

  [[nodiscard]] static std::size_t size(const detail::TensorEntry& tensor) {
    return static_cast<std::size_t>((tensor.end - tensor.begin) / size_of(tensor.dtype));
  }

  template <FileNumber T>
  void read_values(const std::string& name, const detail::TensorEntry& tensor,
                   std::span<T> values) const {
    const auto read = [&]<class From>() {
      detail::read_values<From>(file_, tensor.begin, values, "tensor " + detail::shown(name));
    };
    switch (tensor.dtype) {
      case DType::f64:
        return read.template operator()<double>();
      case DType::f32:
        return read.template operator()<float>();
      case DType::f16:
        return read.template operator()<detail::Float16>();
      case DType::bf16:
        return read.template operator()<detail::BFloat16>();
      case DType::i64:
        return read.template operator()<std::int64_t>();
      case DType::i32:
        return read.template operator()<std::int32_t>();
      case DType::i16:
        return read.template operator()<std::int16_t>();
      case DType::i8:
        return read.template operator()<std::int8_t>();
      case DType::u64:
        return read.template operator()<std::uint64_t>();
      case DType::u32:
        return read.template operator()<std::uint32_t>();
      case DType::u16:
        return read.template operator()<std::uint16_t>();
      case DType::u8:
      case DType::boolean:
        return read.template operator()<std::uint8_t>();
    }
  }

  FileReader file_;
  detail::SafetensorsHeader header_;
};

/// Collects named tensors and writes them to a safetensors file. Tensors are laid out by falling
/// width and then by name, as the Python package does, so that all data are aligned.
class SafetensorsWriter {
 public:
  /// Adds a copy of the values.
  /// \throws ShapeError if the shape does not fit the number of values.
  /// \throws SettingError if the name is taken or reserved (so do the other add functions).
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
  /// \throws FileError if that fails, for example on a full disk; nothing is left behind.
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
