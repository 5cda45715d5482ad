// SPDX-License-Identifier: MIT
/// \file
/// The kernels for the processor: xsimd and OpenMP for element-wise work and reductions, oneDNN or
/// OpenBLAS (through xtensor-blas) for products. `kernels/reference.hpp` says what each computes.
#pragma once

#include <meanflow/kernels/cpu/broadcast.hpp>
#include <meanflow/kernels/cpu/device.hpp>
#include <meanflow/kernels/cpu/product.hpp>
#include <meanflow/kernels/cpu/reductions.hpp>
#include <meanflow/kernels/cpu/shapes.hpp>
#include <meanflow/kernels/cpu/threads.hpp>
#include <meanflow/kernels/elementwise.hpp>
#include <meanflow/kernels/embedding.hpp>
#include <meanflow/kernels/random.hpp>
#include <meanflow/kernels/reference.hpp>
#include <meanflow/kernels/rows.hpp>
