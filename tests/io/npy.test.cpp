// SPDX-License-Identifier: MIT
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/io/npy.hpp>

#include "io/temporary_folder.hpp"

using namespace meanflow;
using namespace meanflow_test;
using namespace std::string_literals;

namespace {

using Shape = std::vector<std::size_t>;

std::string npy(const std::string& header, const std::string& data) {
  return "\x93NUMPY\x01\0"s + static_cast<char>(header.size() & 0xff) +
         static_cast<char>(header.size() >> 8) + header + data;
}

std::string npy_of(const std::string& type, const std::string& order, const std::string& shape,
                   const std::string& data) {
  return npy(
      "{'descr': '" + type + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }\n",
      data);
}

template <class T = double>
NpyArray<T> loaded(const std::string& text) {
  const TemporaryFolder folder;
  write_bytes(folder / "x.npy", text);
  return load_npy<T>(folder / "x.npy");
}

std::string refusal(const std::string& text) {
  const std::string message = message_of<FileError>([&] { (void)loaded(text); });
  CHECK((message.empty() || (contains(message, "x.npy") && message.ends_with('.'))));
  return message;
}

}  // namespace

TEST_CASE("Writing and reading an array") {
  const TemporaryFolder folder;
  const auto path = folder / "points.npy";
  // [docs:npy]
  save_npy(path, {3, 2}, std::vector<float>{0, 1, 2, 3, 4, 5});

  const NpyArray<double> array = load_npy<double>(path);
  CHECK(array.shape == std::vector<std::size_t>{3, 2});
  CHECK(array.values == std::vector<double>{0, 1, 2, 3, 4, 5});
  // [docs:end]
  const std::string text = read_bytes(path);
  CHECK(text.size() == 128 + 24);
  CHECK(
      text.starts_with("\x93NUMPY\x01\0\x76\0{'descr': '<f4', 'fortran_order': False, "
                       "'shape': (3, 2), } "s));
  CHECK(text[127] == '\n');
  CHECK(folder.count() == 1);
}

TEST_CASE("Every shape and type survives a round trip") {
  const TemporaryFolder folder;
  const auto path = folder / "x.npy";
  const std::vector<std::int16_t> values{-3, -2, -1, 0, 1, 2};
  for (const Shape& shape : {Shape{6}, Shape{2, 3}, Shape{1, 3, 1, 2, 1}}) {
    save_npy(path, shape, values);
    CHECK(load_npy<std::int16_t>(path).shape == shape);
    CHECK(load_npy<std::int16_t>(path).values == values);
    CHECK(load_npy<float>(path).values == std::vector<float>{-3, -2, -1, 0, 1, 2});
  }
  save_npy(path, {}, std::array{0.1});
  CHECK(load_npy<double>(path).shape.empty());
  CHECK(load_npy<double>(path).values == std::vector<double>{0.1});
  CHECK(load_npy<float>(path).values == std::vector<float>{0.1F});
  save_npy(path, {0, 7}, std::vector<std::uint8_t>{});
  CHECK(load_npy<float>(path).shape == Shape{0, 7});
  CHECK_THROWS_AS((void)load_npy<float>(folder / "missing.npy"), FileError);
  CHECK(contains(message_of<ShapeError>([&] {
                   save_npy(path, {2, 2}, values);
                 }),
                 "the shape (2, 2) has 4 elements, but 6 values were given"));
}

TEST_CASE("Files written by NumPy: big-endian, column by column") {
  const std::string spaces(59, ' ');
  const std::string header = "{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3), }" + spaces;
  const auto array = loaded(npy(header + "\n", "\0\0\0\3\0\1\0\4\0\2\0\5"s));
  CHECK(array.shape == Shape{2, 3});
  CHECK(array.values == std::vector<double>{0, 1, 2, 3, 4, 5});
}

TEST_CASE("Column order in three dimensions") {
  // Element (i, j, k) of shape (2, 3, 2) is i + 2 j + 6 k: its place when columns come first.
  std::string data;
  for (char i = 0; i < 12; ++i) data += i;
  const auto array = loaded(npy_of("|u1", "True", "(2, 3, 2)", data));
  std::size_t place = 0;
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 3; ++j) {
      for (int k = 0; k < 2; ++k) CHECK(array.values[place++] == i + 2 * j + 6 * k);
    }
  }
}

