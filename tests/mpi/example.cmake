# SPDX-License-Identifier: MIT
# Runs the example of the page on two processes, and again on four, which find nothing left to do.
file(REMOVE_RECURSE ${FOLDER})
file(MAKE_DIRECTORY ${FOLDER})
foreach(count IN ITEMS 2 4)
  execute_process(COMMAND ${MPIEXEC} ${NUMBER} ${count} ${PROGRAM} checkpoints
    WORKING_DIRECTORY ${FOLDER} RESULT_VARIABLE code ERROR_VARIABLE said)
  if(NOT code EQUAL 0)
    message(FATAL_ERROR "${count} processes end with ${code}: ${said}")
  endif()
endforeach()
foreach(file IN ITEMS two_moons.safetensors checkpoints/checkpoint-000002000.safetensors)
  if(NOT EXISTS ${FOLDER}/${file})
    message(FATAL_ERROR "the example has not written ${file}")
  endif()
endforeach()
