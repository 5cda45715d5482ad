// SPDX-License-Identifier: MIT
/// \file
/// Scalars and pictures in event files that TensorBoard shows.
///
/// An event file is a row of records: the length of the data in 8 bytes, a checksum of these, the
/// data, and a checksum of the data, all little-endian (the TFRecord format of
/// https://www.tensorflow.org/tutorials/load_data/tfrecord). The data of a record are one `Event`
/// message, as TensorFlow's event.proto and summary.proto declare it, in the wire format of
/// https://protobuf.dev/programming-guides/encoding.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <unistd.h>

#include <meanflow/error.hpp>
#include <meanflow/io/file.hpp>
#include <meanflow/io/image.hpp>

namespace meanflow {

namespace detail {

/// What each byte adds to a CRC-32C: the remainder by Castagnoli's polynomial, lowest bit first.
[[nodiscard]] constexpr std::array<std::uint32_t, 256> crc32c_table() {
  const std::uint32_t polynomial = 0x82f63b78;
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t remainder = byte;
    for (int bit = 0; bit < 8; ++bit) {
      remainder = remainder >> 1 ^ ((remainder & 1U) != 0 ? polynomial : 0U);
    }
    table[byte] = remainder;
  }
  return table;
}

/// The checksum CRC-32C (RFC 3720, appendix B.4).
[[nodiscard]] constexpr std::uint32_t crc32c(std::string_view bytes) {
  constexpr std::array<std::uint32_t, 256> table = crc32c_table();
  std::uint32_t remainder = ~0U;
  for (const char byte : bytes) {
    remainder = remainder >> 8 ^ table[(remainder ^ static_cast<unsigned char>(byte)) & 0xffU];
  }
  return ~remainder;
}

/// Appends the bytes of a number, the lowest first.
template <class T>
void append_little_endian(std::string& text, T value) {
  for (std::size_t byte = 0; byte < sizeof(T); ++byte) {
    text += static_cast<char>(value >> (8 * byte) & 0xffU);
  }
}

/// The data as a record of an event file. Its checksums are turned and shifted, since a CRC over
/// data that contain their own CRC tells little.
[[nodiscard]] inline std::string event_record(std::string_view data) {
  const auto masked = [](std::string_view bytes) {
    return std::rotr(crc32c(bytes), 15) + 0xa282ead8U;
  };
  std::string record;
  append_little_endian(record, std::uint64_t(data.size()));
  append_little_endian(record, masked(record));
  record += data;
  append_little_endian(record, masked(data));
  return record;
}

/// A message in the wire format of protocol buffers, as far as events need it: each field is its
/// number and its kind (0 varint, 1 and 5 fixed width, 2 bytes with their length), then the value.
class ProtobufMessage {
 public:
  ProtobufMessage& integer(unsigned field, std::uint64_t value) {
    varint(field << 3);
    varint(value);
    return *this;
  }

  ProtobufMessage& number(unsigned field, double value) {
    varint(field << 3 | 1U);
    append_little_endian(bytes_, std::bit_cast<std::uint64_t>(value));
    return *this;
  }

  ProtobufMessage& number(unsigned field, float value) {
    varint(field << 3 | 5U);
    append_little_endian(bytes_, std::bit_cast<std::uint32_t>(value));
    return *this;
  }

  /// Text, bytes, or another message.
  ProtobufMessage& bytes(unsigned field, std::string_view value) {
    varint(field << 3 | 2U);
    varint(value.size());
    bytes_ += value;
    return *this;
  }

  operator std::string_view() const { return bytes_; }

 private:
  // Seven bits a byte, the lowest first; the eighth says that more follow.
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80U);
    bytes_ += static_cast<char>(value);
  }

  std::string bytes_;
};

/// Whether the text is UTF-8 (RFC 3629), which readers of a message's text insist on.
[[nodiscard]] constexpr bool is_utf8(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  for (std::size_t i = 0, length = 0; i < text.size(); i += length) {
    length = byte(i) < 0x80 ? 1 : byte(i) < 0xe0 ? 2 : byte(i) < 0xf0 ? 3 : 4;
    if ((byte(i) >= 0x80 && byte(i) < 0xc2) || byte(i) > 0xf4 || length > text.size() - i) {
      return false;
    }
    std::uint32_t code = length == 1 ? byte(i) : byte(i) & (0x7fU >> length);
    for (std::size_t k = 1; k < length; ++k) {
      if ((byte(i + k) & 0xc0U) != 0x80) return false;
      code = code << 6 | (byte(i + k) & 0x3fU);
    }
    const bool longer_than_needed =
        (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
    if (longer_than_needed || (code >= 0xd800 && code < 0xe000) || code > 0x10ffff) return false;
  }
  return true;
}

[[nodiscard]] inline double seconds_since_1970() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// A name for an event file that no other writer has: TensorBoard looks for "tfevents" in it, and
/// reads the files of a folder in the order of their names, so the time comes first.
[[nodiscard]] inline std::string event_file_name() {
  static std::atomic<unsigned> count{0};
  std::array<char, 256> host{};  // stays ended by a zero, whatever gethostname does
  if (::gethostname(host.data(), host.size() - 1) != 0 || host[0] == '\0') host = {"localhost"};
  return "events.out.tfevents." + std::to_string(static_cast<std::uint64_t>(seconds_since_1970())) +
         "." + host.data() + "." + std::to_string(::getpid()) + "." + std::to_string(count++);
}

}  // namespace detail

