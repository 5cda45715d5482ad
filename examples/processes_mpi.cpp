// SPDX-License-Identifier: MIT
#include <chrono>
#include <thread>

#include <omp.h>

#include <meanflow/mpi/communicator.hpp>
#include <meanflow/mpi/session.hpp>

#include "processes.hpp"

namespace examples {

struct Processes::Mpi {
  Mpi(int& argc, char**& argv) : session(&argc, &argv) {}
  meanflow::MpiSession session;
};

void Processes::begin(int& argc, char**& argv) {
  if (!meanflow::started_by_mpi()) return;
  mpi_ = std::make_shared<Mpi>(argc, argv);
  set_timeout(600);
}

void Processes::set_timeout(double seconds) {
  if (mpi_)
    communicator_ = meanflow::AnyCommunicator(meanflow::MpiCommunicator(
        MPI_COMM_WORLD, {.timeout = std::chrono::duration<double>(seconds)}));
}

void Processes::use_threads(int threads) {
  if (mpi_)
    meanflow::use_threads_of_process(MPI_COMM_WORLD, threads);
  else if (threads > 0)
    omp_set_num_threads(threads);
}

std::string Processes::end_and_name() {
  if (mpi_) mpi_->session.abandon();
  if (root()) return "";
  std::this_thread::sleep_for(std::chrono::seconds(3));
  return "process " + std::to_string(communicator_.rank()) + " of " +
         std::to_string(communicator_.size()) + ": ";
}

}  // namespace examples
