# SPDX-License-Identifier: MIT
execute_process(COMMAND ${CONAN} profile detect --exist-ok COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CONAN} create ${SOURCE} --no-remote --test-folder test_package
  -s compiler.cppstd=20 -o "meanflow/*:dependencies=system"
  COMMAND_ERROR_IS_FATAL ANY)