struct TensorBoardOptions {
  /// Where a resumed training run starts. TensorBoard then hides what older files of the folder
  /// hold for this step and later ones. Empty: all of the older files is shown.
  std::optional<std::uint64_t> first_step = std::nullopt;
  double flush_seconds = 10;  ///< records wait at most that long for the next one; 0: not at all
};

/// Writes scalars and pictures for TensorBoard (`tensorboard --logdir FOLDER`).
///
/// Every writer makes an event file of its own and only ever appends to it; TensorBoard shows all
/// files of a folder as one run. A program that dies leaves the records up to the last flush, each
/// of them whole. Not for use from several threads at a time.
class TensorBoardWriter {
 public:
  /// Creates the folder, if it is missing, and the file.
  /// Throws SettingError unless flush_seconds is 0 or more.
  /// Throws FileError if the folder or the file cannot be written.
  explicit TensorBoardWriter(const std::filesystem::path& folder,
                             const TensorBoardOptions& options = {})
      : options_(checked(options)), file_(created(folder) / detail::event_file_name()) {
    record(event(0).bytes(file_version, "brain.Event:2"));
    if (options_.first_step) {
      record(event(*options_.first_step)
                 .bytes(session_log, detail::ProtobufMessage().integer(1, session_start)));
    }
    flush();
  }

  /// The event file.
  [[nodiscard]] const std::filesystem::path& path() const { return file_.path(); }

  /// A point of the curve `tag`; a '/' in it groups curves. The value is rounded to a float, and
  /// written as it is if it is infinite or NaN.
  /// \param step below 2^63
  /// Throws SettingError if the tag is empty or not UTF-8.
  /// Throws FileError if the disk is full.
  void scalar(std::string_view tag, double value, std::uint64_t step) {
    detail::ProtobufMessage entry = tagged(tag);
    summarise(entry.number(simple_value, static_cast<float>(value)), step);
  }

  /// A picture of the row `tag`, as a PNG file within the event file. TensorBoard keeps the last
  /// ones only, unless told otherwise (`--samples_per_plugin images=100`).
  /// Throws ShapeError if the picture's sizes do not fit together; else as scalar().
  void image(std::string_view tag, const Image& image, std::uint64_t step) {
    detail::ProtobufMessage entry = tagged(tag);
    const std::vector<std::byte> png = encode_png(image);
    detail::ProtobufMessage message;
    message.integer(1, image.height).integer(2, image.width).integer(3, image.channels);
    message.bytes(4, {reinterpret_cast<const char*>(png.data()), png.size()});
    summarise(entry.bytes(picture, message), step);
  }

  /// Hands all records to the system. Throws FileError if the disk is full.
  void flush() {
    file_.flush();
    flushed_ = std::chrono::steady_clock::now();
  }

 private:
  // Numbers of fields: of an Event, of a Summary, and of a Summary's Value.
  static constexpr unsigned wall_time = 1, event_step = 2, file_version = 3, summary = 5,
                            session_log = 7;
  static constexpr unsigned summary_value = 1;
  static constexpr unsigned value_tag = 1, simple_value = 2, picture = 4;
  static constexpr std::uint64_t session_start = 1;

  [[nodiscard]] static const TensorBoardOptions& checked(const TensorBoardOptions& options) {
    if (options.flush_seconds >= 0) return options;
    throw SettingError("TensorBoardOptions: flush_seconds is " +
                       std::to_string(options.flush_seconds) + ", expected 0 or more.");
  }

  [[nodiscard]] static const std::filesystem::path& created(const std::filesystem::path& folder) {
    std::error_code code;
    std::filesystem::create_directories(folder, code);
    if (code) detail::file_failure(folder, "cannot be created", code.value());
    return folder;
  }

  [[nodiscard]] static detail::ProtobufMessage event(std::uint64_t step) {
    detail::ProtobufMessage message;
    message.number(wall_time, detail::seconds_since_1970()).integer(event_step, step);
    return message;
  }

  [[nodiscard]] static detail::ProtobufMessage tagged(std::string_view tag) {
    if (tag.empty() || !detail::is_utf8(tag)) {
      throw SettingError("TensorBoardWriter: the tag " + detail::shown(tag) + " is " +
                         (tag.empty() ? "empty" : "not UTF-8") + ", where a name is expected.");
    }
    detail::ProtobufMessage message;
    message.bytes(value_tag, tag);
    return message;
  }

  void summarise(const detail::ProtobufMessage& entry, std::uint64_t step) {
    record(event(step).bytes(summary, detail::ProtobufMessage().bytes(summary_value, entry)));
    const std::chrono::duration<double> waited = std::chrono::steady_clock::now() - flushed_;
    if (waited.count() >= options_.flush_seconds) flush();
  }

  void record(const detail::ProtobufMessage& message) {
    file_.append(detail::event_record(message));
  }

  TensorBoardOptions options_;
  AppendFile file_;
  std::chrono::steady_clock::time_point flushed_;
};

}  // namespace meanflow
