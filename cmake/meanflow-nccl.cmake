# SPDX-License-Identifier: MIT
# meanflow::nccl, where NCCL is beside CUDA: training runs of several GPUs. Included by the project
# and by its installed package, after meanflow-cuda.cmake. Sets MEANFLOW_NCCL_FOUND and
# MEANFLOW_NCCL_INCLUDE_DIR.
set(MEANFLOW_NCCL_FOUND OFF)
find_path(MEANFLOW_NCCL_INCLUDE_DIR nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
find_library(MEANFLOW_NCCL_LIBRARY nccl HINTS ${CUDAToolkit_LIBRARY_DIR})
if(MEANFLOW_CUDA_FOUND AND MEANFLOW_NCCL_INCLUDE_DIR AND MEANFLOW_NCCL_LIBRARY)
  set(MEANFLOW_NCCL_FOUND ON)
  if(NOT TARGET meanflow::nccl)
    add_library(meanflow_nccl INTERFACE)
    add_library(meanflow::nccl ALIAS meanflow_nccl)
    target_link_libraries(meanflow_nccl INTERFACE meanflow::cuda ${MEANFLOW_NCCL_LIBRARY})
    target_include_directories(meanflow_nccl INTERFACE ${MEANFLOW_NCCL_INCLUDE_DIR})
  endif()
endif()
