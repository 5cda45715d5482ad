// SPDX-License-Identifier: MIT
/// \file
/// The device `Cuda`: every net, objective and trainer over tensors of `Tensor<float, Cuda>`. Link
/// `meanflow::cuda` and compile with nvcc; with -DTHRUST_DEVICE_SYSTEM=THRUST_DEVICE_SYSTEM_OMP any
/// compiler accepts it, and the same code runs on the processor.
#pragma once

#include <meanflow/kernels/cuda/attention.hpp>
#include <meanflow/kernels/cuda/broadcast.hpp>
#include <meanflow/kernels/cuda/conv.hpp>
#include <meanflow/kernels/cuda/device.hpp>
#include <meanflow/kernels/cuda/dropout.hpp>
#include <meanflow/kernels/cuda/graph.hpp>
#include <meanflow/kernels/cuda/norm.hpp>
#include <meanflow/kernels/cuda/product.hpp>
#include <meanflow/kernels/cuda/reductions.hpp>
#include <meanflow/kernels/cuda/rope.hpp>
#include <meanflow/kernels/cuda/row_norm.hpp>
#include <meanflow/kernels/cuda/shapes.hpp>
#include <meanflow/meanflow.hpp>
