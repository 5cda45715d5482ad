# SPDX-License-Identifier: MIT
# meanflow::mpi, where an MPI is (Open MPI, MPICH): training runs of many processes. Included by the
# project and by its installed package. Sets MEANFLOW_MPI_FOUND.
set(MEANFLOW_MPI_FOUND OFF)
# The library calls MPI's functions for C. They are looked for by way of C++, since this project does
# not enable the language C; the bindings for C++, which MPI has dropped, are left out.
function(meanflow_find_mpi)
  set(MPI_CXX_SKIP_MPICXX ON)
  find_package(MPI QUIET COMPONENTS CXX)
  set(MPI_CXX_FOUND ${MPI_CXX_FOUND} PARENT_SCOPE)
endfunction()
meanflow_find_mpi()
if(MPI_CXX_FOUND)
  set(MEANFLOW_MPI_FOUND ON)
  if(NOT TARGET meanflow::mpi)
    add_library(meanflow_mpi INTERFACE)
    add_library(meanflow::mpi ALIAS meanflow_mpi)
    target_link_libraries(meanflow_mpi INTERFACE meanflow::meanflow MPI::MPI_CXX)
  endif()
endif()
