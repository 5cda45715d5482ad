# SPDX-License-Identifier: MIT
file(GLOB_RECURSE meanflow_headers CONFIGURE_DEPENDS
  RELATIVE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/include/meanflow/*.hpp)
set(meanflow_scalar_headers ${meanflow_headers})
list(FILTER meanflow_scalar_headers INCLUDE REGEX "^meanflow/(config\\.hpp|scalar/)")
list(REMOVE_ITEM meanflow_headers ${meanflow_scalar_headers})
list(TRANSFORM meanflow_headers PREPEND ${PROJECT_SOURCE_DIR}/include/)
list(TRANSFORM meanflow_scalar_headers PREPEND ${PROJECT_SOURCE_DIR}/include/)

# Dual<T> alone: the standard library and nothing else.
add_library(meanflow_scalar INTERFACE)
add_library(meanflow::scalar ALIAS meanflow_scalar)
set_target_properties(meanflow_scalar PROPERTIES EXPORT_NAME scalar)
target_compile_features(meanflow_scalar INTERFACE cxx_std_20)
target_sources(meanflow_scalar INTERFACE FILE_SET HEADERS
  BASE_DIRS ${PROJECT_SOURCE_DIR}/include FILES ${meanflow_scalar_headers})

add_library(meanflow INTERFACE)
add_library(meanflow::meanflow ALIAS meanflow)
target_sources(meanflow INTERFACE FILE_SET HEADERS
  BASE_DIRS ${PROJECT_SOURCE_DIR}/include FILES ${meanflow_headers})
target_link_libraries(meanflow INTERFACE
  meanflow_scalar
  Eigen3::Eigen xsimd xtensor xtensor-blas nlohmann_json::nlohmann_json PNG::PNG JPEG::JPEG ZLIB::ZLIB
  OpenMP::OpenMP_CXX Threads::Threads
  meanflow_openblas meanflow_random123 meanflow_nanoflann $<TARGET_NAME_IF_EXISTS:meanflow_onednn>)
