// SPDX-License-Identifier: MIT
/// \file
/// Files read at any offset, files written whole or not at all, and files that grow (POSIX).
#pragma once

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <meanflow/error.hpp>

namespace meanflow {

namespace detail {

[[nodiscard]] inline std::string quoted(const std::filesystem::path& path) {
  return std::string("'").append(path.string()).append("'");
}

/// Text found in a file, fit for a message: quoted, shortened, and without control characters.
[[nodiscard]] inline std::string shown(std::string_view text) {
  const std::size_t longest = 80;
  std::string safe = "'";
  for (const char c : text.substr(0, longest)) {
    safe += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  }
  return safe + (text.size() > longest ? "...'" : "'");
}

[[nodiscard]] inline std::string system_reason(int code) {
  return std::generic_category().message(code);
}

[[noreturn]] inline void file_failure(const std::filesystem::path& path, const std::string& what,
                                      int code) {
  throw FileError(quoted(path) + " " + what + ": " + system_reason(code) + ".");
}

inline constexpr std::size_t largest_transfer = std::size_t(1) << 30;

/// Writes all of the bytes; the system's error code, or 0.
[[nodiscard]] inline int write_all(int descriptor, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const std::size_t part = std::min(bytes.size(), largest_transfer);
    const ssize_t put = ::write(descriptor, bytes.data(), part);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return errno;
    bytes = bytes.subspan(static_cast<std::size_t>(put));
  }
  return 0;
}

}  // namespace detail

/// A file open for reading at any offset. Copies share the open file, which stays the same one even
/// when another is renamed over it; reading is const and safe from several threads.
class FileReader {
 public:
  /// Throws FileError if the file cannot be opened or is not a regular file.
  explicit FileReader(std::filesystem::path path) : path_(std::move(path)) {
    // O_NONBLOCK: a pipe that nobody writes to is refused, not waited for.
    const int descriptor = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) detail::file_failure(path_, "cannot be opened for reading", errno);
    descriptor_ = std::shared_ptr<const int>(new int(descriptor), [](const int* open) {
      ::close(*open);
      delete open;
    });
    struct ::stat status {};
    if (::fstat(descriptor, &status) != 0) detail::file_failure(path_, "cannot be read", errno);
    if (!S_ISREG(status.st_mode)) {
      throw FileError(detail::quoted(path_) + " is not a regular file.");
    }
    size_ = static_cast<std::uint64_t>(status.st_size);
  }

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

  /// Size in bytes when the file was opened.
  [[nodiscard]] std::uint64_t size() const { return size_; }

  /// Fills `bytes` starting at `offset`.
  /// Throws FileError if the file ends before that, or on a read error.
  void read_at(std::uint64_t offset, std::span<std::byte> bytes) const {
    if (offset > size_ || bytes.size() > size_ - offset) throw_truncated(offset, bytes.size());
    const std::size_t wanted = bytes.size();
    std::size_t done = 0;
    while (done < wanted) {
      const std::size_t part = std::min(wanted - done, detail::largest_transfer);
      const ssize_t got =
          ::pread(*descriptor_, bytes.data() + done, part, static_cast<off_t>(offset + done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) detail::file_failure(path_, "cannot be read", errno);
      if (got == 0) throw_truncated(offset, wanted);
      done += static_cast<std::size_t>(got);
    }
  }

 private:
  [[noreturn]] void throw_truncated(std::uint64_t offset, std::size_t count) const {
    throw FileError(detail::quoted(path_) + " is truncated: expected " + std::to_string(count) +
                    " bytes from byte " + std::to_string(offset) + " on, but the file had " +
                    std::to_string(size_) + " bytes when it was opened.");
  }

  std::filesystem::path path_;
  std::shared_ptr<const int> descriptor_;
  std::uint64_t size_ = 0;
};

namespace detail {

/// All bytes of a file. Throws FileError if it is missing, cannot be read or is not a regular
/// one.
[[nodiscard]] inline std::vector<std::byte> whole_file(const std::filesystem::path& path) {
  const FileReader file(path);
  std::vector<std::byte> bytes(static_cast<std::size_t>(file.size()));
  file.read_at(0, bytes);
  return bytes;
}

}  // namespace detail

