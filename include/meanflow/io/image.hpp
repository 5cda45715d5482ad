// SPDX-License-Identifier: MIT
/// \file
/// Pictures of 8 bits per channel, PNG files through libpng, and grids of samples.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <png.h>

#include <meanflow/error.hpp>
#include <meanflow/io/file.hpp>

namespace meanflow {

/// A picture: grey (1 channel) or red, green and blue (3 channels).
struct Image {
  std::size_t height = 0, width = 0, channels = 3;
  std::vector<std::uint8_t> pixels;  // (height, width, channels)
};

namespace detail {

inline constexpr std::size_t longest_image_side = 1 << 16;

inline void check_image(const char* function, const Image& image) {
  const bool sides_fit = image.height > 0 && image.width > 0 &&
                         image.height <= longest_image_side && image.width <= longest_image_side;
  const bool channels_fit = image.channels == 1 || image.channels == 3;
  if (sides_fit && channels_fit &&
      image.pixels.size() == image.height * image.width * image.channels) {
    return;
  }
  throw ShapeError(std::string(function) + ": a picture of " + std::to_string(image.height) +
                   " x " + std::to_string(image.width) + " x " + std::to_string(image.channels) +
                   " with " + std::to_string(image.pixels.size()) +
                   " values, where sides of 1 to 65536, 1 or 3 channels and as many values as that "
                   "makes are expected.");
}

/// libpng's handle, released however the function that holds it ends.
struct PngHandle {
  png_image png{};

  PngHandle() { png.version = PNG_IMAGE_VERSION; }
  PngHandle(const PngHandle&) = delete;
  PngHandle& operator=(const PngHandle&) = delete;
  ~PngHandle() { png_image_free(&png); }
};

[[noreturn]] inline void png_failure(const std::filesystem::path& path, const char* what,
                                     const PngHandle& handle) {
  throw FileError(quoted(path) + " " + what + ": " + handle.png.message + ".");
}

}  // namespace detail

/// The picture as the bytes of a PNG file.
/// Throws ShapeError if the picture's sizes do not fit together.
[[nodiscard]] inline std::vector<std::byte> encode_png(const Image& image) {
  detail::check_image("encode_png", image);
  detail::PngHandle handle;
  handle.png.width = static_cast<png_uint_32>(image.width);
  handle.png.height = static_cast<png_uint_32>(image.height);
  handle.png.format = image.channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(handle.png);
  std::vector<std::byte> bytes(size);
  if (png_image_write_to_memory(&handle.png, bytes.data(), &size, 0, image.pixels.data(), 0,
                                nullptr) == 0) {
    throw Error(std::string("encode_png: the picture could not be encoded: ") + handle.png.message +
                ".");
  }
  bytes.resize(size);
  return bytes;
}

/// Writes a PNG file, whole or not at all.
/// Throws ShapeError if the picture's sizes do not fit together.
/// Throws FileError if the file cannot be written.
inline void save_png(const std::filesystem::path& path, const Image& image) {
  detail::check_image("save_png", image);
  const std::vector<std::byte> bytes = encode_png(image);
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

/// Reads a PNG file: a grey one as 1 channel, others as 3. Palettes are expanded, 16 bits reduced
/// to 8, and transparent parts laid on black. Throws FileError if the file is missing, damaged or
/// wider or higher than 65536.
[[nodiscard]] inline Image load_png(const std::filesystem::path& path) {
  const std::vector<std::byte> bytes = detail::whole_file(path);
  if (bytes.empty()) {
    throw FileError(detail::quoted(path) + " is not a usable PNG file: it is empty.");
  }
  detail::PngHandle handle;
  if (png_image_begin_read_from_memory(&handle.png, bytes.data(), bytes.size()) == 0) {
    detail::png_failure(path, "is not a usable PNG file", handle);
  }
  Image image{handle.png.height,
              handle.png.width,
              (handle.png.format & PNG_FORMAT_FLAG_COLOR) != 0 ? std::size_t(3) : std::size_t(1),
              {}};
  // Deflate packs at most 1032 to 1, and a pixel takes at least one bit: more cannot be in the
  // file.
  const std::size_t densest = 1032 * 8;
  if (std::max(image.height, image.width) > detail::longest_image_side ||
      image.height * image.width / densest > bytes.size()) {
    throw FileError(detail::quoted(path) + " is not a usable PNG file: it claims " +
                    std::to_string(image.height) + " x " + std::to_string(image.width) +
                    " pixels in " + std::to_string(bytes.size()) + " bytes.");
  }
  handle.png.format = image.channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  image.pixels.resize(image.height * image.width * image.channels);
  const png_color black{0, 0, 0};
  if (png_image_finish_read(&handle.png, &black, image.pixels.data(), 0, nullptr) == 0) {
    detail::png_failure(path, "is not a usable PNG file", handle);
  }
  return image;
}

/// The byte for a value of [-1, 1]; values outside are clamped, NaN becomes 0.
[[nodiscard]] inline std::uint8_t pixel_from_unit(float value) {
  if (!(value > -1.0F)) return 0;
  return static_cast<std::uint8_t>(std::lround((std::min(value, 1.0F) + 1.0F) * 127.5F));
}

struct ImageGridOptions {
  std::size_t columns = 0;      ///< 0: as square as possible
  std::size_t padding = 2;      ///< pixels around and between the images
  std::uint8_t background = 0;  ///< of the padding and of empty cells
};

/// Places N images with values in [-1, 1] in a grid, row by row.
/// \param images (N, height, width, channels) with channels 1 or 3; N is found from the size.
/// Throws ShapeError if the values are not a whole number, at least one, of such images.
[[nodiscard]] inline Image image_grid(std::span<const float> images, std::size_t height,
                                      std::size_t width, std::size_t channels,
                                      const ImageGridOptions& options = {}) {
  const std::size_t size = height * width * channels;
  if (size == 0 || (channels != 1 && channels != 3) || images.empty() ||
      images.size() % size != 0) {
    throw ShapeError("image_grid: " + std::to_string(images.size()) +
                     " values are not one or more images of " + std::to_string(height) + " x " +
                     std::to_string(width) + " x " + std::to_string(channels) +
                     " with 1 or 3 channels.");
  }
  const std::size_t count = images.size() / size;
  const std::size_t square = static_cast<std::size_t>(std::ceil(std::sqrt(double(count))));
  const std::size_t columns = std::min(options.columns > 0 ? options.columns : square, count);
  const std::size_t rows = (count + columns - 1) / columns;
  Image grid{options.padding + rows * (height + options.padding),
             options.padding + columns * (width + options.padding),
             channels,
             {}};
  grid.pixels.assign(grid.height * grid.width * channels, options.background);
  for (std::size_t line = 0; line < count * height; ++line) {
    const std::size_t image = line / height, y = line % height;
    const std::size_t top = options.padding + image / columns * (height + options.padding);
    const std::size_t left = options.padding + image % columns * (width + options.padding);
    std::ranges::transform(images.subspan(line * width * channels, width * channels),
                           &grid.pixels[((top + y) * grid.width + left) * channels],
                           pixel_from_unit);
  }
  return grid;
}

}  // namespace meanflow
