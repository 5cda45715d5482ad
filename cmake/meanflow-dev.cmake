# SPDX-License-Identifier: MIT
# What this project's own programs are compiled with; none of it reaches a consumer.
add_library(meanflow_dev INTERFACE)
target_link_libraries(meanflow_dev INTERFACE meanflow::meanflow)
target_compile_options(meanflow_dev INTERFACE -Wall -Wextra $<$<BOOL:${MEANFLOW_WERROR}>:-Werror>)
if(MEANFLOW_NATIVE)
  target_compile_options(meanflow_dev INTERFACE -march=native)
endif()
