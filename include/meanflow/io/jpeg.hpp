// SPDX-License-Identifier: MIT
/// \file
/// JPEG files through libjpeg.
#pragma once

#include <array>
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstdio>  // jpeglib.h takes FILE and size_t from it
#include <filesystem>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <jpeglib.h>

#include <meanflow/error.hpp>
#include <meanflow/io/file.hpp>
#include <meanflow/io/image.hpp>

namespace meanflow {

namespace detail {

/// libjpeg's decoder over bytes in memory, released however the function that holds it ends. What
/// libjpeg takes for a mere warning, such as data that end early, is an error here. After a step
/// that returns false, `reason()` says why, and no further step may follow.
class JpegDecoder {
 public:
  /// The bytes must outlive the decoder.
  explicit JpegDecoder(std::span<const std::byte> bytes) : bytes_(bytes) {
    decoder_.err = ::jpeg_std_error(&errors_);
    decoder_.client_data = this;
    errors_.error_exit = leave;
    errors_.emit_message = [](j_common_ptr info, int level) {
      if (level < 0) leave(info);  // a warning; others are informational
    };
    progress_.progress_monitor = count_scans;
  }

  JpegDecoder(const JpegDecoder&) = delete;
  JpegDecoder& operator=(const JpegDecoder&) = delete;
  ~JpegDecoder() { ::jpeg_destroy_decompress(&decoder_); }

  [[nodiscard]] bool read_header() {
    return run([this] {
      jpeg_create_decompress(&decoder_);
      decoder_.progress = &progress_;
      ::jpeg_mem_src(&decoder_, reinterpret_cast<const unsigned char*>(bytes_.data()),
                     static_cast<unsigned long>(bytes_.size()));
      static_cast<void>(::jpeg_read_header(&decoder_, TRUE));
    });
  }

  /// What the file says of itself, once the header has been read.
  [[nodiscard]] const jpeg_decompress_struct& header() const { return decoder_; }

  /// Fills pixels (height, width, channels) with grey values for 1 channel, with red, green and
  /// blue for 3, and reads on to the marker that ends the file.
  [[nodiscard]] bool read_pixels(std::span<std::uint8_t> pixels, std::size_t channels) {
    return run([this, pixels, channels] {
      decoder_.out_color_space = channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
      static_cast<void>(::jpeg_start_decompress(&decoder_));
      while (decoder_.output_scanline < decoder_.output_height) {
        JSAMPROW row = pixels.data() + channels * decoder_.output_width * decoder_.output_scanline;
        static_cast<void>(::jpeg_read_scanlines(&decoder_, &row, 1));
      }
      static_cast<void>(::jpeg_finish_decompress(&decoder_));
    });
  }

  [[nodiscard]] std::string reason() const { return message_.data(); }

 private:
  // libjpeg's functions do not return from an error: `leave` jumps back into `run`, past whatever
  // lies between. So nothing that has a destructor may live in a step.
  template <class Step>
  [[nodiscard]] bool run(Step step) {
    static_assert(std::is_trivially_destructible_v<Step>);
    if (setjmp(back_) != 0) return false;
    step();
    return true;
  }

  [[noreturn]] static void leave(j_common_ptr info) {
    JpegDecoder& self = *static_cast<JpegDecoder*>(info->client_data);
    self.errors_.format_message(info, self.message_.data());
    std::longjmp(self.back_, 1);
  }

  // Every scan of a file, however few its bytes, passes over the whole picture.
  static void count_scans(j_common_ptr info) {
    JpegDecoder& self = *static_cast<JpegDecoder*>(info->client_data);
    const int most_scans = 100;
    if (self.decoder_.input_scan_number <= most_scans) return;
    std::snprintf(self.message_.data(), self.message_.size(), "it has more than %d scans",
                  most_scans);
    std::longjmp(self.back_, 1);
  }

  std::span<const std::byte> bytes_;
  jpeg_decompress_struct decoder_{};
  jpeg_error_mgr errors_{};
  jpeg_progress_mgr progress_{};
  std::jmp_buf back_{};
  std::array<char, JMSG_LENGTH_MAX> message_{};
};

}  // namespace detail

/// Reads a JPEG file, sequential or progressive: a grey one as 1 channel, others as 3. The pixels
/// are those in the file: an orientation noted beside them (EXIF) is not applied.
/// Throws FileError if the file is missing, damaged, truncated, or of a rare kind:
///   four colours (CMYK), 12 bits, lossless, arithmetic coding, or more than 100 scans.
[[nodiscard]] inline Image load_jpeg(const std::filesystem::path& path) {
  const std::vector<std::byte> bytes = detail::whole_file(path);
  const auto refuse = [&](const std::string& what) {
    throw FileError(detail::quoted(path) + " is not a usable JPEG file: " + what + ".");
  };
  if (bytes.empty()) refuse("it is empty");
  detail::JpegDecoder decoder(bytes);
  if (!decoder.read_header()) refuse(decoder.reason());
  const jpeg_decompress_struct& header = decoder.header();
  const bool grey = header.jpeg_color_space == JCS_GRAYSCALE;
  if (!grey && header.jpeg_color_space != JCS_YCbCr && header.jpeg_color_space != JCS_RGB) {
    refuse("it has " + std::to_string(header.num_components) +
           " channels, where grey, or red, green and blue, is expected");
  }
  if (header.arith_code != FALSE) refuse("it uses arithmetic coding, which is not supported");
  Image image{header.image_height, header.image_width, grey ? std::size_t(1) : std::size_t(3), {}};
  // A block of 8 x 8 values takes at least one bit, and 32 x 32 pixels at least 8 blocks, since a
  // channel may have a quarter of the picture's width or height, but not all of them of both: more
  // cannot be in the file.
  const std::size_t densest = 1024;
  if (image.height * image.width / densest > bytes.size()) {
    refuse("it claims " + std::to_string(image.height) + " x " + std::to_string(image.width) +
           " pixels in " + std::to_string(bytes.size()) + " bytes");
  }
  image.pixels.resize(image.height * image.width * image.channels);
  if (!decoder.read_pixels(image.pixels, image.channels)) refuse(decoder.reason());
  return image;
}

}  // namespace meanflow
