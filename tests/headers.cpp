// SPDX-License-Identifier: MIT
// Nothing: this program part exists for its precompiled headers.
