# SPDX-License-Identifier: MIT
# What meanflow links. Included by the project itself and by its installed package, so that both
# find the same things in the same way. Sets MEANFLOW_OPENBLAS_LIBRARY and MEANFLOW_ONEDNN_FOUND.
include(CMakeFindDependencyMacro)

# In the package, something missing makes the package not found; in the project it is an error.
macro(meanflow_find)
  if(CMAKE_FIND_PACKAGE_NAME STREQUAL "meanflow")
    find_dependency(${ARGV})
  else()
    find_package(${ARGV} REQUIRED)
  endif()
endmacro()

macro(meanflow_missing message)
  if(CMAKE_FIND_PACKAGE_NAME STREQUAL "meanflow")
    set(meanflow_FOUND FALSE)
    set(meanflow_NOT_FOUND_MESSAGE "${message}")
    return()
  else()
    message(FATAL_ERROR "${message}")
  endif()
endmacro()

if((CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 16) OR
   (CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 12))
  meanflow_missing("meanflow needs GCC 12 or Clang 16, but the compiler is \
${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}.")
endif()
meanflow_find(Threads)
find_package(OpenMP QUIET COMPONENTS CXX)
if(NOT OpenMP_CXX_FOUND)
  meanflow_missing("meanflow needs OpenMP, which ${CMAKE_CXX_COMPILER_ID} \
${CMAKE_CXX_COMPILER_VERSION} does not find: Clang needs the library of its own version (Debian: \
libomp-16-dev for clang-16).")
endif()
meanflow_find(Eigen3 3.4)
meanflow_find(xsimd)
meanflow_find(xtl)
meanflow_find(xtensor)
meanflow_find(xtensor-blas)
meanflow_find(nlohmann_json)
meanflow_find(PNG)
meanflow_find(JPEG)
meanflow_find(ZLIB)

# OpenBLAS: the OpenMP build first, since its own threads and OpenMP's get in each other's way.
if(NOT TARGET meanflow_openblas)
  find_library(MEANFLOW_OPENBLAS_LIBRARY openblas PATH_SUFFIXES openblas-openmp openblas)
  find_path(MEANFLOW_OPENBLAS_INCLUDE_DIR cblas.h
    HINTS /usr/include/${CMAKE_LIBRARY_ARCHITECTURE}
    PATH_SUFFIXES openblas-openmp openblas)
  if(NOT MEANFLOW_OPENBLAS_LIBRARY OR NOT MEANFLOW_OPENBLAS_INCLUDE_DIR)
    meanflow_missing("meanflow needs OpenBLAS with its cblas.h (Debian: libopenblas-openmp-dev).")
  endif()
  add_library(meanflow_openblas INTERFACE IMPORTED)
  target_link_libraries(meanflow_openblas INTERFACE ${MEANFLOW_OPENBLAS_LIBRARY})
  target_include_directories(meanflow_openblas INTERFACE ${MEANFLOW_OPENBLAS_INCLUDE_DIR})
endif()

if(NOT TARGET meanflow_random123)
  find_path(MEANFLOW_RANDOM123_INCLUDE_DIR Random123/philox.h)
  if(NOT MEANFLOW_RANDOM123_INCLUDE_DIR)
    meanflow_missing("meanflow needs Random123/philox.h (Debian: librandom123-dev).")
  endif()
  add_library(meanflow_random123 INTERFACE IMPORTED)
  target_include_directories(meanflow_random123 INTERFACE ${MEANFLOW_RANDOM123_INCLUDE_DIR})
endif()

if(NOT TARGET meanflow_nanoflann)
  find_path(MEANFLOW_NANOFLANN_INCLUDE_DIR nanoflann.hpp)
  if(NOT MEANFLOW_NANOFLANN_INCLUDE_DIR)
    meanflow_missing("meanflow needs nanoflann.hpp (Debian: libnanoflann-dev).")
  endif()
  add_library(meanflow_nanoflann INTERFACE IMPORTED)
  target_include_directories(meanflow_nanoflann INTERFACE ${MEANFLOW_NANOFLANN_INCLUDE_DIR})
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
    meanflow_missing("MEANFLOW_WITH_ONEDNN is ON, but oneDNN was not found (Debian: libdnnl-dev).")
  endif()
endif()
