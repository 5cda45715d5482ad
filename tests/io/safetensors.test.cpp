// SPDX-License-Identifier: MIT
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>

#include <meanflow/io/safetensors.hpp>

#include "io/temporary_folder.hpp"

using namespace meanflow;
using namespace meanflow_test;
using namespace std::string_literals;

namespace {

using Shape = std::vector<std::size_t>;

std::string file_text(const std::string& header, const std::string& data = "") {
  const std::uint64_t length = header.size();
  std::string text(8, '\0');
  std::memcpy(text.data(), &length, 8);
  return text + header + data;
}

/// The sentence with which such a file is refused; empty if it is accepted.
std::string refusal(const std::string& text) {
  const TemporaryFolder folder;
  const auto path = folder / "x.safetensors";
  write_bytes(path, text);
  const std::string message = message_of<FileError>([&] { Safetensors file(path); });
  if (!message.empty()) {
    CHECK(contains(message, path.string()));
    CHECK(message.ends_with('.'));
    CHECK(message.find('\n') == std::string::npos);
    CHECK(message.size() < 500);
  }
  return message;
}

/// Reads everything in a file, whatever it may be.
void read_everything(const Safetensors& file) {
  for (const std::string& name : file.names()) {
    const std::size_t size = file.size(name);
    CHECK(file.read_bytes(name).size() == size * size_of(file.dtype(name)));
    try {
      const std::vector<double> values = file.read<double>(name);
      CHECK(values.size() == size);
    } catch (const FileError&) {  // a value that a double cannot hold
    }
  }
}

std::string tensor(const std::string& name, const std::string& dtype, const std::string& shape,
                   const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":" + offsets + "}";
}

std::string object(const std::string& first, const std::string& second = "") {
  return std::string("{").append(first).append(second.empty() ? "" : ",").append(second) + "}";
}

// Written by a Python implementation of the format, with NumPy.
const std::string python_header =
    R"({"__metadata__":{"net":"Mlp","config":"{\"dim\": 2}"},)"
    R"("loss":{"dtype":"F64","shape":[2],"data_offsets":[0,16]},)"
    R"("step":{"dtype":"I64","shape":[],"data_offsets":[16,24]},)"
    R"("layers.0.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[24,48]}} )";
const std::string python_data =
    "\x9a\x99\x99\x99\x99\x99\xb9\x3f\x18\x2d\x44\x54\xfb\x21\x09\x40"
    "\x14\x1a\x99\xbe\x1c\x00\x00\x00\x00\x00\xc0\x3f\x00\x00\x00\xc0"
    "\x00\x00\x80\x3e\x00\x00\x40\x40\x6f\x12\x83\x3b\xca\xf2\x49\xf1"s;

}  // namespace

TEST_CASE("A file written in Python") {
  const TemporaryFolder folder;
  const auto path = folder / "python.safetensors";
  write_bytes(path, file_text(python_header, python_data));
  const Safetensors file(path);
  CHECK(file.names() == std::vector<std::string>{"layers.0.weight", "loss", "step"});
  CHECK(file.metadata().at("net") == "Mlp");
  CHECK(file.metadata().at("config") == "{\"dim\": 2}");
  CHECK(file.shape("layers.0.weight") == Shape{2, 3});
  CHECK(file.shape("step").empty());
  CHECK(file.dtype("loss") == DType::f64);
  CHECK(file.read<float>("layers.0.weight") == std::vector<float>{1.5, -2, 0.25, 3, 4e-3F, -1e30F});
  CHECK(file.read<double>("loss") == std::vector<double>{0.1, 3.141592653589793});
  CHECK(file.read<std::int64_t>("step") == std::vector<std::int64_t>{123456789012});
}

