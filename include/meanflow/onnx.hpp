// SPDX-License-Identifier: MIT
/// \file
/// Nets as ONNX files. Beside the library itself it needs protozero, which CMake's target
/// meanflow::onnx brings.
#pragma once

#include <meanflow/meanflow.hpp>
#include <meanflow/onnx/export.hpp>
