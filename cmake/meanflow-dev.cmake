# SPDX-License-Identifier: MIT
# What this project's own programs are compiled with; none of it reaches a consumer.
add_library(meanflow_dev INTERFACE)
target_link_libraries(meanflow_dev INTERFACE meanflow::meanflow)
target_compile_options(meanflow_dev INTERFACE -Wall -Wextra $<$<BOOL:${MEANFLOW_WERROR}>:-Werror>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # False alarms of GCC 12: in its own AVX-512 header (GCC bug 105593) and for "x" + std::string.
  target_compile_options(meanflow_dev INTERFACE -Wno-uninitialized -Wno-maybe-uninitialized -Wno-restrict)
endif()
if(MEANFLOW_NATIVE)
  target_compile_options(meanflow_dev INTERFACE -march=native)
endif()