TEST_CASE("Writing and reading") {
  const TemporaryFolder folder;
  const auto path = folder / "model.safetensors";
  // [docs:safetensors]
  const std::vector<float> weight{1, 2, 3, 4, 5, 6};
  SafetensorsWriter writer;
  writer.add("layers.0.weight", {2, 3}, weight);
  writer.add("step", {}, std::vector<std::int64_t>{1000});
  writer.metadata("net", "mlp");
  writer.write(path);

  const Safetensors file(path);
  CHECK(file.names() == std::vector<std::string>{"layers.0.weight", "step"});
  CHECK(file.shape("layers.0.weight") == std::vector<std::size_t>{2, 3});
  CHECK(file.read<float>("layers.0.weight") == weight);
  CHECK(file.metadata().at("net") == "mlp");
  // [docs:end]
  CHECK(file.contains("step"));
  CHECK_FALSE(file.contains("layers"));
  CHECK(file.size("step") == 1);
  CHECK(file.path() == path);
  CHECK(folder.count() == 1);
}

TEST_CASE("Every element type survives a round trip") {
  const TemporaryFolder folder;
  const auto path = folder / "x.safetensors";
  SafetensorsWriter writer;
  const auto check = [&]<class T>(const std::string& name, T) {
    const std::vector<T> values{std::numeric_limits<T>::lowest(), T(0), T(1),
                                std::numeric_limits<T>::max()};
    writer.add(name, {2, 1, 2}, values);
    writer.write(path);
    const Safetensors file(path);
    CHECK(file.read<T>(name) == values);
    CHECK(file.dtype(name) == dtype_of<T>());
  };
  check("f64", double());
  check("f32", float());
  check("i64", std::int64_t());
  check("i32", std::int32_t());
  check("i16", std::int16_t());
  check("i8", std::int8_t());
  check("u64", std::uint64_t());
  check("u32", std::uint32_t());
  check("u16", std::uint16_t());
  check("u8", std::uint8_t());
  writer.add("bool", {3}, std::array{true, false, true});
  writer.add_bytes("bf16", DType::bf16, {2}, std::as_bytes(std::span("\x80\x3f\x40\xc0", 4)));
  writer.add_bytes("f16", DType::f16, {2}, std::as_bytes(std::span("\x00\x3c\x01\x00", 4)));
  writer.write(path);

  const Safetensors file(path);
  CHECK(file.names().size() == 13);
  CHECK(file.dtype("bool") == DType::boolean);
  CHECK(file.read<std::uint8_t>("bool") == std::vector<std::uint8_t>{1, 0, 1});
  CHECK(file.read<float>("bf16") == std::vector<float>{1, -3});
  CHECK(file.read<double>("f16") == std::vector<double>{1, 0x1p-24});
  CHECK(file.read_bytes("f16")[1] == std::byte(0x3c));
  for (const auto& entry : detail::dtype_entries) {  // the table is indexed by the enumerator
    CHECK(name_of(entry.dtype) == entry.name);
    CHECK(size_of(entry.dtype) == entry.size);
  }
}

TEST_CASE("NaN, infinities and signed zero keep their bits") {
  const TemporaryFolder folder;
  const std::vector<std::uint32_t> bits{0x7fc00001, 0xff800000, 0x80000000, 0x00000001};
  SafetensorsWriter writer;
  writer.add_bytes("x", DType::f32, {4}, std::as_bytes(std::span(bits)));
  writer.write(folder / "x");
  const std::vector<float> values = Safetensors(folder / "x").read<float>("x");
  CHECK(std::memcmp(values.data(), bits.data(), 16) == 0);
}

TEST_CASE("Data are aligned, and laid out as the Python package does") {
  const TemporaryFolder folder;
  SafetensorsWriter writer;
  writer.add("a", {1}, std::array<std::uint8_t, 1>{7});
  writer.add("c", {1}, std::array{1.0F});
  writer.add("b", {1}, std::array{2.0F});
  writer.add("z", {1}, std::array{3.0});
  writer.write(folder / "x");
  const std::string text = read_bytes(folder / "x");
  const std::string header =
      "{" + tensor("z", "F64", "[1]", "[0,8]") + "," + tensor("b", "F32", "[1]", "[8,12]") + "," +
      tensor("c", "F32", "[1]", "[12,16]") + "," + tensor("a", "U8", "[1]", "[16,17]") + "}";
  const std::string padding((8 - header.size() % 8) % 8, ' ');
  CHECK(text.substr(0, text.size() - 17) == file_text(header + padding));
}

