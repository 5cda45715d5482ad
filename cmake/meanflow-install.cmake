# SPDX-License-Identifier: MIT
include(CMakePackageConfigHelpers)
set(meanflow_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/meanflow)
# Two sets, so that meanflow::scalar can be installed without the packages that meanflow::meanflow needs.
install(TARGETS meanflow_scalar EXPORT meanflow-scalar-targets FILE_SET HEADERS)
install(TARGETS meanflow EXPORT meanflow-targets FILE_SET HEADERS)
install(EXPORT meanflow-scalar-targets NAMESPACE meanflow:: DESTINATION ${meanflow_package_dir})
install(EXPORT meanflow-targets NAMESPACE meanflow:: DESTINATION ${meanflow_package_dir})
configure_file(cmake/meanflow-config.cmake.in meanflow-config.cmake @ONLY)
write_basic_package_version_file(meanflow-config-version.cmake
  COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES
  ${CMAKE_CURRENT_BINARY_DIR}/meanflow-config.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/meanflow-config-version.cmake
  cmake/meanflow-cuda.cmake
  cmake/meanflow-dependencies.cmake
  cmake/meanflow-mpi.cmake
  cmake/meanflow-nccl.cmake
  cmake/meanflow-onnx.cmake
  DESTINATION ${meanflow_package_dir})
