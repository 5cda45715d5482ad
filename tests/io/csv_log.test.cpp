// SPDX-License-Identifier: MIT
#include <charconv>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/io/csv_log.hpp>
#include <meanflow/random/philox.hpp>

#include "io/file_size_limit.hpp"
#include "io/temporary_folder.hpp"

using namespace meanflow;
using namespace meanflow_test;

namespace {

const std::vector<std::string> columns{"step", "loss"};

std::string refusal(const std::filesystem::path& path, const std::string& text) {
  write_bytes(path, text);
  const std::string message = message_of<FileError>([&] { CsvLog log(path, columns, 1); });
  if (!message.empty()) CHECK(read_bytes(path) == text);
  return message;
}

std::string resumed(const std::filesystem::path& path, const std::string& text,
                    std::optional<std::uint64_t> first_step) {
  write_bytes(path, text);
  const CsvLog log(path, columns, first_step);
  return read_bytes(path);
}

}  // namespace

TEST_CASE("A log, and appending to it") {
  const TemporaryFolder folder;
  const auto path = folder / "log.csv";
  {
    // [docs:csv_log]
    CsvLog log(path, {"step", "loss", "rows"});
    log.row(100, 0.5, 64);
    log.row(200, 0.1F, 64);
    // [docs:end]
    CHECK(read_bytes(path) == "step,loss,rows\n100,0.5,64\n200,0.1,64\n");  // while it is open
  }
  {
    CsvLog log(path, {"step", "loss", "rows"});
    log.row(300, -2, 1e-300);
  }
  CHECK(read_bytes(path) == "step,loss,rows\n100,0.5,64\n200,0.1,64\n300,-2,1e-300\n");
  // [docs:csv_resume]
  CsvLog log(path, {"step", "loss", "rows"}, 200);  // the step that training resumes at
  log.row(200, 0.25, 64);
  // [docs:end]
  CHECK(read_bytes(path) == "step,loss,rows\n100,0.5,64\n200,0.25,64\n");
  CHECK(folder.count() == 1);
}

TEST_CASE("Rows from a step on are removed, in any order, and lines that were not finished") {
  const TemporaryFolder folder;
  const auto path = folder / "log.csv";
  const std::string text = "step,loss\n1,a\n5,b\n2,c\n10,d\n";
  CHECK(resumed(path, text, std::nullopt) == text);
  CHECK(resumed(path, text, 11) == text);
  CHECK(resumed(path, text, 10) == "step,loss\n1,a\n5,b\n2,c\n");
  CHECK(resumed(path, text, 5) == "step,loss\n1,a\n2,c\n");
  CHECK(resumed(path, text, 0) == "step,loss\n");
  CHECK(resumed(path, text + "11,0.2", std::nullopt) == text);
  CHECK(resumed(path, text + "1", 100) == text);
  CHECK(resumed(path, "", 3) == "step,loss\n");
  CHECK(resumed(path, "step,lo", std::nullopt) == "step,loss\n");
  CHECK(resumed(path, "step,loss", 3) == "step,loss\n");
}

TEST_CASE("A log that needs no change is not replaced") {
  const TemporaryFolder folder;
  const auto path = folder / "log.csv";
  write_bytes(path, "step,loss\n1,2\n");
  std::filesystem::create_hard_link(path, folder / "same.csv");
  CsvLog log(path, columns, 2);
  log.row(2, 3);
  CHECK(read_bytes(folder / "same.csv") == "step,loss\n1,2\n2,3\n");
}

TEST_CASE("Other columns are refused, and the file stays") {
  const TemporaryFolder folder;
  const auto path = folder / "log.csv";
  const std::string message = refusal(path, "step,error\n1,2\n");
  CHECK(contains(message, path.string()));
  CHECK(contains(message, "'step,error'"));
  CHECK(contains(message, "'step,loss'"));
  CHECK(contains(refusal(path, "step\n"), "'step'"));
  CHECK(contains(refusal(path, "step,loss,rows\n"), "'step,loss,rows'"));
  CHECK(contains(refusal(path, "step,loss\r\n"), "'step,loss?'"));
  CHECK(contains(refusal(path, "\n"), "''"));
  CHECK(contains(refusal(path, "not a log"), "'not a log'"));
  CHECK(contains(refusal(path, "step,loss,"), "'step,loss,'"));
}

