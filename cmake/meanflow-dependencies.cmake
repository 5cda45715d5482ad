# SPDX-License-Identifier: MIT
# What meanflow links. Included by the project itself and by its installed package, so that both
# find the same things in the same way. Sets MEANFLOW_OPENBLAS_LIBRARY and MEANFLOW_ONEDNN_FOUND.
include(CMakeFindDependencyMacro)

find_dependency(Threads)
find_dependency(OpenMP COMPONENTS CXX)
find_dependency(Eigen3 3.4)
find_dependency(xsimd)
find_dependency(xtl)
find_dependency(xtensor)
find_dependency(xtensor-blas)
find_dependency(nlohmann_json)
find_dependency(PNG)

# OpenBLAS: the OpenMP build first, since its own threads and OpenMP's get in each other's way.
if(NOT TARGET meanflow_openblas)
  find_library(MEANFLOW_OPENBLAS_LIBRARY openblas PATH_SUFFIXES openblas-openmp openblas REQUIRED)
  find_path(MEANFLOW_OPENBLAS_INCLUDE_DIR cblas.h
    HINTS /usr/include/${CMAKE_LIBRARY_ARCHITECTURE}
    PATH_SUFFIXES openblas-openmp openblas REQUIRED)
  add_library(meanflow_openblas INTERFACE IMPORTED)
  target_link_libraries(meanflow_openblas INTERFACE ${MEANFLOW_OPENBLAS_LIBRARY})
  target_include_directories(meanflow_openblas INTERFACE ${MEANFLOW_OPENBLAS_INCLUDE_DIR})
endif()

if(NOT TARGET meanflow_random123)
  find_path(MEANFLOW_RANDOM123_INCLUDE_DIR Random123/philox.h REQUIRED)
  add_library(meanflow_random123 INTERFACE IMPORTED)
  target_include_directories(meanflow_random123 INTERFACE ${MEANFLOW_RANDOM123_INCLUDE_DIR})
endif()

set(MEANFLOW_ONEDNN_FOUND OFF)
if(NOT MEANFLOW_WITH_ONEDNN STREQUAL "OFF")
  # Only its configuration file: Debian's also looks for OpenCL, which is not needed to link it.
  find_library(MEANFLOW_ONEDNN_LIBRARY dnnl)
  find_path(MEANFLOW_ONEDNN_INCLUDE_DIR oneapi/dnnl/dnnl.h)
  if(MEANFLOW_ONEDNN_LIBRARY AND MEANFLOW_ONEDNN_INCLUDE_DIR)
    set(MEANFLOW_ONEDNN_FOUND ON)
    if(NOT TARGET meanflow_onednn)
      add_library(meanflow_onednn INTERFACE IMPORTED)
      target_link_libraries(meanflow_onednn INTERFACE ${MEANFLOW_ONEDNN_LIBRARY})
      target_include_directories(meanflow_onednn INTERFACE ${MEANFLOW_ONEDNN_INCLUDE_DIR})
      target_compile_definitions(meanflow_onednn INTERFACE MEANFLOW_WITH_ONEDNN=1)
    endif()
  elseif(MEANFLOW_WITH_ONEDNN STREQUAL "ON")
    message(FATAL_ERROR "MEANFLOW_WITH_ONEDNN is ON, but oneDNN was not found (Debian: libdnnl-dev).")
  endif()
endif()
