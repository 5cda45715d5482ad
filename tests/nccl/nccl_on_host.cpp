// SPDX-License-Identifier: MIT
// The functions of NCCL that the library calls, for threads in place of GPUs, on the host's memory.
#include <atomic>
#include <barrier>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <nccl.h>

namespace {

struct Meeting {
  explicit Meeting(std::size_t size) : parts(size), barrier(static_cast<std::ptrdiff_t>(size)) {}
  std::vector<const void*> parts;
  std::barrier<> barrier;
};

std::mutex meetings_mutex;
std::map<std::string, std::weak_ptr<Meeting>> meetings;  // by id
std::atomic<int> ids = 0;

template <class T>
void add_up(const Meeting& meeting, std::size_t count, T* sums) {
  for (std::size_t i = 0; i < count; ++i) {
    sums[i] = 0;
    for (const void* part : meeting.parts) sums[i] += static_cast<const T*>(part)[i];
  }
}

}  // namespace

struct ncclComm {
  std::shared_ptr<Meeting> meeting;
  std::size_t rank;

  /// combine(), while every thread's numbers are where they were brought.
  template <class F>
  ncclResult_t meet(const void* own, std::size_t bytes, F combine) {
    const std::vector<char> brought(static_cast<const char*>(own),
                                    static_cast<const char*>(own) + bytes);
    meeting->parts[rank] = brought.data();
    meeting->barrier.arrive_and_wait();
    combine();
    meeting->barrier.arrive_and_wait();
    return ncclSuccess;
  }
};

extern "C" {

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  *id = {};
  std::memcpy(id->internal, "host", 4);
  const int number = ++ids;
  std::memcpy(id->internal + 4, &number, sizeof number);
  return ncclSuccess;
}

ncclResult_t ncclCommInitRank(ncclComm_t* comm, int size, ncclUniqueId id, int rank) {
  if (std::memcmp(id.internal, "host", 4) != 0) return ncclInvalidArgument;
  std::shared_ptr<Meeting> meeting;
  {
    const std::lock_guard lock(meetings_mutex);
    std::weak_ptr<Meeting>& known = meetings[std::string(id.internal, sizeof id.internal)];
    meeting = known.lock();
    if (!meeting) known = meeting = std::make_shared<Meeting>(static_cast<std::size_t>(size));
  }
  *comm = new ncclComm{meeting, static_cast<std::size_t>(rank)};
  meeting->barrier.arrive_and_wait();
  return ncclSuccess;
}

ncclResult_t ncclAllReduce(const void* from, void* to, std::size_t count, ncclDataType_t type,
                           ncclRedOp_t sum, ncclComm_t comm, cudaStream_t /*stream*/) {
  if (sum != ncclSum || (type != ncclFloat32 && type != ncclFloat64)) return ncclInvalidArgument;
  const std::size_t width = type == ncclFloat32 ? sizeof(float) : sizeof(double);
  return comm->meet(from, count * width, [&] {
    if (type == ncclFloat32)
      add_up(*comm->meeting, count, static_cast<float*>(to));
    else
      add_up(*comm->meeting, count, static_cast<double*>(to));
  });
}

ncclResult_t ncclBroadcast(const void* from, void* to, std::size_t count, ncclDataType_t type,
                           int rank, ncclComm_t comm, cudaStream_t /*stream*/) {
  const std::size_t width = type == ncclUint8 ? 1 : type == ncclFloat32 ? 4 : 8;
  return comm->meet(from, count * width, [&] {
    std::memcpy(to, comm->meeting->parts[static_cast<std::size_t>(rank)], count * width);
  });
}

ncclResult_t ncclGroupStart() { return ncclSuccess; }
ncclResult_t ncclGroupEnd() { return ncclSuccess; }
ncclResult_t ncclCommGetAsyncError(ncclComm_t /*comm*/, ncclResult_t* status) {
  *status = ncclSuccess;
  return ncclSuccess;
}
ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  delete comm;
  return ncclSuccess;
}
ncclResult_t ncclCommAbort(ncclComm_t comm) { return ncclCommDestroy(comm); }
const char* ncclGetErrorString(ncclResult_t result) {
  return result == ncclSuccess ? "no error" : "invalid argument";
}

}  // extern "C"
