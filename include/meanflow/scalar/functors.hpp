// SPDX-License-Identifier: MIT
/// \file
/// The scalar functions as stateless types, to be passed to kernels as template arguments.
/// (Types and not objects: device code cannot name a function object of namespace scope.)
/// One of two operands that is linear in them, f(a, b) = p a + q b, may say so: then its tangents
/// are f(da, db), and its backward rule needs no operands.
#pragma once

#include <meanflow/scalar/math.hpp>

namespace meanflow {

struct Exp {
  static constexpr const char* name = "exp";
  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T operator()(const T& x) const {
    return exp(x);
  }
};

struct Log {
  static constexpr const char* name = "log";
  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T operator()(const T& x) const {
    return log(x);
  }
};

struct Sqrt {
  static constexpr const char* name = "sqrt";
  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T operator()(const T& x) const {
    return sqrt(x);
  }
};

struct Square {
  static constexpr const char* name = "square";
  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T operator()(const T& x) const {
    return square(x);
  }
};

struct Sin {
  static constexpr const char* name = "sin";
  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T operator()(const T& x) const {
    return sin(x);
  }
};

struct Cos {
  static constexpr const char* name = "cos";
  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T operator()(const T& x) const {
    return cos(x);
  }
};

struct Tanh {
  static constexpr const char* name = "tanh";
  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T operator()(const T& x) const {
    return tanh(x);
  }
};

struct Erf {
  static constexpr const char* name = "erf";
  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T operator()(const T& x) const {
    return erf(x);
  }
};

struct Sigmoid {
  static constexpr const char* name = "sigmoid";
  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T operator()(const T& x) const {
    return sigmoid(x);
  }
};

struct Silu {
  static constexpr const char* name = "silu";
  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T operator()(const T& x) const {
    return silu(x);
  }
};

struct Gelu {
  static constexpr const char* name = "gelu";
  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T operator()(const T& x) const {
    return gelu(x);
  }
};

struct GeluTanh {
  static constexpr const char* name = "gelu_tanh";
  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T operator()(const T& x) const {
    return gelu_tanh(x);
  }
};

struct Softplus {
  static constexpr const char* name = "softplus";
  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T operator()(const T& x) const {
    return softplus(x);
  }
};

struct Relu {
  static constexpr const char* name = "relu";
  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T operator()(const T& x) const {
    return relu(x);
  }
};

struct Abs {
  static constexpr const char* name = "abs";
  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T operator()(const T& x) const {
    return abs(x);
  }
};

struct Negate {
  static constexpr const char* name = "negate";
  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T operator()(const T& x) const {
    return -x;
  }
};

struct Identity {
  static constexpr const char* name = "identity";
  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T operator()(const T& x) const {
    return x;
  }
};

struct Add {
  static constexpr const char* name = "add";
  static constexpr bool linear = true;
  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T operator()(const T& a, const T& b) const {
    return a + b;
  }
};

struct Subtract {
  static constexpr const char* name = "subtract";
  static constexpr bool linear = true;
  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T operator()(const T& a, const T& b) const {
    return a - b;
  }
};

struct Multiply {
  static constexpr const char* name = "multiply";
  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T operator()(const T& a, const T& b) const {
    return a * b;
  }
};

struct Divide {
  static constexpr const char* name = "divide";
  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T operator()(const T& a, const T& b) const {
    return a / b;
  }
};

struct Maximum {
  static constexpr const char* name = "maximum";
  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T operator()(const T& a, const T& b) const {
    return meanflow::max(a, b);
  }
};

struct Minimum {
  static constexpr const char* name = "minimum";
  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T operator()(const T& a, const T& b) const {
    return meanflow::min(a, b);
  }
};

/// a sigmoid(a) b, the gate of SwiGLU (Shazeer, arXiv 2002.05202)
struct Swiglu {
  static constexpr const char* name = "swiglu";
  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T operator()(const T& a, const T& b) const {
    return silu(a) * b;
  }
};

}  // namespace meanflow
