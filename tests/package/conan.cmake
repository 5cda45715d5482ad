# SPDX-License-Identifier: MIT
# A copy, since Conan builds beside the sources of the test.
file(COPY ${SOURCE}/test_package DESTINATION $ENV{CONAN_HOME})
execute_process(COMMAND ${CONAN} profile detect --exist-ok COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CONAN} create ${SOURCE} --no-remote
  --test-folder $ENV{CONAN_HOME}/test_package
  -o "meanflow/*:dependencies=system"
  COMMAND_ERROR_IS_FATAL ANY)
