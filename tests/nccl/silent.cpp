// SPDX-License-Identifier: MIT
// A process whose root never comes.
#include <chrono>

#include <meanflow/nccl.hpp>

int main() {
  const meanflow::NcclCommunicator never("a_file_that_nobody_writes", 1, 2,
                                         {.timeout = std::chrono::seconds(1)});
}
