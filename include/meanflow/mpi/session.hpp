// SPDX-License-Identifier: MIT
/// \file
/// MPI in a program: its beginning and end, and the threads that a process of it should use.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <mpi.h>
#include <omp.h>
#include <sched.h>

#include <meanflow/error.hpp>

namespace meanflow {

/// MPI from here to the end of its life: have one, in main, and destroy it on the thread that made
/// it. Does nothing in a program that has begun MPI itself.
class MpiSession {
 public:
  /// Throws Error if this MPI does not let a program have threads.
  explicit MpiSession(int* argc = nullptr, char*** argv = nullptr) {
    int begun = 0, provided = 0;
    MPI_Initialized(&begun);
    owns_ = begun == 0;
    if (owns_)
      MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided);
    else
      MPI_Query_thread(&provided);
    if (provided < MPI_THREAD_FUNNELED)
      throw Error("MPI: MPI_THREAD_FUNNELED is needed, but this MPI does not provide it");
  }
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;
  ~MpiSession() {
    if (owns_) MPI_Finalize();
  }

 private:
  bool owns_ = false;
};

namespace detail {

/// The processors that this process may run on.
[[nodiscard]] inline cpu_set_t own_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  return set;
}

}  // namespace detail

/// The threads that each process should use: the processors that it may run on, shared with the
/// other processes of the same machine that may run on the same ones. At least 1. All processes of
/// `comm` call this.
[[nodiscard]] inline int threads_of_process(MPI_Comm comm = MPI_COMM_WORLD) {
  MPI_Comm machine;
  MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &machine);
  int processes = 1;
  MPI_Comm_size(machine, &processes);
  cpu_set_t own = detail::own_processors();
  std::vector<cpu_set_t> all(static_cast<std::size_t>(processes));
  MPI_Allgather(&own, sizeof own, MPI_BYTE, all.data(), sizeof own, MPI_BYTE, machine);
  MPI_Comm_free(&machine);
  const auto sharing =
      std::count_if(all.begin(), all.end(), [&](cpu_set_t& set) { return CPU_EQUAL(&set, &own); });
  return std::max(1, CPU_COUNT(&own) / static_cast<int>(sharing));
}

/// Makes OpenMP use that many threads, unless OMP_NUM_THREADS says otherwise; then warns once, from
/// the root, if the processes of a machine have more threads than it has processors. All processes
/// of `comm` call this.
inline void use_threads_of_process(MPI_Comm comm = MPI_COMM_WORLD) {
  const int fitting = threads_of_process(comm);
  if (!std::getenv("OMP_NUM_THREADS")) omp_set_num_threads(fitting);
  int rank = 0, too_many = omp_get_max_threads() > fitting ? 1 : 0;
  MPI_Comm_rank(comm, &rank);
  MPI_Allreduce(MPI_IN_PLACE, &too_many, 1, MPI_INT, MPI_MAX, comm);
  if (rank == 0 && too_many)
    std::fprintf(stderr,
                 "meanflow: warning: each process uses %d threads, but there are processors for "
                 "%d: they will wait for each other. Set OMP_NUM_THREADS=%d.\n",
                 omp_get_max_threads(), fitting, fitting);
}

}  // namespace meanflow
