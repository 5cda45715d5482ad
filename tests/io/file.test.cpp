// SPDX-License-Identifier: MIT
#include <array>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <skip.hpp>
#include <sys/stat.h>

#include <meanflow/io/file.hpp>

#include "io/file_size_limit.hpp"
#include "io/small_disk.hpp"
#include "io/temporary_folder.hpp"

using namespace meanflow;
using namespace meanflow_test;

TEST_CASE("A file appears under its name only when it is committed") {
  const TemporaryFolder folder;
  const auto path = folder / "log.txt";
  write_bytes(path, "old");
  {
    // [docs:atomic]
    AtomicFile file(path);
    file.write("all of it, ");
    file.write("or nothing");
    file.commit();  // without this line the old file stays
    // [docs:end]
    CHECK_THROWS_AS(file.write("more"), FileError);
    CHECK_THROWS_AS(file.commit(), FileError);
  }
  CHECK(read_bytes(path) == "all of it, or nothing");
  {
    AtomicFile file(path);
    file.write("half");
    CHECK(read_bytes(path) == "all of it, or nothing");
    CHECK(folder.count() == 2);
  }
  CHECK(read_bytes(path) == "all of it, or nothing");
  CHECK(folder.count() == 1);
}

TEST_CASE("Two writers of one name do not disturb each other") {
  const TemporaryFolder folder;
  AtomicFile first(folder / "a"), second(folder / "a");
  first.write("first");
  second.write("second");
  second.commit();
  first.commit();
  CHECK(read_bytes(folder / "a") == "first");
  CHECK(folder.count() == 1);
}

TEST_CASE("New files have the usual permissions") {
  const TemporaryFolder folder;
  AtomicFile file(folder / "a");
  file.commit();
  write_bytes(folder / "b", "");
  CHECK(std::filesystem::status(folder / "a").permissions() ==
        std::filesystem::status(folder / "b").permissions());
}

