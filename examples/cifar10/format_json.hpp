// SPDX-License-Identifier: MIT
// How the format of pictures is written to files.
#pragma once

#include <nlohmann/json.hpp>

#include "settings.hpp"

namespace cifar10 {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ImageFormat, height, width, channels, classes)

}  // namespace cifar10
