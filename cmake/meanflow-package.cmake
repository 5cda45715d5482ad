# SPDX-License-Identifier: MIT
# A Debian package, meanflow-dev_VERSION_all.deb, by `cpack -G DEB` in the build folder: the headers, what CMake
# needs to find them, and the packages that they need.
set(CPACK_PACKAGE_NAME meanflow-dev)
set(CPACK_PACKAGE_VENDOR "the authors of meanflow")
set(CPACK_PACKAGE_CONTACT "the authors of meanflow <meanflow@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_GENERATOR DEB)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_ARCHITECTURE all)
set(CPACK_DEBIAN_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "cmake (>= 3.25), libeigen3-dev, libxtensor-dev, libxtensor-blas-dev, \
libxsimd-dev, libopenblas-openmp-dev | libopenblas-dev, librandom123-dev, libnanoflann-dev, \
nlohmann-json3-dev, libpng-dev, libjpeg-dev, zlib1g-dev")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "libdnnl-dev, libprotozero-dev")
# The headers alone: libraries of the bindings are for one architecture.
set(CPACK_COMPONENTS_ALL Unspecified)
set(CPACK_DEB_COMPONENT_INSTALL OFF)
set(CPACK_INSTALL_CMAKE_PROJECTS "${PROJECT_BINARY_DIR};meanflow;Unspecified;/")
include(CPack)