TEST_CASE("A full disk is reported in one sentence, and nothing is left behind") {
  const TemporaryFolder folder;
  const auto path = folder / "big";
  write_bytes(path, "old");
  std::string message;
  {
    const FileSizeLimit limit(10'000);
    const std::string data(20'000, 'x');
    message = message_of<FileError>([&] {
      AtomicFile file(path);
      file.write(data);
      file.commit();
    });
  }
  CHECK(contains(message, path.string()));
  CHECK(contains(message, "could not be written"));
  CHECK(read_bytes(path) == "old");
  CHECK(folder.count() == 1);
}

TEST_CASE("A disk that is really full leaves the old file and nothing else") {
  const TemporaryFolder folder;
  const auto path = folder / "big";
  const auto report = on_small_disk(folder.path(), 64 << 10, [&] {
    write_bytes(path, "old");
    const std::string message = message_of<FileError>([&] {
      AtomicFile file(path);
      file.write(std::string(256 << 10, 'x'));
      file.commit();
    });
    return message + "|" + read_bytes(path) + "|" + std::to_string(folder.count());
  });
  if (!report) {
    meanflow_test::skip("this system lets nobody mount a file system");
    return;
  }
  CHECK(*report == "'" + path.string() + "' could not be written: No space left on device.|old|1");
}

TEST_CASE("A disk that is really full takes whole records, and more when there is room again") {
  const TemporaryFolder folder;
  const auto report = on_small_disk(folder.path(), 64 << 10, [&] {
    const std::string record(24 << 10, 'x');
    AppendFile file(folder / "a");
    file.append(record);
    file.flush();
    write_bytes(folder / "other", record);
    file.append(record);
    const std::string message = message_of<FileError>([&] { file.flush(); });
    const bool whole = read_bytes(folder / "a") == record;
    std::filesystem::remove(folder / "other");
    file.flush();
    const bool all = read_bytes(folder / "a") == record + record;
    return message + (whole ? "|whole" : "|in part") + (all ? "|all" : "|not all");
  });
  if (!report) {
    meanflow_test::skip("this system lets nobody mount a file system");
    return;
  }
  CHECK(*report == "'" + (folder / "a").string() +
                       "' could not be written: No space left on device.|whole|all");
}

TEST_CASE("Places that cannot be written") {
  const TemporaryFolder folder;
  CHECK(contains(message_of<FileError>([&] { AtomicFile file(folder / "missing" / "a"); }),
                 "No such file or directory"));
  CHECK(contains(message_of<FileError>([&] { AtomicFile file(folder / ""); }), "it is a folder"));
  CHECK(folder.count() == 0);
}

TEST_CASE("A file grows by what is flushed") {
  const TemporaryFolder folder;
  write_bytes(folder / "a", "old ");
  {
    AppendFile file(folder / "a");
    file.append("one ");
    file.append("two ");
    CHECK(file.waiting() == 8);
    CHECK(read_bytes(folder / "a") == "old ");
    file.flush();
    CHECK(file.waiting() == 0);
    CHECK(read_bytes(folder / "a") == "old one two ");
    file.append("three");
  }
  CHECK(read_bytes(folder / "a") == "old one two three");
}

TEST_CASE("A full disk leaves whole records, and the others keep waiting") {
  const TemporaryFolder folder;
  write_bytes(folder / "a", "old ");
  AppendFile file(folder / "a");
  const std::string record(3'000, 'x');
  std::string message;
  {
    const FileSizeLimit limit(5'000);
    file.append(record);
    file.flush();
    file.append(record);
    message = message_of<FileError>([&] { file.flush(); });
  }
  CHECK(contains(message, (folder / "a").string()));
  CHECK(contains(message, "could not be written"));
  CHECK(read_bytes(folder / "a") == "old " + record);
  file.flush();
  CHECK(read_bytes(folder / "a") == "old " + record + record);
  {
    const FileSizeLimit limit(8'000);
    AppendFile second(folder / "a");
    second.append(record);
  }
  CHECK(read_bytes(folder / "a") == "old " + record + record);
}

TEST_CASE("Places that cannot grow") {
  const TemporaryFolder folder;
  CHECK(contains(message_of<FileError>([&] { AppendFile file(folder / "missing" / "a"); }),
                 "No such file or directory"));
  CHECK(
      contains(message_of<FileError>([&] { AppendFile file(folder / ""); }), "cannot be written"));
  CHECK(
      contains(message_of<FileError>([&] { AppendFile file("/dev/null"); }), "not a regular file"));
}

TEST_CASE("Reading at an offset") {
  const TemporaryFolder folder;
  write_bytes(folder / "a", "0123456789");
  const FileReader file(folder / "a");
  CHECK(file.size() == 10);
  std::array<std::byte, 3> bytes{};
  file.read_at(7, bytes);
  CHECK(bytes[2] == std::byte('9'));
  file.read_at(10, {});
  CHECK_THROWS_AS(file.read_at(8, bytes), FileError);
  CHECK_THROWS_AS(file.read_at(UINT64_MAX, bytes), FileError);

  SUBCASE("a file renamed over it does not change what is read") {
    write_bytes(folder / "b", "abcdefghij");
    std::filesystem::rename(folder / "b", folder / "a");
    file.read_at(7, bytes);
    CHECK(bytes[2] == std::byte('9'));
  }
  SUBCASE("a file that shrinks is noticed") {
    std::filesystem::resize_file(folder / "a", 5);
    CHECK(contains(message_of<FileError>([&] { file.read_at(3, bytes); }), "truncated"));
  }
}

TEST_CASE("Files that cannot be read") {
  const TemporaryFolder folder;
  const std::string missing = message_of<FileError>([&] { FileReader file(folder / "missing"); });
  CHECK(contains(missing, (folder / "missing").string()));
  CHECK(contains(missing, "No such file or directory"));
  CHECK(
      contains(message_of<FileError>([&] { FileReader file(folder / ""); }), "not a regular file"));
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);  // nobody will ever write to it
  CHECK(contains(message_of<FileError>([&] { FileReader file(folder / "pipe"); }),
                 "not a regular file"));
}

TEST_CASE("Text from a file is made fit for a message") {
  CHECK(detail::shown("a\nb") == "'a?b'");
  CHECK(detail::shown(std::string(1000, 'x')).size() == 85);
}
