// SPDX-License-Identifier: MIT
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/io/tensorboard.hpp>

#include "io/file_size_limit.hpp"
#include "io/temporary_folder.hpp"

using namespace meanflow;
using namespace meanflow_test;

namespace {

/// Reads numbers and text from the front of some bytes; throws when they end too early.
struct Bytes {
  std::string left;

  std::string take(std::size_t count) {
    if (count > left.size()) throw std::runtime_error("truncated");
    const std::string front = left.substr(0, count);
    left.erase(0, count);
    return front;
  }
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
      const auto byte = number<std::uint8_t>();
      value |= std::uint64_t(byte & 0x7fU) << shift;
      if (byte < 0x80) return value;
    }
  }
};

struct Field {
  std::uint64_t value = 0;
  std::string bytes;
};

/// The fields of a message by their numbers, which is all this test needs: none appears twice.
std::vector<Field> fields_of(const std::string& message) {
  std::vector<Field> fields(16);
  for (Bytes bytes{message}; !bytes.left.empty();) {
    const std::uint64_t key = bytes.varint();
    Field& field = fields.at(key >> 3);
    if (key % 8 == 0) field.value = bytes.varint();
    if (key % 8 == 1) field.value = bytes.number<std::uint64_t>();
    if (key % 8 == 2) field.bytes = bytes.take(bytes.varint());
    if (key % 8 == 5) field.value = bytes.number<std::uint32_t>();
  }
  return fields;
}

/// Bit by bit, without a table.
std::uint32_t slow_crc32c(const std::string& bytes) {
  std::uint32_t remainder = 0xffffffffU;
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    const std::uint32_t next = static_cast<unsigned char>(bytes[bit / 8]) >> bit % 8 & 1U;
    remainder = ((remainder ^ next) & 1U) != 0 ? remainder >> 1 ^ 0x82f63b78U : remainder >> 1;
  }
  return ~remainder;
}

void check_checksum(const std::string& bytes, std::uint32_t found) {
  const std::uint32_t crc = slow_crc32c(bytes);
  CHECK(found == static_cast<std::uint32_t>((crc >> 15 | crc << 17) + 0xa282ead8U));
}

struct Event {
  double wall_time = 0;
  std::uint64_t step = 0;
  std::string version, session, tag;
  float value = 0;
  std::vector<Field> picture;
};

Event event_of(const std::string& data) {
  const std::vector<Field> fields = fields_of(data);
  const std::vector<Field> value = fields_of(fields_of(fields[5].bytes)[1].bytes);
  return {std::bit_cast<double>(fields[1].value),
          fields[2].value,
          fields[3].bytes,
          fields[7].bytes,
          value[1].bytes,
          std::bit_cast<float>(static_cast<std::uint32_t>(value[2].value)),
          fields_of(value[4].bytes)};
}

/// The events of a file, which must be whole records with right checksums.
std::vector<Event> events_of(const std::filesystem::path& path) {
  std::vector<Event> events;
  for (Bytes file{read_bytes(path)}; !file.left.empty();) {
    const std::string length = file.take(8);
    check_checksum(length, file.number<std::uint32_t>());
    const std::string data = file.take(Bytes{length}.number<std::uint64_t>());
    check_checksum(data, file.number<std::uint32_t>());
    events.push_back(event_of(data));
  }
  return events;
}

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

TEST_CASE("The checksum is CRC-32C") {
  static_assert(detail::crc32c("123456789") == 0xe3069283U);
  CHECK(detail::crc32c("") == 0);
  CHECK(detail::crc32c(std::string(32, '\0')) == 0x8a9136aaU);  // RFC 3720, appendix B.4
  CHECK(detail::crc32c(std::string(32, '\xff')) == 0x62a8ab43U);
  CHECK(slow_crc32c("123456789") == 0xe3069283U);
}

TEST_CASE("Scalars and pictures come back from the file") {
  const TemporaryFolder temporary;
  const auto folder = temporary / "runs/first";
  Image grid{2, 3, 3, {}};
  for (int i = 0; i < 18; ++i) grid.pixels.push_back(static_cast<std::uint8_t>(i * 14));
  const double begin = now();
  // [docs:tensorboard]
  TensorBoardWriter writer(folder);
  writer.scalar("loss/train", 0.25, 100);
  writer.image("samples", grid, 100);
  writer.flush();
  // [docs:end]
  const std::vector<Event> events = events_of(writer.path());
  REQUIRE(events.size() == 3);
  for (const Event& event : events) {
    CHECK(event.wall_time >= begin);
    CHECK(event.wall_time <= now());
  }
  CHECK(events[0].version == "brain.Event:2");
  CHECK(events[0].step == 0);
  CHECK(events[1].version.empty());
  CHECK(events[1].tag == "loss/train");
  CHECK(events[1].value == 0.25F);
  CHECK(events[1].step == 100);
  CHECK(events[2].tag == "samples");
  CHECK(events[2].step == 100);
  CHECK(events[2].picture[1].value == 2);
  CHECK(events[2].picture[2].value == 3);
  CHECK(events[2].picture[3].value == 3);
  write_bytes(temporary / "x.png", events[2].picture[4].bytes);
  CHECK(load_png(temporary / "x.png").pixels == grid.pixels);
}

TEST_CASE("Grey pictures say that they are grey") {
  const TemporaryFolder folder;
  TensorBoardWriter writer(folder.path(), {.flush_seconds = 0});
  writer.image("grey", {1, 2, 1, {7, 200}}, 3);
  const std::vector<Event> events = events_of(writer.path());
  REQUIRE(events.size() == 2);
  CHECK(events[1].picture[3].value == 1);
  CHECK_THROWS_AS(writer.image("grey", {1, 2, 2, {1, 2, 3, 4}}, 3), ShapeError);
  CHECK(events_of(writer.path()).size() == 2);
}

