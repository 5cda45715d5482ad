// SPDX-License-Identifier: MIT
/// \file
/// Named tensors in safetensors files (https://github.com/huggingface/safetensors): the length of
/// the header in 8 bytes, a JSON header, and the raw row-major data, all little-endian.
#pragma once

#include <meanflow/io/safetensors_dtype.hpp>   // IWYU pragma: export
#include <meanflow/io/safetensors_reader.hpp>  // IWYU pragma: export
#include <meanflow/io/safetensors_writer.hpp>  // IWYU pragma: export
