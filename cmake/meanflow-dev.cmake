# SPDX-License-Identifier: MIT
# What this project's own programs are compiled with; none of it reaches a consumer.
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)

add_library(meanflow_dev INTERFACE)
target_link_libraries(meanflow_dev INTERFACE meanflow::meanflow)
target_compile_options(meanflow_dev INTERFACE -Wall -Wextra $<$<BOOL:${MEANFLOW_WERROR}>:-Werror>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # False alarms of GCC 12: in its own AVX-512 header (GCC bug 105593) and inside std::string.
  target_compile_options(meanflow_dev INTERFACE
    -Wno-uninitialized -Wno-maybe-uninitialized -Wno-restrict -Wno-stringop-overflow)
endif()
if(MEANFLOW_NATIVE)
  target_compile_options(meanflow_dev INTERFACE -march=native)
endif()

# ccache, where it is installed and nothing else was asked for.
find_program(MEANFLOW_CCACHE ccache)
if(MEANFLOW_CCACHE AND NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
  # It needs to be told that precompiled headers may be trusted, and that -march=native is another
  # option on another processor.
  set(meanflow_cpu "")
  if(EXISTS /proc/cpuinfo)
    file(STRINGS /proc/cpuinfo meanflow_cpu REGEX "^(flags|Features)" LIMIT_COUNT 1)
  endif()
  string(MD5 meanflow_cpu "${meanflow_cpu}")
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
    CCACHE_SLOPPINESS=pch_defines,time_macros CCACHE_NAMESPACE=${meanflow_cpu} ${MEANFLOW_CCACHE})
endif()
