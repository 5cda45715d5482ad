# SPDX-License-Identifier: MIT
# meanflow::cuda, where the CUDA toolkit and cuDNN are: the device Cuda, for sources that nvcc
# compiles. Included by the project and by its installed package. Sets MEANFLOW_CUDA_FOUND and
# MEANFLOW_THRUST_INCLUDE_DIR.
set(MEANFLOW_CUDA_FOUND OFF)
find_package(CUDAToolkit 12 QUIET)
find_path(MEANFLOW_CUDNN_INCLUDE_DIR cudnn.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
find_library(MEANFLOW_CUDNN_LIBRARY cudnn HINTS ${CUDAToolkit_LIBRARY_DIR})
# From CUDA 13 on Thrust and CUB lie in a folder of their own.
find_path(MEANFLOW_THRUST_INCLUDE_DIR thrust/for_each.h
  HINTS ${CUDAToolkit_INCLUDE_DIRS} PATH_SUFFIXES cccl)
if(CUDAToolkit_FOUND AND MEANFLOW_CUDNN_INCLUDE_DIR AND MEANFLOW_CUDNN_LIBRARY)
  set(MEANFLOW_CUDA_FOUND ON)
  if(NOT TARGET meanflow::cuda)
    add_library(meanflow_cuda INTERFACE)
    add_library(meanflow::cuda ALIAS meanflow_cuda)
    # The CUDA runtime is linked by CMake itself, the static one unless CUDA_RUNTIME_LIBRARY says
    # otherwise; naming it here would bring a second one.
    target_link_libraries(meanflow_cuda INTERFACE
      meanflow::meanflow CUDA::toolkit CUDA::cublas ${MEANFLOW_CUDNN_LIBRARY})
    target_include_directories(meanflow_cuda INTERFACE ${MEANFLOW_CUDNN_INCLUDE_DIR})
    # cuDNN 9 calls the functions deprecated that need no 100 lines for a convolution. nvcc (13.0)
    # breaks down in dnnl.hpp, so the processor's kernels in CUDA sources do without oneDNN.
    target_compile_options(meanflow_cuda INTERFACE
      "$<$<COMPILE_LANGUAGE:CUDA>:--extended-lambda;--expt-relaxed-constexpr;-Wno-deprecated-declarations;-Xcompiler=-fopenmp;-UMEANFLOW_WITH_ONEDNN>")
  endif()
endif()
