// SPDX-License-Identifier: MIT
/// \file
/// The processes of a training run on several GPUs, one process to each.
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include <nccl.h>

#include <meanflow/error.hpp>
#include <meanflow/io/file.hpp>
#include <meanflow/kernels/cuda/context.hpp>
#include <meanflow/kernels/cuda/memory.hpp>
#include <meanflow/nccl/watch.hpp>
#include <meanflow/tensor/tensor.hpp>
#include <meanflow/tensor/transfer.hpp>
#include <meanflow/train/agreement.hpp>
#include <meanflow/train/communicator.hpp>

namespace meanflow {

struct NcclSettings {
  /// How long a process waits for the others before it ends the program, its own work of a step
  /// included, since the device does both without the host.
  std::chrono::duration<double> timeout = std::chrono::seconds(600);
};

/// A call of NCCL that failed.
struct NcclError : Error {
  using Error::Error;
};

namespace detail {

inline void check_nccl(ncclResult_t status, const std::string& call) {
  if (status == ncclSuccess) return;
  throw NcclError("NCCL: " + call + " failed on " + kernels::cuda::device_text() + ": " +
                  ncclGetErrorString(status));
}

template <class T>
  requires std::same_as<T, float> || std::same_as<T, double> || std::same_as<T, std::uint8_t>
[[nodiscard]] constexpr ncclDataType_t nccl_type() {
  if constexpr (std::same_as<T, std::uint8_t>) return ncclUint8;
  return std::same_as<T, float> ? ncclFloat32 : ncclFloat64;
}

/// Where the calling thread's work goes.
[[nodiscard]] inline cudaStream_t nccl_stream() {
#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA
  return kernels::cuda::context().stream;
#else
  return nullptr;
#endif
}

/// What NCCL's processes find each other by, by way of a file.
[[nodiscard]] inline ncclUniqueId id_by_file(const std::filesystem::path& path, std::size_t rank) {
  ncclUniqueId id{};
  if (rank == 0) {
    if (std::filesystem::exists(path))
      throw FileError(quoted(path) +
                      " is there already: another training run uses it, or left it "
                      "when it was killed.");
    check_nccl(ncclGetUniqueId(&id), "ncclGetUniqueId");
    AtomicFile file(path);
    file.write(std::as_bytes(std::span(&id, 1)));
    file.commit();
    return id;
  }
  for (;; std::this_thread::sleep_for(std::chrono::milliseconds(20)))
    if (std::ifstream file(path, std::ios::binary);
        file.read(reinterpret_cast<char*>(&id), sizeof id))
      return id;
}

}  // namespace detail

/// `Communicator` for tensors of the device `Cuda`, by NCCL. One process works on each GPU: choose
/// it (`use_cuda_device`) before this is made, in all processes, and use this from the thread that
/// makes it. Sums of tensors only queue work, so that training steps are recorded and replayed.
///
/// A process that waits longer than the timeout, or is told by NCCL that another one is gone, ends
/// with a sentence and the exit code 1.
class NcclCommunicator {
 public:
  using Settings = NcclSettings;
  static constexpr bool recordable = true;

  /// The processes find each other by way of another communicator, such as `MpiCommunicator`.
  template <Communicator<float> C>
  explicit NcclCommunicator(C start, const Settings& settings = {})
      : NcclCommunicator(start.rank(), start.size(), settings, [&] {
          ncclUniqueId id{};
          by_root(start, [&] { detail::check_nccl(ncclGetUniqueId(&id), "ncclGetUniqueId"); });
          start.broadcast({id.internal, sizeof id.internal}, 0);
          return id;
        }) {}

  /// They find each other by way of a file that all of them see, which must not be there yet, and
  /// is not there afterwards. Throws FileError in the root if it is, or cannot be written; the
  /// others then end after the timeout.
  NcclCommunicator(const std::filesystem::path& file, std::size_t rank, std::size_t size,
                   const Settings& settings = {})
      : NcclCommunicator(rank, size, settings, [&] { return detail::id_by_file(file, rank); }) {
    std::error_code ignored;
    if (rank == 0) std::filesystem::remove(file, ignored);  // all have read it
  }

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::size_t rank() const { return rank_; }