TEST_CASE("Shapes of no dimension and of no elements, and no tensors at all") {
  const TemporaryFolder folder;
  SafetensorsWriter writer;
  writer.write(folder / "none");
  CHECK(Safetensors(folder / "none").names().empty());
  CHECK(Safetensors(folder / "none").metadata().empty());
  writer.add("empty", {0, 5}, std::vector<float>{});
  writer.add("scalar", {}, std::array{2.5F});
  writer.write(folder / "x");
  const Safetensors file(folder / "x");
  CHECK(file.read<float>("empty").empty());
  CHECK(file.shape("empty") == Shape{0, 5});
  CHECK(file.read<double>("scalar") == std::vector<double>{2.5});
}

TEST_CASE("Conversions that lose more than a float's last bits are refused") {
  const TemporaryFolder folder;
  SafetensorsWriter writer;
  writer.add("x", {3}, std::array{1.0, 2.5, 1e300});
  writer.add("n", {2}, std::array<std::int64_t, 2>{5, -(std::int64_t(1) << 40) - 1});
  writer.write(folder / "x");
  const Safetensors file(folder / "x");
  const std::string halves = message_of<FileError>([&] { (void)file.read<std::int32_t>("x"); });
  CHECK(contains(halves, "element 1 of tensor 'x' is 2.5"));
  CHECK(contains(message_of<FileError>([&] { (void)file.read<float>("x"); }),
                 "which a float cannot hold"));
  CHECK(contains(message_of<FileError>([&] { (void)file.read<float>("n"); }),
                 "element 1 of tensor 'n' is -1099511627777"));
  CHECK(file.read<double>("n") == std::vector<double>{5, -0x1p40 - 1});
  CHECK_THROWS_AS((void)file.read<std::uint64_t>("n"), FileError);
}

TEST_CASE("Tensors larger than the buffer that conversion goes through") {
  const TemporaryFolder folder;
  std::vector<double> values(200'001);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = double(i);
  SafetensorsWriter writer;
  writer.add_view("x", {values.size()}, std::span<const double>(values));
  writer.write(folder / "x");
  const std::vector<float> read = Safetensors(folder / "x").read<float>("x");
  for (std::size_t i = 0; i < values.size(); ++i) REQUIRE(double(read[i]) == values[i]);
}

TEST_CASE("Reading into the caller's memory") {
  const TemporaryFolder folder;
  SafetensorsWriter writer;
  writer.add("x", {2, 2}, std::array{1.0F, 2.0F, 3.0F, 4.0F});
  writer.write(folder / "x");
  const Safetensors file(folder / "x");
  std::vector<float> all(6, -1);
  file.read_into("x", std::span(all).subspan(1, 4));
  CHECK(all == std::vector<float>{-1, 1, 2, 3, 4, -1});
  const std::string message = message_of<ShapeError>([&] { file.read_into("x", std::span(all)); });
  CHECK(contains(message, "[2, 2], which is 4 elements, but there is room for 6"));
  CHECK(contains(message_of<FileError>([&] { (void)file.read<float>("y"); }),
                 "has no tensor named 'y'"));
}

TEST_CASE("A copy of a writer keeps its own data") {
  const TemporaryFolder folder;
  SafetensorsWriter copy;
  {
    SafetensorsWriter writer;
    writer.add("x", {2}, std::vector<double>{1, 2});
    copy = writer;
  }
  copy.write(folder / "x");
  CHECK(Safetensors(folder / "x").read<double>("x") == std::vector<double>{1, 2});
}

TEST_CASE("What a writer refuses") {
  const TemporaryFolder folder;
  SafetensorsWriter writer;
  const std::array values{1.0F, 2.0F};
  writer.add("x", {2}, values);
  CHECK_THROWS_AS(writer.add("x", {2}, values), SettingError);
  CHECK_THROWS_AS(writer.add("__metadata__", {2}, values), SettingError);
  CHECK(contains(message_of<ShapeError>([&] { writer.add("y", {3}, values); }),
                 "tensor 'y' of type F32 and shape [3] does not fit the 8 bytes given"));
  const std::size_t huge = std::size_t(1) << 62;
  CHECK_THROWS_AS(writer.add("y", {huge, 4}, values), ShapeError);
  writer.metadata("text", "\xff");
  CHECK_THROWS_AS(writer.write(folder / "x"), SettingError);
  CHECK(folder.count() == 0);
}

TEST_CASE("A full disk leaves neither a file nor half of one") {
  const TemporaryFolder folder;
  SafetensorsWriter writer;
  writer.add("x", {10'000}, std::vector<float>(10'000));
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{1000, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &limit);
  const std::string message = message_of<FileError>([&] { writer.write(folder / "x"); });
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, handler);
  CHECK(contains(message, "could not be written"));
  CHECK(folder.count() == 0);
}

