# SPDX-License-Identifier: MIT
# meanflow::mpi, where an MPI is (Open MPI, MPICH): training runs of many processes. Included by the
# project and by its installed package. Sets MEANFLOW_MPI_FOUND.
set(MEANFLOW_MPI_FOUND OFF)
# The interface of C, whose library find_package cannot look for in a project without that language;
# the C++ compiler's wrapper names the same one. The bindings of C++ are gone from MPI.
set(MPI_CXX_SKIP_MPICXX ON)
find_package(MPI QUIET COMPONENTS CXX)
if(MPI_CXX_FOUND)
  set(MEANFLOW_MPI_FOUND ON)
  if(NOT TARGET meanflow::mpi)
    add_library(meanflow_mpi INTERFACE)
    add_library(meanflow::mpi ALIAS meanflow_mpi)
    target_link_libraries(meanflow_mpi INTERFACE meanflow::meanflow MPI::MPI_CXX)
  endif()
endif()