  template <std::floating_point T, std::derived_from<kernels::Cuda> Device>
  void all_reduce(Tensor<T, Device>& values) const {
    detail::check_nccl(
        ncclAllReduce(values.data(), values.data(), values.size(), detail::nccl_type<T>(), ncclSum,
                      held_->comm, detail::nccl_stream()),
        "ncclAllReduce of " + std::to_string(values.size()) + " numbers");
  }
  void all_reduce(std::span<double> numbers) const {
    by_way_of_device(numbers, [this](auto& values) { all_reduce(values); });
  }
  void broadcast(std::span<char> bytes, std::size_t rank) const {
    by_way_of_device(std::span(reinterpret_cast<std::uint8_t*>(bytes.data()), bytes.size()),
                     [&](auto& values) { broadcast(values.data(), values.size(), rank); });
  }
  /// Gives all processes the values [bounds[k], bounds[k + 1]) of each process k.
  template <std::floating_point T, std::derived_from<kernels::Cuda> Device>
  void all_gather(Tensor<T, Device>& values, std::span<const std::size_t> bounds) const {
    detail::check_nccl(ncclGroupStart(), "ncclGroupStart");
    for (std::size_t k = 0; k < size_; ++k)
      broadcast(values.data() + bounds[k], bounds[k + 1] - bounds[k], k);
    detail::check_nccl(ncclGroupEnd(), "ncclGroupEnd");
  }

  /// The host will wait for sums that are queued now, or are part of what is replayed.
  void expect() const { held_->watch.begin(); }

 private:
  struct Held {
    explicit Held(const Settings& settings) : watch(settings.timeout) {}
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;
    ~Held() {
      watch.look_after(nullptr);
      if (!comm) return;
      watch.begin();
      // Others are not waited for once an exception ends this process.
      static_cast<void>(std::uncaught_exceptions() == 0 ? ncclCommDestroy(comm)
                                                        : ncclCommAbort(comm));
    }
    ncclComm_t comm = nullptr;
    detail::NcclWatch watch;
  };

  /// While in scope this process waits for the others.
  class Waiting {
   public:
    explicit Waiting(detail::NcclWatch& watch) : watch_(watch) { watch.begin(); }
    Waiting(const Waiting&) = delete;
    Waiting& operator=(const Waiting&) = delete;
    ~Waiting() { watch_.end(); }

   private:
    detail::NcclWatch& watch_;
  };

  template <class Id>
  NcclCommunicator(std::size_t rank, std::size_t size, const Settings& settings, Id id)
      : rank_(rank), size_(size), held_(std::make_shared<Held>(settings)) {
    const Waiting waiting(held_->watch);
    const ncclUniqueId common = id();
    static_cast<void>(detail::nccl_stream());  // the thread's device is chosen now
    detail::check_nccl(
        ncclCommInitRank(&held_->comm, static_cast<int>(size), common, static_cast<int>(rank)),
        "ncclCommInitRank");
    held_->watch.look_after(held_->comm);
  }

  template <class T>
  void broadcast(T* values, std::size_t count, std::size_t rank) const {
    detail::check_nccl(ncclBroadcast(values, values, count, detail::nccl_type<T>(),
                                     static_cast<int>(rank), held_->comm, detail::nccl_stream()),
                       "ncclBroadcast of " + std::to_string(count) + " numbers");
  }

  /// f(values) of a copy on the device, which the host waits for.
  template <class T, class F>
  void by_way_of_device(std::span<T> numbers, F f) const {
    if (numbers.empty()) return;
    Tensor<T, kernels::Cuda> values({numbers.size()});
    write(values, numbers.data());
    const Waiting waiting(held_->watch);
    f(values);
    device_traits<kernels::Cuda>::to_host(numbers.size_bytes(), values.data(), numbers.data());
  }

  std::size_t rank_, size_;
  std::shared_ptr<Held> held_;
};

}  // namespace meanflow