/// A file that appears whole or not at all: written under a temporary name in the same folder, then
/// flushed to the disk and renamed by commit(). Without commit(), or when anything fails, the
/// temporary is removed and an older file of that name stays as it was.
class AtomicFile {
 public:
  /// Throws FileError if the folder is missing or cannot be written.
  explicit AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
    static std::atomic<unsigned> count{0};
    std::error_code unknown;  // then opening it says why
    if (std::filesystem::is_directory(path_, unknown)) {
      throw FileError(detail::quoted(path_) + " cannot be written: it is a folder.");
    }
    const int attempts = 100;  // a name may be taken by what a killed process left behind
    for (int i = 0; i < attempts && descriptor_ < 0; ++i) {
      temporary_ = path_;
      temporary_ += ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(count++);
      descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (descriptor_ < 0 && errno != EEXIST) break;
    }
    if (descriptor_ < 0) detail::file_failure(path_, "cannot be written", errno);
  }

  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile() { discard(); }

  /// Appends bytes. Throws FileError when the disk is full or the file is already finished.
  void write(std::span<const std::byte> bytes) {
    if (descriptor_ < 0) throw FileError(detail::quoted(path_) + " has already been finished.");
    if (const int code = detail::write_all(descriptor_, bytes)) fail(code);
  }

  void write(const std::string& text) { write(std::as_bytes(std::span(text))); }

  /// Flushes the data to the disk and gives the file its name.
  void commit() {
    if (descriptor_ < 0) throw FileError(detail::quoted(path_) + " has already been finished.");
    if (::fsync(descriptor_) != 0) fail(errno);
    if (::close(std::exchange(descriptor_, -1)) != 0) fail(errno);
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail(errno);
    temporary_.clear();
    sync_folder();
  }

 private:
  [[noreturn]] void fail(int code) {
    discard();
    detail::file_failure(path_, "could not be written", code);
  }

  void discard() noexcept {
    if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
    temporary_.clear();
  }

  // The name itself is on the disk only when the folder is. Some file systems refuse to sync a
  // folder; the data are safe by then, so that is not an error.
  void sync_folder() const {
    const std::filesystem::path folder = path_.has_parent_path() ? path_.parent_path() : ".";
    const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) return;
    static_cast<void>(::fsync(descriptor));
    ::close(descriptor);
  }

  std::filesystem::path path_, temporary_;
  int descriptor_ = -1;
};

/// A file that grows at its end, record by record. What is appended waits in memory for flush(),
/// which hands it to the system: it then outlives this program, though not a power cut. A flush
/// that fails takes back what it wrote, so the file never ends within a record. One writer at a
/// time, from one thread.
class AppendFile {
 public:
  /// Opens the file, or creates an empty one.
  /// Throws FileError if it cannot be written or is not a regular file.
  explicit AppendFile(std::filesystem::path path) : path_(std::move(path)) {
    descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (descriptor_ < 0) detail::file_failure(path_, "cannot be written", errno);
    struct ::stat status {};
    const bool known = ::fstat(descriptor_, &status) == 0;
    if (!known || !S_ISREG(status.st_mode)) {
      ::close(descriptor_);
      throw FileError(detail::quoted(path_) + " is not a regular file.");
    }
    size_ = status.st_size;
  }

  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  /// Flushes what is left. A failure is ignored here: call flush() first to see it.
  ~AppendFile() {
    if (try_flush() != 0) take_back();
    ::close(descriptor_);
  }

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

  /// Adds a record to those that wait.
  void append(std::string_view record) { waiting_ += record; }

  /// Bytes that wait for flush().
  [[nodiscard]] std::size_t waiting() const { return waiting_.size(); }

  /// Writes what waits. Throws FileError when the disk is full; the records then keep waiting.
  void flush() {
    const int code = try_flush();
    if (code == 0) return;
    const bool whole = take_back();
    detail::file_failure(path_, whole ? "could not be written" : "was written in part", code);
  }

 private:
  [[nodiscard]] int try_flush() {
    const int code = detail::write_all(descriptor_, std::as_bytes(std::span(waiting_)));
    if (code != 0) return code;
    size_ += static_cast<off_t>(waiting_.size());
    waiting_.clear();
    return 0;
  }

  bool take_back() { return ::ftruncate(descriptor_, size_) == 0; }

  std::filesystem::path path_;
  int descriptor_ = -1;
  off_t size_ = 0;  // of what was flushed
  std::string waiting_;
};

}  // namespace meanflow
