// SPDX-License-Identifier: MIT
/// \file
/// MPI in a program: its beginning and end, and the threads that a process of it should use.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <vector>

#include <mpi.h>
#include <omp.h>
#include <sched.h>

#include <meanflow/error.hpp>

namespace meanflow {

namespace detail {

/// Whether this process ends without the others.
[[nodiscard]] inline bool& mpi_is_abandoned() {
  static bool abandoned = false;
  return abandoned;
}

}  // namespace detail

/// MPI from here to the end of its life: have one, in main, and destroy it on the thread that made
/// it. Does nothing in a program that has begun MPI itself.
///
/// When an exception ends its life, it does not finish MPI, which would wait for processes that may
/// wait for this one: the program should then end with an exit code that is not 0, by which mpirun
/// knows that it has to end the others.
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
    if (owns_ && !detail::mpi_is_abandoned() && std::uncaught_exceptions() == exceptions_)
      MPI_Finalize();
  }

  /// Does nothing together with others at the end: for a program that has caught the exception that
  /// ends it.
  void abandon() { detail::mpi_is_abandoned() = true; }

 private:
  bool owns_ = false;
  int exceptions_ = std::uncaught_exceptions();
};

/// Whether a launcher of MPI, such as mpirun, has started this process: for a program that runs
/// without MPI else.
[[nodiscard]] inline bool started_by_mpi() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"})
    if (std::getenv(name)) return true;
  return false;
}

namespace detail {

/// The processes of the same machine.
class Machine {
 public:
  explicit Machine(MPI_Comm all) {
    MPI_Comm_split_type(all, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &comm_);
  }
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;
  ~Machine() { MPI_Comm_free(&comm_); }

  [[nodiscard]] MPI_Comm comm() const { return comm_; }
  [[nodiscard]] int size() const {
    int size = 1;
    MPI_Comm_size(comm_, &size);
    return size;
  }
  [[nodiscard]] int rank() const {
    int rank = 0;
    MPI_Comm_rank(comm_, &rank);
    return rank;
  }

 private:
  MPI_Comm comm_;
};

/// 1 for each processor that this process may run on.
[[nodiscard]] inline std::vector<int> own_processors() {
  constexpr int most = 8192;
  cpu_set_t* const set = CPU_ALLOC(most);
  const std::size_t bytes = CPU_ALLOC_SIZE(most);
  CPU_ZERO_S(bytes, set);
  sched_getaffinity(0, bytes, set);
  std::vector<int> own(most);
  for (int k = 0; k < most; ++k) own[static_cast<std::size_t>(k)] = CPU_ISSET_S(k, bytes, set) != 0;
  CPU_FREE(set);
  return own;
}

}  // namespace detail

/// The number of this process among those of the same machine, from 0: for example that of the GPU
/// which it should use. All processes of `comm` call this.
[[nodiscard]] inline int rank_on_machine(MPI_Comm comm = MPI_COMM_WORLD) {
  return detail::Machine(comm).rank();
}

/// The threads that each process should use: the processors that it may run on, each shared with
/// the other processes of the same machine that may run on it. At least 1. All processes of `comm`
/// call this.
[[nodiscard]] inline int threads_of_process(MPI_Comm comm = MPI_COMM_WORLD) {
  const detail::Machine machine(comm);
  const std::vector<int> own = detail::own_processors();
  std::vector<int> users = own;
  MPI_Allreduce(MPI_IN_PLACE, users.data(), static_cast<int>(users.size()), MPI_INT, MPI_SUM,
                machine.comm());
  double share = 0;
  for (std::size_t k = 0; k < own.size(); ++k)
    if (own[k]) share += 1.0 / users[k];
  return std::max(1, static_cast<int>(share + 1e-6));
}

/// Makes OpenMP use that many threads, unless OMP_NUM_THREADS or `threads` says otherwise; then
/// warns once if the processes of a machine have more threads than it has processors. All processes
/// of `comm` call this.
inline void use_threads_of_process(MPI_Comm comm = MPI_COMM_WORLD, int threads = 0) {
  const int fitting = threads_of_process(comm);
  if (threads > 0)
    omp_set_num_threads(threads);
  else if (!std::getenv("OMP_NUM_THREADS"))
    omp_set_num_threads(fitting);
  int rank = 0;
  MPI_Comm_rank(comm, &rank);
  struct {
    int too_many, rank;
  } worst{omp_get_max_threads() - fitting, rank};
  MPI_Allreduce(MPI_IN_PLACE, &worst, 1, MPI_2INT, MPI_MAXLOC, comm);
  if (rank == worst.rank && worst.too_many > 0)
    std::fprintf(stderr,
                 "meanflow: warning: process %d uses %d threads, but there are processors for %d: "
                 "they will wait for each other. Set OMP_NUM_THREADS=%d.\n",
                 rank, omp_get_max_threads(), fitting, fitting);
}

}  // namespace meanflow
