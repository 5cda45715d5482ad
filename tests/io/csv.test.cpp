// SPDX-License-Identifier: MIT
#include <fstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/io/csv.hpp>

#include "io/temporary_folder.hpp"

using namespace meanflow;
using namespace meanflow_test;

namespace {

CsvTable read(const std::string& text) {
  const TemporaryFolder folder;
  std::ofstream(folder / "table.csv", std::ios::binary) << text;
  return load_csv(folder / "table.csv");
}

std::string refusal(const std::string& text) {
  return message_of<FileError>([&] { static_cast<void>(read(text)); });
}

using Names = std::vector<std::string>;
using Values = std::vector<double>;

}  // namespace

TEST_CASE("CSV files with and without a header") {
  const CsvTable plain = read("1,2\n3,-4.5e-3\n");
  CHECK(plain.names.empty());
  CHECK(plain.columns == 2);
  CHECK(plain.rows() == 2);
  CHECK(plain.values == Values{1, 2, 3, -4.5e-3});
  const CsvTable named = read("x,y\n1,2\n");
  CHECK(named.names == Names{"x", "y"});
  CHECK(named.values == Values{1, 2});
}

TEST_CASE("What spreadsheets, pandas and numpy write") {
  const CsvTable excel = read(
      "\xef\xbb\xbf"
      "a;\"b; c\"\r\n1;+2\r\n\r\n3;4");
  CHECK(excel.names == Names{"a", "b; c"});
  CHECK(excel.values == Values{1, 2, 3, 4});
  CHECK(read("1\t2\n3\t4\n").values == Values{1, 2, 3, 4});
  CHECK(read("1.000000000000000000e+00 2.5e+00\n3e0 4e0\n").values == Values{1, 2.5, 3, 4});
  CHECK(read(" 1 , 2 \n").values == Values{1, 2});
  CHECK(read("   1.00000    2.50000\n   3.00000  -12.00000\n").values == Values{1, 2.5, 3, -12});
  const CsvTable headed = read("# x y\n1 2\n");
  CHECK(headed.names == Names{"x", "y"});
  CHECK(headed.values == Values{1, 2});
  CHECK(read("\"a, b\";c\n1;2\n").names == Names{"a, b", "c"});
  CHECK(read("7\n8\n").columns == 1);
  CHECK(read("").rows() == 0);
  CHECK(read("only,names\n").rows() == 0);
}

TEST_CASE("Lines that do not fit are named") {
  CHECK(contains(refusal("1,2\n3\n"), "line 2: has 1 fields, where the first line has 2."));
  CHECK(contains(refusal("x,y\n1,2\n3,apple\n"), "line 3, column 2: 'apple' is not a number."));
  CHECK(contains(refusal("1.0,,3\n4,5,6\n"), "line 1, column 2: '' is not a number."));
  CHECK(contains(refusal("1,2\n3,\n"), "line 2, column 2: '' is not a number."));
  CHECK(contains(refusal("1,2\n3,4x\n"), "'4x' is not a number."));
  CHECK_THROWS_AS(static_cast<void>(load_csv("no-such-file.csv")), FileError);
}
