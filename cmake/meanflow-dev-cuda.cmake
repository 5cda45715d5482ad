# SPDX-License-Identifier: MIT
# Whether this project's own programs are compiled for NVIDIA GPUs, and with what. Sets
# MEANFLOW_BUILDS_CUDA and, where it is on, the target meanflow_cuda_dev.
set(MEANFLOW_BUILDS_CUDA OFF)
if(NOT MEANFLOW_WITH_CUDA STREQUAL "OFF")
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER AND MEANFLOW_CUDA_FOUND)
    if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
      set(CMAKE_CUDA_ARCHITECTURES 90) # an H100 or H200; another GPU: -DCMAKE_CUDA_ARCHITECTURES=native
    endif()
    if(CMAKE_CXX_COMPILER_LAUNCHER AND NOT DEFINED CMAKE_CUDA_COMPILER_LAUNCHER)
      set(CMAKE_CUDA_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})
    endif()
    enable_language(CUDA)
    # This is for the host's part of a source, where little has to be fast: with -O3 it takes half as long
    # again to compile. What runs on the GPU is optimised all the same.
    string(REPLACE "-O3" "-O2" CMAKE_CUDA_FLAGS_RELEASE "${CMAKE_CUDA_FLAGS_RELEASE}")
    set(MEANFLOW_BUILDS_CUDA ON)
  elseif(MEANFLOW_WITH_CUDA STREQUAL "ON")
    message(FATAL_ERROR "MEANFLOW_WITH_CUDA is ON, but nvcc, the CUDA toolkit or cuDNN was not found.")
  endif()
endif()

if(MEANFLOW_BUILDS_CUDA AND NOT TARGET meanflow_cuda_dev)
  add_library(meanflow_cuda_dev INTERFACE)
  target_link_libraries(meanflow_cuda_dev INTERFACE meanflow::cuda)
  # Eigen's own annotations are what number 20012 is about.
  target_compile_options(meanflow_cuda_dev INTERFACE
    "$<$<COMPILE_LANGUAGE:CUDA>:-std=c++20;-diag-suppress=20012>"
    $<$<AND:$<BOOL:${MEANFLOW_NATIVE}>,$<COMPILE_LANGUAGE:CUDA>>:-Xcompiler=-march=native>)
endif()
