// SPDX-License-Identifier: MIT
/// \file
/// A folder of PNG and JPEG files as a set of pictures, its sub-folders as classes.
#pragma once

#include <algorithm>
#include <array>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <meanflow/data/image_set.hpp>
#include <meanflow/error.hpp>
#include <meanflow/io/file.hpp>
#include <meanflow/io/image.hpp>
#include <meanflow/io/jpeg.hpp>

namespace meanflow {

namespace detail {

/// What follows the last dot of a name, with the dot, in lower case.
inline std::string lower_extension(const std::filesystem::path& path) {
  std::string ending = path.extension().string();
  std::ranges::transform(ending, ending.begin(), [](unsigned char c) { return std::tolower(c); });
  return ending;
}

using PictureLoader = Image (*)(const std::filesystem::path&);

/// The reader for a file of such a name; null if its format is not supported.
inline PictureLoader picture_loader(const std::filesystem::path& path) {
  const std::string ending = lower_extension(path);
  if (ending == ".png") return load_png;
  return ending == ".jpg" || ending == ".jpeg" ? load_jpeg : nullptr;
}

/// What a folder holds, sorted by name; names that start with a dot are skipped.
struct FolderContent {
  std::vector<std::filesystem::path> folders, pictures;
};

inline FolderContent folder_content(const std::filesystem::path& folder) {
  constexpr std::array<std::string_view, 8> unread{".bmp",  ".gif", ".tif",  ".tiff",
                                                   ".webp", ".ppm", ".avif", ".heic"};
  FolderContent content;
  std::error_code failure;
  std::filesystem::directory_iterator entry(folder, failure);
  for (; !failure && entry != std::filesystem::directory_iterator(); entry.increment(failure)) {
    const std::filesystem::path& path = entry->path();
    if (path.filename().string().starts_with('.')) continue;
    std::error_code unknown;  // then reading it says why
    if (entry->is_directory(unknown)) {
      content.folders.push_back(path);
      continue;
    }
    if (picture_loader(path) != nullptr) content.pictures.push_back(path);
    if (std::ranges::find(unread, lower_extension(path)) != unread.end()) {
      throw FileError(quoted(path) +
                      " is a picture, but neither PNG nor JPEG, the only formats that are "
                      "read from a folder.");
    }
  }
  if (failure) file_failure(folder, "cannot be read as a folder", failure.value());
  std::ranges::sort(content.folders);
  std::ranges::sort(content.pictures);
  return content;
}

/// Repeats each grey value for red, green and blue.
inline std::vector<std::uint8_t> grey_to_rgb(const std::vector<std::uint8_t>& grey) {
  std::vector<std::uint8_t> rgb;
  rgb.reserve(3 * grey.size());
  for (const std::uint8_t value : grey) rgb.insert(rgb.end(), 3, value);
  return rgb;
}

/// Appends a picture. One colour picture makes the whole set a colour one.
inline void append_picture(const std::filesystem::path& path, ImageSet& set) {
  Image image = picture_loader(path)(path);
  if (set.count == 0) {
    set.height = image.height;
    set.width = image.width;
    set.channels = image.channels;
  }
  if (image.height != set.height || image.width != set.width) {
    throw FileError(quoted(path) + " has " + std::to_string(image.height) + " x " +
                    std::to_string(image.width) + " pixels, where " + std::to_string(set.height) +
                    " x " + std::to_string(set.width) + " are expected, as in the first picture.");
  }
  if (image.channels > set.channels) {
    set.pixels = grey_to_rgb(set.pixels);
    set.channels = image.channels;
  } else if (image.channels < set.channels) {
    image.pixels = grey_to_rgb(image.pixels);
  }
  set.pixels.insert(set.pixels.end(), image.pixels.begin(), image.pixels.end());
  ++set.count;
}

inline void append_pictures(const std::filesystem::path& folder,
                            const std::vector<std::filesystem::path>& pictures, ImageSet& set) {
  if (pictures.empty()) throw FileError(quoted(folder) + " holds no PNG or JPEG files.");
  for (const std::filesystem::path& path : pictures) append_picture(path, set);
}

}  // namespace detail

/// The names of a folder's sub-folders, sorted: name k is that of label k in `load_image_folder`.
/// Throws FileError if the folder is missing or cannot be read.
[[nodiscard]] inline std::vector<std::string> image_folder_classes(
    const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const std::filesystem::path& path : detail::folder_content(folder).folders) {
    names.push_back(path.filename().string());
  }
  return names;
}

/// Reads all PNG and JPEG files of a folder (.png, .jpg, .jpeg, in upper or lower case), sorted by
/// name. If it has sub-folders, they are the classes, sorted by name, and the pictures are theirs;
/// without, the set has no labels. Grey pictures stay 1 channel if all are grey, else become 3.
/// Names that start with a dot and files that are not pictures are skipped.
/// \return pictures (N, H, W, 1 or 3)
/// Throws FileError if a folder is missing or holds no such file, a file is unusable (`load_png`,
///   `load_jpeg`), pictures are of different sizes or of another kind (TIFF, for example), pictures
///   lie beside sub-folders, or a class has sub-folders of its own.
[[nodiscard]] inline ImageSet load_image_folder(const std::filesystem::path& folder) {
  const detail::FolderContent content = detail::folder_content(folder);
  ImageSet set;
  if (content.folders.empty()) {
    detail::append_pictures(folder, content.pictures, set);
    return set;
  }
  if (!content.pictures.empty()) {
    throw FileError(detail::quoted(content.pictures.front()) +
                    " lies beside sub-folders, where every picture is expected in that of its "
                    "class.");
  }
  for (const std::filesystem::path& path : content.folders) {
    const detail::FolderContent own = detail::folder_content(path);
    if (!own.folders.empty()) {
      throw FileError(detail::quoted(own.folders.front()) +
                      " is a folder within that of a class, where only pictures are expected.");
    }
    detail::append_pictures(path, own.pictures, set);
    set.labels.resize(set.count, static_cast<std::int32_t>(set.classes++));
  }
  return set;
}

}  // namespace meanflow