TEST_CASE("Names with every kind of character") {
  const TemporaryFolder folder;
  SafetensorsWriter writer;
  const std::vector<std::string> names{"", "\n\t\"\\", "a b", "\xc3\xa9t\xc3\xa9", "\x01"s, "\0x"s};
  for (const std::string& name : names) writer.add(name, {1}, std::array{1.0F});
  writer.write(folder / "x");
  const Safetensors file(folder / "x");
  for (const std::string& name : names) CHECK(file.contains(name));
}

TEST_CASE("Damaged files are refused in a sentence") {
  const std::string four(4, '\0'), eight(8, '\0');
  const auto x = [&](const std::string& dtype, const std::string& shape,
                     const std::string& offsets) {
    return refusal(file_text(object(tensor("x", dtype, shape, offsets)), four));
  };
  REQUIRE(x("F32", "[1]", "[0,4]").empty());

  CHECK(contains(refusal(""), "it has 0 bytes"));
  CHECK(contains(refusal("1234567"), "it has 7 bytes"));
  CHECK(contains(refusal("\xff\0\0\0\0\0\0\0{}"s), "said to have 255 bytes, but only 2 follow"));
  CHECK(contains(refusal(std::string(8, '\xff')), "at most 100000000 are allowed"));
  CHECK(contains(refusal(file_text("")), "does not start with '{'"));
  CHECK(contains(refusal(file_text("[]")), "does not start with '{'"));
  CHECK(contains(refusal(file_text("{")), "not valid JSON at byte"));
  CHECK(contains(refusal(file_text("{} {}")), "not valid JSON at byte"));
  CHECK(contains(refusal(file_text("{\"\xff\":1}")), "not valid JSON at byte"));
  CHECK(contains(refusal(file_text("{\"x\":1}")), "a number does not belong in 'x'"));
  CHECK(contains(refusal(file_text("{\"x\":null}")), "null does not belong in 'x'"));
  CHECK(contains(refusal(file_text("{\"x\":true}")), "a boolean does not belong in 'x'"));
  CHECK(contains(refusal(file_text("{\"x\":\"y\"}")), "a string does not belong in 'x'"));
  CHECK(contains(refusal(file_text("{\"x\":[1]}")), "an array does not belong in 'x'"));
  CHECK(contains(refusal(file_text("{\"x\":{}}")), "'x' has no dtype"));
  CHECK(contains(refusal(file_text("{\"x\":{\"y\":{}}}")), "an object does not belong in 'x'"));
  CHECK(contains(refusal(file_text("{\"__metadata__\":{\"a\":1}}")), "a number does not belong"));
  CHECK(contains(refusal(file_text("{\"__metadata__\":{\"a\":\"\",\"a\":\"\"}}")),
                 "the key 'a' appears twice in '__metadata__'"));
  CHECK(contains(refusal(file_text("{\"__metadata__\":[]}")), "an array does not belong"));
  CHECK(contains(
      refusal(file_text(
          object(tensor("x", "F32", "[1]", "[0,4]"), tensor("x", "F32", "[1]", "[0,4]")), four)),
      "the name 'x' appears twice"));

  CHECK(contains(x("F8", "[1]", "[0,4]"), "'x' has the unknown dtype 'F8'"));
  CHECK(contains(x("F32", "[1]", "[0]"), "data_offsets of 'x' should be two numbers"));
  CHECK(contains(x("F32", "[1]", "[0,4,8]"), "data_offsets of 'x' should be two numbers"));
  CHECK(contains(x("F32", "[-1]", "[0,4]"), "a negative number does not belong in 'x'"));
  CHECK(contains(x("F32", "[1.0]", "[0,4]"), "a fractional or huge number"));
  CHECK(contains(x("F32", "[18446744073709551616]", "[0,4]"), "a fractional or huge number"));
  CHECK(contains(x("F32", "[[1]]", "[0,4]"), "an array does not belong in 'x'"));
  CHECK(contains(x("F32", "1", "[0,4]"), "a number does not belong in 'x'"));
  CHECK(contains(x("F32", "[1],\"more\":\"\"", "[0,4]"), "a string does not belong in 'x'"));
  CHECK(contains(x("F32", "[1],\"shape\":[1]", "[0,4]"), "the key 'shape' appears twice in 'x'"));

  CHECK(contains(x("F32", "[1]", "[4,0]"), "run backwards"));
  CHECK(contains(x("F32", "[2]", "[0,8]"), "only 4 bytes of data follow"));
  CHECK(contains(x("F32", "[1]", "[0,18446744073709551615]"), "only 4 bytes of data follow"));
  CHECK(contains(x("F32", "[2]", "[0,4]"), "of type F32 and shape [2] needs 8 bytes"));
  CHECK(contains(x("F64", "[1]", "[0,4]"), "needs 8 bytes, but its offsets are [0, 4]"));
  CHECK(contains(x("F32", "[4611686018427387905]", "[0,4]"), "needs more than 2^64 bytes"));
  CHECK(contains(x("F32", "[4294967296,4294967296,4]", "[0,4]"), "needs more than 2^64 bytes"));
  CHECK(contains(x("U8", "[2]", "[2,4]"), "begin at byte 2 and leave a gap"));
  CHECK(contains(x("U8", "[2]", "[0,2]"), "its tensors take 2 bytes, but 4 follow"));
  CHECK(contains(
      refusal(file_text(
          object(tensor("x", "F32", "[1]", "[0,4]"), tensor("y", "F32", "[1]", "[0,4]")), eight)),
      "tensor 'y' begin at byte 0 and overlap those before, which end at 4"));
  std::string ones = "1";
  for (int i = 0; i < 64; ++i) ones += ",1";
  CHECK(contains(x("F32", "[" + ones + "]", "[0,4]"), "more than 64 dimensions"));
}

