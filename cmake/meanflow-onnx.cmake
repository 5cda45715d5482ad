# SPDX-License-Identifier: MIT
# meanflow::onnx, where protozero is: nets as ONNX files. Included by the project and by its installed
# package. Sets MEANFLOW_ONNX_FOUND.
set(MEANFLOW_ONNX_FOUND OFF)
find_path(MEANFLOW_PROTOZERO_INCLUDE_DIR protozero/pbf_writer.hpp)
if(MEANFLOW_PROTOZERO_INCLUDE_DIR)
  set(MEANFLOW_ONNX_FOUND ON)
  if(NOT TARGET meanflow::onnx)
    add_library(meanflow_onnx INTERFACE)
    add_library(meanflow::onnx ALIAS meanflow_onnx)
    target_link_libraries(meanflow_onnx INTERFACE meanflow::meanflow)
    target_include_directories(meanflow_onnx SYSTEM INTERFACE ${MEANFLOW_PROTOZERO_INCLUDE_DIR})
  endif()
endif()
