// SPDX-License-Identifier: MIT
/// \file
/// Convolutions of any type as products of patches, in the three directions: the oracle of cuDNN's,
/// and the fallback where it has none.
#pragma once

#include <cstddef>

#include <meanflow/kernels/conv_shape.hpp>
#include <meanflow/kernels/cuda/launch.hpp>
#include <meanflow/kernels/cuda/memory.hpp>
#include <meanflow/kernels/cuda/product.hpp>
#include <meanflow/kernels/cuda/work.hpp>

namespace meanflow::kernels::cuda {

[[nodiscard]] inline std::size_t input_size(const ConvShape& s) {
  return s.rows * s.height * s.width * s.in;
}
[[nodiscard]] inline std::size_t output_size(const ConvShape& s) {
  return s.rows * s.out_height() * s.out_width() * s.out;
}

/// The element of a patch number `column` (in, k, k) that an output pixel sees: whether it is
/// within the image, and where.
struct PatchElement {
  bool inside;
  std::size_t place;
};

[[nodiscard]] MEANFLOW_HOST_DEVICE inline PatchElement patch_element(const ConvShape& s,
                                                                     std::size_t out_width,
                                                                     std::size_t pixel,
                                                                     std::size_t column) {
  const std::size_t kx = column % s.kernel.width, ky = column / s.kernel.width % s.kernel.height;
  const std::size_t channel = column / s.kernel.size();
  const std::size_t y = pixel / out_width * s.stride + ky, x = pixel % out_width * s.stride + kx;
  const bool inside = y >= s.padding.height && y < s.height + s.padding.height &&
                      x >= s.padding.width && x < s.width + s.padding.width;
  const std::size_t pixel_of = (y - s.padding.height) * s.width + x - s.padding.width;
  return {inside, inside ? pixel_of * s.in + channel : 0};
}

/// An image's patches, (pixels, in k k): a row times w (out, in, k, k) is a pixel of the result.
template <class T>
void patches(const ConvShape& s, const T* image, T* rows) {
  const std::size_t size = s.in * s.kernel.size(), width = s.out_width();
  for_each_index(s.out_height() * width * size, [=] MEANFLOW_HOST_DEVICE(std::size_t i) {
    const PatchElement from = patch_element(s, width, i / size, i % size);
    rows[i] = from.inside ? image[from.place] : T(0);
  });
}

/// The adjoint of `patches`: each element of the image sums what the patches hold of it.
template <class T>
void sum_patches(const ConvShape& s, const T* rows, T* image) {
  const std::size_t size = s.in * s.kernel.size();
  const std::size_t height = s.out_height(), width = s.out_width();
  for_each_index(s.height * s.width * s.in, [=] MEANFLOW_HOST_DEVICE(std::size_t i) {
    const std::size_t channel = i % s.in, x = i / s.in % s.width, y = i / (s.in * s.width);
    T sum(0);
    for (std::size_t ky = 0; ky < s.kernel.height; ++ky)
      for (std::size_t kx = 0; kx < s.kernel.width; ++kx) {
        if (y + s.padding.height < ky || x + s.padding.width < kx) continue;
        const std::size_t down = y + s.padding.height - ky, right = x + s.padding.width - kx;
        if (down % s.stride != 0 || right % s.stride != 0) continue;
        if (down / s.stride >= height || right / s.stride >= width) continue;
        const std::size_t pixel = down / s.stride * width + right / s.stride;
        sum += rows[pixel * size + (channel * s.kernel.height + ky) * s.kernel.width + kx];
      }
    image[i] = sum;
  });
}

/// f(patches' memory, input image, output image) for every row; x and y as the direction has them.
/// Counts as a call of cuDNN, which has the weights reordered for it.
template <class T, class X, class Y, class F>
void for_each_image(const ConvShape& s, X* x, Y* y, F f) {
  const std::size_t pixels = s.out_height() * s.out_width();
  const std::size_t weights = s.out * s.in * s.kernel.size();
  work().launch(weights, 2 * weights * sizeof(float));
  const InPlaceOfOneCall call;
  const Scratch<T> rows(pixels * s.in * s.kernel.size());
  for (std::size_t r = 0; r < s.rows; ++r)
    f(rows.data(), x + r * s.height * s.width * s.in, y + r * pixels * s.out);
}

template <class T>
void forward(const ConvShape& s, const T* x, const T* w, T* y) {
  for_each_image<T>(s, x, y, [&](T* rows, const T* image, T* out) {
    patches(s, image, rows);
    gemm(Cuda{}, Transpose::no, Transpose::yes, s.out_height() * s.out_width(), s.out,
         s.in * s.kernel.size(), rows, w, T(0), out);
  });
}

template <class T>
void backward_data(const ConvShape& s, const T* g, const T* w, T* gx) {
  for_each_image<T>(s, gx, g, [&](T* rows, T* image, const T* up) {
    gemm(Cuda{}, Transpose::no, Transpose::no, s.out_height() * s.out_width(),
         s.in * s.kernel.size(), s.out, up, w, T(0), rows);
    sum_patches(s, rows, image);
  });
}

template <class T>
void backward_weights(const ConvShape& s, const T* x, const T* g, T* gw) {
  for_each_image<T>(s, x, g, [&](T* rows, const T* image, const T* up) {
    patches(s, image, rows);
    gemm(Cuda{}, Transpose::yes, Transpose::no, s.out, s.in * s.kernel.size(),
         s.out_height() * s.out_width(), up, rows, T(1), gw);
  });
}

}  // namespace meanflow::kernels::cuda
