// SPDX-License-Identifier: MIT
// The library's headers are precompiled with this file's target, and that for other programs.