TEST_CASE("Damaged rows are refused with their line") {
  const TemporaryFolder folder;
  const auto path = folder / "log.csv";
  for (const char* line :
       {"", "x,1", "1", "1,2,3", "-1,2", "1.5,2", ",2", "1 ,2", " 1,2", "99999999999999999999,2"}) {
    const std::string message = refusal(path, std::string("step,loss\n0,1\n") + line + "\n7,8\n");
    CHECK_MESSAGE(contains(message, "line 3"), line);
    CHECK_MESSAGE(contains(message, "'" + std::string(line) + "'"), line);
  }
}

TEST_CASE("Numbers read back exactly") {
  const TemporaryFolder folder;
  const auto path = folder / "log.csv";
  std::vector<double> values{0.1, -0.0, 5e-324, 1.7976931348623157e308, 1.0 / 3};
  RandomStream stream(1, Purpose::user);
  while (values.size() < 200) values.push_back(std::exp(300 * stream.normal<double>()));
  std::vector<std::string> names{"step"};
  for (std::size_t i = 0; i < values.size(); ++i) names.push_back("x" + std::to_string(i));
  CsvLog log(path, names);
  log.row(UINT64_MAX, values);
  const std::string text = read_bytes(path);
  const char* place = text.data() + text.find('\n') + 1;
  std::uint64_t step = 0;
  place = std::from_chars(place, text.data() + text.size(), step).ptr;
  CHECK(step == UINT64_MAX);
  for (const double expected : values) {
    double value = 0;
    place = std::from_chars(place + 1, text.data() + text.size(), value).ptr;
    CHECK(value == expected);
    CHECK(std::signbit(value) == std::signbit(expected));
  }
  CHECK(std::string(place) == "\n");
}

TEST_CASE("Numbers that are not finite, and integers, are themselves") {
  const TemporaryFolder folder;
  const double infinity = std::numeric_limits<double>::infinity(), nan = std::nan("");
  CsvLog log(folder / "log.csv", {"step", "a", "b", "c", "d", "e"});
  log.row(1, infinity, -infinity, nan, -nan, INT64_MIN);
  CHECK(contains(read_bytes(folder / "log.csv"), "\n1,inf,-inf,nan,nan,-9223372036854775808\n"));
}

TEST_CASE("The step may be all there is") {
  const TemporaryFolder folder;
  CsvLog log(folder / "log.csv", {"step"});
  log.row(7);
  CsvLog again(folder / "log.csv", {"step"}, 7);
  again.row(8);
  CHECK(read_bytes(folder / "log.csv") == "step\n8\n");
}

TEST_CASE("A number for every column") {
  const TemporaryFolder folder;
  CsvLog log(folder / "log.csv", columns);
  CHECK(contains(message_of<ShapeError>([&] { log.row(1); }), "0 numbers"));
  CHECK(contains(message_of<ShapeError>([&] { log.row(1, 2, 3); }), "expect 1"));
  const std::vector<double> three(3);
  CHECK(contains(message_of<ShapeError>([&] { log.row(1, three); }), "3 numbers"));
  CHECK(read_bytes(folder / "log.csv") == "step,loss\n");
}

TEST_CASE("Columns have names") {
  const TemporaryFolder folder;
  const auto refused = [&](const std::vector<std::string>& names) {
    return message_of<SettingError>([&] { CsvLog log(folder / "log.csv", names); });
  };
  CHECK(contains(refused({}), "no columns"));
  CHECK(contains(refused({"step", ""}), "column 1"));
  CHECK(contains(refused({"step", "a,b"}), "'a,b'"));
  CHECK(contains(refused({"step", "a\nb"}), "line breaks"));
  CHECK(contains(refused({"step", "\"a\""}), "quotes"));
  CHECK(contains(refused({"step", "a", "a"}), "as is one before it"));
  CHECK(folder.count() == 0);
}

TEST_CASE("A full disk leaves whole rows, and the one that failed is not lost") {
  const TemporaryFolder folder;
  const auto path = folder / "log.csv";
  CsvLog log(path, columns);
  log.row(1, 0.5);
  std::string message;
  {
    const FileSizeLimit limit(18);
    message = message_of<FileError>([&] { log.row(2, 0.123456); });
  }
  CHECK(contains(message, path.string()));
  CHECK(read_bytes(path) == "step,loss\n1,0.5\n");
  log.row(3, 0.25);
  CHECK(read_bytes(path) == "step,loss\n1,0.5\n2,0.123456\n3,0.25\n");
}

TEST_CASE("Logs that cannot be written") {
  const TemporaryFolder folder;
  CHECK(contains(message_of<FileError>([&] { CsvLog log(folder / "missing" / "a", columns); }),
                 "No such file or directory"));
  CHECK(contains(message_of<FileError>([&] { CsvLog log(folder.path(), columns); }),
                 "not a regular file"));
}
