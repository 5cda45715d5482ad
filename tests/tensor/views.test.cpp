// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <meanflow/tensor/eigen.hpp>
#include <meanflow/tensor/xtensor.hpp>

using namespace meanflow;

TEST_CASE("Eigen sees a tensor, and a tensor an Eigen matrix, without copies") {
  auto x = Tensor<double>::from({2, 2, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
  auto map = as_eigen(x);
  CHECK(map.data() == x.data());
  CHECK(map.rows() == 4);
  CHECK(map.cols() == 3);
  CHECK(map(1, 0) == 4);
  map(3, 2) = 99;
  CHECK(x[11] == 99);
  CHECK(as_eigen(Tensor<double>({0, 3})).rows() == 0);
  CHECK(as_eigen(Tensor<double>({3, 0})).cols() == 0);

  RowMajorMatrix<double> matrix = RowMajorMatrix<double>::Random(3, 2);
  auto tensor = as_tensor(matrix);
  CHECK(tensor.data() == matrix.data());
  CHECK(tensor.shape() == Shape{3, 2});
  tensor[1] = 5;
  CHECK(matrix(0, 1) == 5);
}

TEST_CASE("xtensor sees a tensor, and a tensor an xtensor container, without copies") {
  auto x = Tensor<float>::from({2, 3}, {1, 2, 3, 4, 5, 6});
  auto view = as_xtensor<2>(x);
  CHECK(view(1, 2) == 6);
  view(0, 1) = 9;
  CHECK(x[1] == 9);
  CHECK_THROWS_WITH_AS((void)as_xtensor<3>(x),
                       "as_xtensor: a tensor of shape (2, 3) does not have rank 3", ShapeError);

  xt::xarray<float> array = {{1, 2}, {3, 4}, {5, 6}};
  const auto tensor = as_tensor(array);
  CHECK(tensor.data() == array.data());
  CHECK(tensor.shape() == Shape{3, 2});
  xt::xtensor<float, 1> vector = {1, 2, 3};
  as_tensor(vector)[2] = 7;
  CHECK(vector(2) == 7);
}
