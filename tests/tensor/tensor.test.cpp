// SPDX-License-Identifier: MIT
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/tensor/dual_tensor.hpp>
#include <meanflow/tensor/tensor.hpp>

using namespace meanflow;

TEST_CASE("creating tensors") {
  CHECK(Tensor<float>().empty());
  CHECK(Tensor<float>().size() == 0);
  CHECK(Tensor<float>::full({2, 3}, 5)[5] == 5);
  CHECK(Tensor<float>::zeros({2, 3})[0] == 0);
  const std::vector<float> values{1, 2, 3, 4};
  const auto x = Tensor<float>::from({2, 2}, values);
  CHECK(x.row(1)[0] == 3);
  CHECK(x.data() != values.data());
  CHECK(Tensor<float>::from({}, {7})[0] == 7);
  const Tensor<float> nothing({0, 3});
  CHECK_FALSE(nothing.empty());
  CHECK(nothing.size() == 0);
  CHECK(nothing.span().empty());
  CHECK_THROWS_WITH_AS((void)Tensor<float>::from({3}, values),
                       "Tensor::from: shape (4) does not fit shape (3) (element counts differ)",
                       ShapeError);
}

TEST_CASE("copies share, clones do not") {
  const auto x = Tensor<float>::zeros({4});
  auto copy = x;
  const auto clone = x.clone();
  copy[0] = 1;
  CHECK(x[0] == 1);
  CHECK(clone[0] == 0);
  CHECK(clone.shape() == x.shape());
}

TEST_CASE("rows and reshaped are views") {
  const auto x = Tensor<float>::from({3, 2}, {1, 2, 3, 4, 5, 6});
  const auto last = x.rows(1, 3);
  CHECK(last.shape() == Shape{2, 2});
  CHECK(last.data() == x.row(1));
  CHECK(x.rows(3, 3).rows() == 0);
  const auto flat = last.reshaped({4});
  CHECK(flat.data() == last.data());
  CHECK(flat[3] == 6);
  CHECK_THROWS_WITH_AS((void)x.rows(2, 4), "Tensor::rows: rows [2, 4) are not within shape (3, 2)",
                       ShapeError);
  CHECK_THROWS_AS((void)x.rows(2, 1), ShapeError);
  CHECK_THROWS_WITH_AS((void)x.reshaped({4}),
                       "Tensor::reshaped: shape (3, 2) does not fit shape (4) (element counts "
                       "differ)",
                       ShapeError);
}

TEST_CASE("borrowed memory is seen, not owned") {
  float own[6] = {1, 2, 3, 4, 5, 6};
  {
    auto x = Tensor<float>::borrow(own, {2, 3});
    x[1] = 9;
    CHECK(x.clone().data() != own);
  }
  CHECK(own[1] == 9);
}

TEST_CASE("a dual tensor holds values and the tangents of its first rows in one piece") {
  const auto x = Tensor<float>::from({3, 2}, {1, 2, 3, 4, 5, 6});
  const auto dx = Tensor<float>::from({2, 2}, {7, 8, 9, 10});
  const DualTensor<float> dual(x, dx);
  CHECK(dual.shape() == Shape{3, 2});
  CHECK(dual.rows() == 3);
  CHECK(dual.row_size() == 2);
  CHECK(dual.tangent_rows() == 2);
  CHECK(dual.buffer().shape() == Shape{5, 2});
  CHECK(dual.tangent().data() == dual.primal().data() + 6);
  CHECK(dual.primal()[5] == 6);
  CHECK(dual.tangent()[3] == 10);
  CHECK(dual.primal().data() != x.data());
  const auto cube = dual.reshaped({3, 1, 2});
  CHECK(cube.tangent().shape() == Shape{2, 1, 2});
  CHECK(cube.buffer().data() == dual.buffer().data());
}

TEST_CASE("dual tensors without tangents") {
  const auto x = Tensor<float>::from({3, 1}, {1, 2, 3});
  CHECK(DualTensor<float>({3, 1}, 0).tangent().size() == 0);
  CHECK(DualTensor<float>(x, Tensor<float>({0, 1})).tangent_rows() == 0);
  CHECK(DualTensor<float>(x, Tensor<float>()).tangent_rows() == 0);
}

TEST_CASE("errors of dual tensors") {
  const Tensor<float> x({3, 2});
  CHECK_THROWS_WITH_AS((DualTensor<float>({3, 2}, 4)),
                       "DualTensor: 4 tangent rows for values of shape (3, 2)", ShapeError);
  CHECK_THROWS_WITH_AS((DualTensor<float>(x, Tensor<float>({2, 3}))),
                       "DualTensor: tangent: shape (2, 3) does not fit shape (3, 2) (rows differ)",
                       ShapeError);
  CHECK_THROWS_AS((DualTensor<float>(x, Tensor<float>({4, 2}))), ShapeError);
}

TEST_CASE("a copy of nothing is nothing, and so is what was moved from") {
  CHECK(Tensor<float>{}.clone().empty());
  auto x = Tensor<float>::from({2}, {1, 2});
  Tensor<float> y = std::move(x);
  CHECK(x.empty());  // NOLINT(bugprone-use-after-move): what is left is part of the contract
  CHECK(x.shape() == Shape{});
  CHECK(y[1] == 2);
  x = std::move(y);
  CHECK(y.empty());  // NOLINT(bugprone-use-after-move)
  CHECK(x[0] == 1);
}
