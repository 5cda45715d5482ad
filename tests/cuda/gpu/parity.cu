// SPDX-License-Identifier: MIT
#include "parity.cpp"
