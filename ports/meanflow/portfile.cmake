# SPDX-License-Identifier: MIT
# An overlay port of this source tree: vcpkg install meanflow --overlay-ports=ports
set(SOURCE_PATH "${CURRENT_PORT_DIR}/../..")
set(VCPKG_BUILD_TYPE release)  # headers only

set(with_onednn OFF)
if("onednn" IN_LIST FEATURES)
  set(with_onednn ON)
endif()

vcpkg_cmake_configure(
  SOURCE_PATH "${SOURCE_PATH}"
  OPTIONS
    -DMEANFLOW_BUILD_TESTING=OFF
    -DMEANFLOW_BUILD_EXAMPLES=OFF
    -DMEANFLOW_BUILD_BENCHMARKS=OFF
    -DMEANFLOW_INSTALL=ON
    -DMEANFLOW_WITH_ONEDNN=${with_onednn})
vcpkg_cmake_install()
vcpkg_cmake_config_fixup(CONFIG_PATH lib/cmake/meanflow)
file(REMOVE_RECURSE "${CURRENT_PACKAGES_DIR}/lib")
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE")
