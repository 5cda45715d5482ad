// SPDX-License-Identifier: MIT
// The processes that a program runs in: those that mpirun started, or this one alone.
#pragma once

#include <memory>
#include <string>

#include <meanflow/train/any_communicator.hpp>

namespace examples {

/// Have one in main, outside the block that catches what the program throws.
class Processes {
 public:
  /// Begins MPI if a launcher of MPI has started this program. Throws meanflow::Error if that
  /// started several processes, but the program was built without MPI.
  void begin(int& argc, char**& argv);

  [[nodiscard]] const meanflow::AnyCommunicator& communicator() const { return communicator_; }
  [[nodiscard]] bool root() const { return is_root(communicator_); }

  /// Makes this process use that many threads; 0: all, or its share of the machine.
  void use_threads(int threads);

  /// The seconds that processes wait for each other before they end; 600 before this is called.
  void set_timeout(double seconds);

  /// To be called before an error that ends this process is printed. In other processes than the
  /// root it waits first, since they mostly have the same to say, and the root's end is theirs;
  /// then it gives what the message begins with, as in "process 2 of 4: ".
  [[nodiscard]] std::string end_and_name();

 private:
  struct Mpi;
  std::shared_ptr<Mpi> mpi_;
  meanflow::AnyCommunicator communicator_;
};

}  // namespace examples
