// SPDX-License-Identifier: MIT
#include "cuda/transfer.test.cpp"
