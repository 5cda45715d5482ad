// SPDX-License-Identifier: MIT
#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/optim/muon.hpp>
#include <meanflow/tensor/eigen.hpp>

#include "one_parameter.hpp"

using namespace meanflow;
using test::numbers;
using test::Values;

namespace {

using Matrix = Eigen::MatrixXd;

Matrix as_matrix(const Values& x) { return as_eigen(x.reshaped({x.rows(), x.row_size()})); }

// Newton and Schulz's iteration as the source prints it, for wide matrices.
Matrix newton_schulz(Matrix x) {
  const bool tall = x.rows() > x.cols();
  if (tall) x.transposeInPlace();
  x /= x.norm() + 1e-7;
  for (int step = 0; step < 5; ++step) {
    const Matrix a = x * x.transpose(), b = -4.7750 * a + 2.0315 * a * a;
    x = (3.4445 * x + b * x).eval();
  }
  if (tall) x.transposeInPlace();
  return x;
}

}  // namespace

TEST_CASE("matrices are made nearly orthogonal, with their own singular vectors") {
  for (const Shape& shape : {Shape{5, 12}, Shape{12, 5}, Shape{8, 8}, Shape{1, 7}}) {
    INFO(to_string(shape));
    Values x = numbers(shape, 3);
    const Matrix given = as_matrix(x), expected = newton_schulz(given);
    detail::orthogonalize(shape[0], shape[1], x);
    CHECK((as_matrix(x) - expected).norm() <= 1e-12 * expected.norm());
    const Eigen::JacobiSVD<Matrix> svd(as_matrix(x));
    CHECK(svd.singularValues().minCoeff() > 0.3);
    CHECK(svd.singularValues().maxCoeff() < 1.3);
    // U V^T of the matrix itself maximises the inner product; this is not far from it.
    const double nuclear = Eigen::JacobiSVD<Matrix>(given).singularValues().sum();
    CHECK((given.array() * as_matrix(x).array()).sum() > 0.6 * nuclear);
  }
}

TEST_CASE("a step of Muon: matrices, convolutions as matrices, and Adam for the rest") {
  const Muon muon{.momentum = 0.9, .weight_decay = 0.1};
  Parameters<double> parameters;
  const auto add = [&](const std::string& name, const Shape& shape, std::uint64_t seed) {
    std::ranges::copy(numbers(shape, seed).span(), parameters.add(name, shape).data());
  };
  add("matrix", {6, 4}, 1);
  add("bias", {7}, 2);
  add("conv", {3, 2, 3, 3}, 3);
  const Values start = parameters.values().clone();
  ParameterUpdate<Muon, double, Cpu> update(parameters, muon);
  const Parameters<double> bias = test::parameters_of(numbers({7}, 2));
  ParameterUpdate<Adam, double, Cpu> adam(bias, Adam{});
  Matrix matrix = as_matrix(parameters["matrix"].tensor().clone()),
         conv = as_matrix(parameters["conv"].tensor().clone());
  Matrix m = Matrix::Zero(6, 4), c = Matrix::Zero(3, 18);
  for (std::uint64_t step = 0; step < 3; ++step) {
    Values g = numbers({parameters.flat_size()}, step + 10);
    const auto part = [&](const char* name) {
      const auto p = parameters[name];
      return Values::borrow(g.data() + p.offset(), p.shape());
    };
    const auto expect = [&](Matrix& p, Matrix& momentum, const Matrix& gradient) {
      momentum = 0.9 * momentum + gradient;
      const double length = 0.2 * std::sqrt(static_cast<double>(std::max(p.rows(), p.cols())));
      p = (p * (1 - 0.02 * 0.1) - 0.02 * length * newton_schulz(gradient + 0.9 * momentum)).eval();
    };
    expect(matrix, m, as_matrix(part("matrix")));
    expect(conv, c, as_matrix(part("conv")));
    adam.step(bias, test::flat(part("bias").clone()), 0.02);
    update.step(parameters, g, 0.02);
  }
  CHECK((as_matrix(parameters["matrix"].tensor()) - matrix).norm() <= 1e-12);
  CHECK((as_matrix(parameters["conv"].tensor()) - conv).norm() <= 1e-12);
  CHECK(test::relative_error(parameters["bias"].tensor().clone(), bias["p"].tensor().clone()) <=
        1e-14);
}

TEST_CASE("Muon changes nothing where the gradient is not finite") {
  const Parameters<double> parameters = test::parameters_of(numbers({6, 4}, 1));
  ParameterUpdate<Muon, double, Cpu> update(parameters, Muon{});
  const Values before = parameters.values().clone();
  Values g = numbers({parameters.flat_size()}, 2);
  g[3] = std::numeric_limits<double>::quiet_NaN();
  update.step(parameters, g, 0.1);
  CHECK(test::same_bits(parameters.values(), before));
  CHECK(test::same_bits(update.state()[0], Values::zeros({parameters.flat_size()})));
}
