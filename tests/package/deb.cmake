# SPDX-License-Identifier: MIT
# Makes the Debian package in FOLDER and unpacks it there, without the rights of an administrator.
file(REMOVE_RECURSE ${FOLDER})
file(MAKE_DIRECTORY ${FOLDER})
execute_process(COMMAND ${CPACK} -G DEB --config ${BUILD}/CPackConfig.cmake -B ${FOLDER}
  COMMAND_ERROR_IS_FATAL ANY)
file(GLOB package ${FOLDER}/*.deb)
execute_process(COMMAND dpkg-deb --info ${package} COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND dpkg-deb --extract ${package} ${FOLDER}/unpacked COMMAND_ERROR_IS_FATAL ANY)
