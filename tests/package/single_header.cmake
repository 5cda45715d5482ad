# SPDX-License-Identifier: MIT
# Makes the single header, compiles a program with it alone, without warnings, and runs it.
file(MAKE_DIRECTORY ${FOLDER})
execute_process(COMMAND ${SOURCE}/scripts/single-header ${FOLDER}/meanflow_dual.hpp
  COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${COMPILER} -std=c++20 -Wall -Wextra -Wpedantic -Werror -I${FOLDER}
  ${SOURCE}/tests/package/single_header/main.cpp -o ${FOLDER}/consumer COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${FOLDER}/consumer COMMAND_ERROR_IS_FATAL ANY)