TEST_CASE("Element types") {
  CHECK(loaded(npy_of("<f2", "False", "(1,)", "\x00\x3c"s)).values[0] == 1);
  CHECK(loaded(npy_of("|b1", "False", "(2,)", "\0\1"s)).values == std::vector<double>{0, 1});
  CHECK(loaded(npy_of("<u8", "False", "(1,)", "\1\0\0\0\0\0\0\0"s)).values[0] == 1);
  CHECK(loaded(npy_of("<i8", "False", "()", std::string(8, '\xff'))).values[0] == -1);
  CHECK(contains(refusal(npy_of("<u8", "False", "(1,)", std::string(8, '\xff'))),
                 "element 0 of its data is 18446744073709551615, which a double cannot hold"));
  CHECK(contains(refusal(npy_of("<c8", "False", "(1,)", std::string(8, '\0'))), "of type '<c8'"));
  CHECK(contains(refusal(npy_of("|O", "False", "(1,)", std::string(8, '\0'))), "of type '|O'"));
  CHECK(contains(refusal(npy_of("<f16", "False", "(1,)", std::string(16, '\0'))), "'<f16'"));
  CHECK(contains(refusal(npy_of("|f4", "False", "(1,)", std::string(4, '\0'))), "'|f4'"));
  CHECK(contains(refusal(npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}\n",
                             std::string(4, '\0'))),
                 "of type"));
}

TEST_CASE("Headers of other forms that the format allows") {
  const std::string one = "\0\0\x80\x3f"s;
  CHECK(loaded(npy("{'shape':(1,),'fortran_order':False,'descr':'<f4'}", one)).values[0] == 1);
  const std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }";
  const std::string long_header = header + std::string(200 - header.size(), ' ');
  CHECK(loaded(npy(long_header, one)).values[0] == 1);  // a low byte of the length above 127
  std::string version_2 = npy(header, one);
  version_2[6] = 2;
  version_2.insert(10, 2, '\0');
  CHECK(loaded(version_2).values[0] == 1);
}

TEST_CASE("Damaged files are refused in a sentence") {
  const std::string data(16, '\0');
  const std::string good = npy_of("<f4", "False", "(2, 2)", data);
  REQUIRE(refusal(good).empty());
  CHECK(contains(refusal(""), "does not start with the magic string"));
  CHECK(contains(refusal("PK\3\4 something else"), "does not start with the magic string"));
  std::string version = good;
  version[6] = 9;
  CHECK(contains(refusal(version), "its format version is 9"));
  std::string length = good;
  length[9] = '\x7f';
  CHECK(contains(refusal(length), "its header is said to have"));
  CHECK(contains(refusal(npy("{}", data)), "has no 'descr'"));
  CHECK(contains(refusal(npy("{'descr': '<f4", data)), "ends within 'descr'"));
  CHECK(contains(refusal(npy("{'descr':", data)), "ends within 'descr'"));
  CHECK(contains(refusal(npy_of("<f4", "Maybe", "(2, 2)", data)), "fortran_order reads 'Maybe'"));
  CHECK(contains(refusal(npy_of("<f4", "False", "(2, -2)", data)), "its shape reads"));
  CHECK(contains(refusal(npy_of("<f4", "False", "(2 2)", data)), "its shape reads"));
  CHECK(contains(refusal(npy_of("<f4", "False", "2)", data)), "its shape reads"));
  CHECK(contains(refusal(npy_of("<f4", "False", "(99999999999999999999,)", data)), "its shape"));
  CHECK(contains(refusal(npy_of("<f4", "False", "(2, 2)", data + "x")), "17 bytes of data follow"));
  CHECK(contains(refusal(npy_of("<f4", "False", "(2, 1)", data)), "16 bytes of data follow"));
}

TEST_CASE("Absurd shapes are refused before anything is allocated") {
  const std::string data(16, '\0');
  CHECK(contains(refusal(npy_of("<f4", "False", "(1000000000000,)", data)), "claims more data"));
  CHECK(contains(refusal(npy_of("<f4", "False", "(4294967296, 4294967296)", data)),
                 "claims more data"));
  CHECK(contains(refusal(npy_of("<f4", "False", "(0, 9)", data)), "16 bytes of data follow"));
}

TEST_CASE("Every truncation is refused, and every change of a byte is a valid file or a refusal") {
  const std::string text = npy_of("<f4", "False", "(2, 2)", std::string(16, 'a'));
  for (std::size_t length = 0; length < text.size(); ++length) {
    CHECK_MESSAGE(!refusal(text.substr(0, length)).empty(), length);
  }
  for (std::size_t place = 0; place < text.size(); ++place) {
    for (const int change : {1, 2, 4, 8, 16, 32, 64, 128, 255}) {
      std::string damaged = text;
      damaged[place] = static_cast<char>(damaged[place] ^ change);
      (void)refusal(damaged);
    }
  }
}
