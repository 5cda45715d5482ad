// SPDX-License-Identifier: MIT
#include <cstdint>

#include <doctest/doctest.h>

#include <meanflow/autodiff/parameters.hpp>

using namespace meanflow;

TEST_CASE("parameters lie in one buffer, at cache lines, with zeros between") {
  Parameters<float> parameters(7);
  const auto a = parameters.add("a", {3, 2});
  std::fill_n(a.data(), 6, 1.0f);
  const auto b = parameters.add("b", {17});
  CHECK(a.offset() == 0);
  CHECK(b.offset() == 16);
  CHECK(parameters.flat_size() == 48);
  CHECK(parameters.count() == 23);
  CHECK(parameters.seed() == 7);
  CHECK(b.seed() == 7);
  CHECK(reinterpret_cast<std::uintptr_t>(b.data()) % 64 == 0);
  for (std::size_t i = 0; i < 48; ++i) CHECK(parameters.values()[i] == (i < 6 ? 1.0f : 0.0f));
  CHECK(a.tensor().shape() == Shape{3, 2});
  CHECK(a.data() == parameters.values().data());
}

TEST_CASE("parameters are found by name and number; names are unique") {
  Parameters<float> parameters;
  parameters.add("a", {2});
  parameters.add("b", {3});
  CHECK(parameters["b"].index() == 1);
  CHECK(parameters[0].name() == "a");
  CHECK(parameters[1].shape() == Shape{3});
  CHECK_THROWS_WITH_AS(parameters.add("a", {2}), "Parameters: there is already a parameter a",
                       Error);
  CHECK_THROWS_WITH_AS((void)parameters["c"], "Parameters: there is no parameter c", Error);
  CHECK(parameters.entries().size() == 2);
  CHECK(Parameter<float>().empty());
}

TEST_CASE("copies of a handle share the buffer") {
  Parameters<float> parameters, other;
  const auto a = parameters.add("a", {2});
  Parameters<float> copy = parameters;
  copy.add("b", {2});
  CHECK(parameters.entries().size() == 2);
  CHECK(copy.owner() == parameters.owner());
  CHECK(a.owner() == parameters.owner());
  CHECK(other.owner() != parameters.owner());
}

TEST_CASE("swap and UseValues exchange what every parameter reads") {
  Parameters<float> parameters;
  const auto a = parameters.add("a", {2});
  a.data()[0] = 1;
  const auto others = Tensor<float>::full({parameters.flat_size()}, 5);
  const auto original = parameters.values();
  {
    const UseValues<float, Cpu> using_others(parameters, others);
    CHECK(a.data()[0] == 5);
    a.data()[1] = 6;
  }
  CHECK(a.data()[0] == 1);
  CHECK(others[1] == 6);
  const auto old = parameters.swap(others);
  CHECK(old.data() == original.data());
  CHECK(a.data()[0] == 5);
  CHECK_THROWS_WITH_AS((void)parameters.swap(Tensor<float>({3})),
                       "Parameters::swap: shape (3) does not fit shape (16) (sizes differ)",
                       ShapeError);
}
