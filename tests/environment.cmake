# SPDX-License-Identifier: MIT
# Read by CTest: where tests share the cores, OpenMP's threads that spin while they wait make them a
# hundred times as slow.
if(NOT DEFINED ENV{OMP_WAIT_POLICY})
  set(ENV{OMP_WAIT_POLICY} passive)
endif()
