// SPDX-License-Identifier: MIT
#include <functional>
#include <string>

#include <doctest/doctest.h>

#include <meanflow/kernels/recording.hpp>

using namespace meanflow::kernels;

namespace {

/// Writes down what it is asked for; its recording is the work itself.
struct Recorder {
  std::string* course;
  bool can = true;
  std::function<void()> work = {};

  bool record(const std::function<void()>& f) {
    *course += can ? 'r' : 'x';
    work = f;
    return can;
  }
  void replay() {
    *course += 'p';
    work();
  }
  void forget() { *course += 'f'; }
};

}  // namespace

TEST_CASE("work of one shape is recorded after some rounds, then replayed") {
  std::string course;
  RepeatedWork repeated(Recorder{&course});
  const auto work = [&] { course += 'w'; };
  for (int i = 0; i < 5; ++i) repeated.run({1, 2}, work);
  CHECK(course == "wwwrpwpw");
  course.clear();
  for (int i = 0; i < 4; ++i) repeated.run({1, 3}, work);
  CHECK(course == "fwwwrpw");
}

TEST_CASE("work whose shape changes again and again is not recorded") {
  std::string course;
  RepeatedWork repeated(Recorder{&course});
  for (unsigned i = 0; i < 12; ++i) repeated.run({i / 3}, [&] { course += 'w'; });
  CHECK(course == std::string(12, 'w'));
}

TEST_CASE("work that cannot be recorded is done each time, and not tried again") {
  std::string course;
  RepeatedWork repeated(Recorder{&course, false});
  for (int i = 0; i < 5; ++i) repeated.run({1}, [&] { course += 'w'; });
  for (int i = 0; i < 5; ++i) repeated.run({2}, [&] { course += 'w'; });
  CHECK(course == "wwwxwwwwwww");
}
