// SPDX-License-Identifier: MIT
/// \file
/// A file system that is really full, where the system lets a test mount one.
#pragma once

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

namespace meanflow_test {

/// Mounts an empty file system of so many bytes, which this process alone sees, over a folder.
[[nodiscard]] inline bool mount_small_disk(const std::filesystem::path& folder, std::size_t bytes) {
  const std::string user = std::to_string(::geteuid()), group = std::to_string(::getegid());
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
  const auto put = [](const char* path, const std::string& text) {
    std::ofstream file(path);
    return static_cast<bool>(file << text << std::flush);
  };
  return put("/proc/self/setgroups", "deny") && put("/proc/self/uid_map", "0 " + user + " 1") &&
         put("/proc/self/gid_map", "0 " + group + " 1") &&
         ::mount("tmpfs", folder.c_str(), "tmpfs", 0, ("size=" + std::to_string(bytes)).c_str()) ==
             0;
}

/// What `function` returns, a string, when it runs in a process of its own in which the folder is a
/// file system of `bytes` bytes; nothing where that is forbidden.
template <class Function>
[[nodiscard]] std::optional<std::string> on_small_disk(const std::filesystem::path& folder,
                                                       std::size_t bytes, Function function) {
  int ends[2] = {};
  if (::pipe2(ends, O_CLOEXEC) != 0) return std::nullopt;
  const pid_t child = ::fork();
  if (child == 0) {
    if (!mount_small_disk(folder, bytes)) ::_exit(2);
    std::string report;
    try {
      report = function();
    } catch (const std::exception& error) {
      report = std::string("not expected: ") + error.what();
    }
    const bool told = ::write(ends[1], report.data(), report.size()) == ssize_t(report.size());
    ::_exit(told ? 0 : 1);
  }
  ::close(ends[1]);
  std::string report(1 << 16, '\0');
  std::size_t size = 0;
  for (ssize_t got = 1; got > 0; size += static_cast<std::size_t>(got)) {
    got = ::read(ends[0], report.data() + size, report.size() - size);
    if (got < 0) break;
  }
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 2) return std::nullopt;
  report.resize(size);
  return report;
}

}  // namespace meanflow_test
