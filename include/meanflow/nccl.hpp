// SPDX-License-Identifier: MIT
/// \file
/// Training runs of several GPUs by NCCL. Link `meanflow::nccl` and compile with nvcc.
#pragma once

#include <meanflow/cuda.hpp>
#include <meanflow/nccl/communicator.hpp>
