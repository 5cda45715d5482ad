// SPDX-License-Identifier: MIT
/// \file
/// Training runs of many processes by MPI. Link `meanflow::mpi`.
#pragma once

#include <meanflow/meanflow.hpp>
#include <meanflow/mpi/communicator.hpp>
#include <meanflow/mpi/session.hpp>