TEST_CASE("Deeply nested and very long headers cost no more than they weigh") {
  CHECK(contains(refusal(file_text("{\"x\":" + std::string(1'000'000, '['))), "an array"));
  CHECK(contains(refusal(file_text("{\"" + std::string(1'000'000, 'x') + "\":1}")), "xxx...'"));
}

TEST_CASE("Every truncation is refused") {
  const std::string text = file_text(python_header, python_data);
  for (std::size_t length = 0; length < text.size(); ++length) {
    CHECK_MESSAGE(!refusal(text.substr(0, length)).empty(), length);
  }
  CHECK(!refusal(text + "x").empty());
}

TEST_CASE("Every change of one byte gives a valid file or a refusal") {
  const TemporaryFolder folder;
  const auto path = folder / "x.safetensors";
  const std::string text = file_text(python_header, python_data);
  int refused = 0;
  for (std::size_t place = 0; place < text.size(); ++place) {
    for (const int change : {1, 2, 4, 8, 16, 32, 64, 128, 255}) {
      std::string damaged = text;
      damaged[place] = static_cast<char>(damaged[place] ^ change);
      write_bytes(path, damaged);
      try {
        read_everything(Safetensors(path));
      } catch (const FileError&) {
        ++refused;
      }
    }
  }
  CHECK(refused > 1000);
}

TEST_CASE("A file that shrinks after it was opened is an error, not garbage") {
  const TemporaryFolder folder;
  const auto path = folder / "x";
  write_bytes(path, file_text(python_header, python_data));
  const Safetensors file(path);
  std::filesystem::resize_file(path, 270);
  CHECK_THROWS_AS((void)file.read<float>("layers.0.weight"), FileError);
}
