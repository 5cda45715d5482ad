// SPDX-License-Identifier: MIT
#include <cstdlib>

#include <omp.h>

#include <meanflow/error.hpp>

#include "processes.hpp"

namespace examples {

struct Processes::Mpi {};

void Processes::begin(int& /*argc*/, char**& /*argv*/) {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_NTASKS"}) {
    const char* const size = std::getenv(name);
    if (size && std::string(size) != "1")
      throw meanflow::Error("this is one of " + std::string(size) +
                            " processes, but the program was built without MPI: each of them would "
                            "train alone. Build it where an MPI is (Debian: libopenmpi-dev)");
  }
}

void Processes::set_timeout(double /*seconds*/) {}

void Processes::use_threads(int threads) {
  if (threads > 0) omp_set_num_threads(threads);
}

std::string Processes::end_and_name() { return ""; }

}  // namespace examples