TEST_CASE("Any value and any step") {
  const TemporaryFolder folder;
  const double infinity = std::numeric_limits<double>::infinity();
  const std::vector<double> values{0, -1e-3, 1e300, infinity, -infinity, std::nan("")};
  const std::vector<std::uint64_t> steps{0, 127, 128, 300, 1ULL << 32, (1ULL << 63) - 1};
  TensorBoardWriter writer(folder.path());
  for (std::size_t i = 0; i < values.size(); ++i) writer.scalar("x", values[i], steps[i]);
  writer.flush();
  const std::vector<Event> events = events_of(writer.path());
  REQUIRE(events.size() == values.size() + 1);
  for (std::size_t i = 0; i < values.size(); ++i) {
    CHECK(events[i + 1].step == steps[i]);
    CHECK(std::isnan(events[i + 1].value) == std::isnan(values[i]));
    if (!std::isnan(values[i])) CHECK(events[i + 1].value == static_cast<float>(values[i]));
  }
}

TEST_CASE("What was not flushed waits, and the end of the writer flushes") {
  const TemporaryFolder folder;
  std::filesystem::path path;
  {
    TensorBoardWriter writer(folder.path(), {.flush_seconds = 1e9});
    path = writer.path();
    writer.scalar("x", 1, 1);
    CHECK(events_of(path).size() == 1);
    writer.flush();
    CHECK(events_of(path).size() == 2);
    writer.scalar("x", 2, 2);
    CHECK(events_of(path).size() == 2);
  }
  CHECK(events_of(path).size() == 3);
  TensorBoardWriter eager(folder.path(), {.flush_seconds = 0});
  eager.scalar("x", 1, 1);
  CHECK(events_of(eager.path()).size() == 2);
}

TEST_CASE("A resumed run adds a file and says where it resumes") {
  const TemporaryFolder folder;
  TensorBoardWriter first(folder.path());
  first.scalar("x", 1, 500);
  first.flush();
  const std::string before = read_bytes(first.path());
  TensorBoardWriter second(folder.path(), {.first_step = 400});
  second.scalar("x", 2, 400);
  second.flush();
  CHECK(folder.count() == 2);
  CHECK(first.path() < second.path());
  CHECK(read_bytes(first.path()) == before);
  const std::vector<Event> events = events_of(second.path());
  REQUIRE(events.size() == 3);
  CHECK(events[0].version == "brain.Event:2");
  CHECK(events[1].step == 400);
  CHECK(events[1].session == std::string("\x08\x01"));  // SessionLog, status = START
  CHECK(events[2].value == 2);
}

TEST_CASE("Names of event files") {
  const TemporaryFolder folder;
  const auto begin = static_cast<std::uint64_t>(now());
  const TensorBoardWriter writer(folder.path());
  const std::string name = writer.path().filename().string(), start = "events.out.tfevents.";
  REQUIRE(name.starts_with(start));
  const std::uint64_t seconds = std::stoull(name.substr(start.size()));
  CHECK(seconds >= begin);
  CHECK(seconds <= begin + 60);
  CHECK(contains(name, "." + std::to_string(::getpid()) + "."));
}

TEST_CASE("A full disk is one clear sentence, and leaves whole records") {
  const TemporaryFolder folder;
  TensorBoardWriter writer(folder.path(), {.flush_seconds = 0});
  writer.scalar("x", 1, 1);
  std::string message;
  {
    const FileSizeLimit limit(std::filesystem::file_size(writer.path()) + 20);
    message = message_of<FileError>([&] { writer.scalar("x", 2, 2); });
  }
  CHECK(contains(message, writer.path().string()));
  CHECK(events_of(writer.path()).size() == 2);
  writer.scalar("x", 3, 3);
  CHECK(events_of(writer.path()).size() == 4);
}

TEST_CASE("What cannot be written") {
  const TemporaryFolder folder;
  write_bytes(folder / "file", "");
  CHECK(contains(message_of<FileError>([&] { TensorBoardWriter writer(folder / "file/runs"); }),
                 (folder / "file/runs").string()));
  const auto refused = [&](double seconds) {
    return message_of<SettingError>(
        [&] { TensorBoardWriter writer(folder.path(), {.flush_seconds = seconds}); });
  };
  CHECK(contains(refused(-1), "flush_seconds is -1"));
  CHECK(contains(refused(std::nan("")), "expected 0 or more"));
  CHECK(folder.count() == 1);
}

TEST_CASE("Tags are text") {
  const TemporaryFolder folder;
  TensorBoardWriter writer(folder.path());
  const auto refusal = [&](const std::string& tag) {
    return message_of<SettingError>([&] { writer.scalar(tag, 1, 1); });
  };
  CHECK(contains(refusal(""), "empty"));
  for (const char* tag : {"\x80", "\xc0\xaf", "a\xc3", "\xed\xa0\x80", "\xe0\x80\x80",
                          "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xff", "\xe2\x82"}) {
    CHECK_MESSAGE(contains(refusal(tag), "not UTF-8"), tag);
  }
  for (const char* tag : {"loss", "d\xc3\xbc/dt", "\xe2\x82\xac", "\xf0\x9f\x98\x80"}) {
    CHECK_MESSAGE(refusal(tag).empty(), tag);
  }
  writer.flush();
  CHECK(events_of(writer.path()).back().tag == "\xf0\x9f\x98\x80");
}
