// SPDX-License-Identifier: MIT
/// \file
/// Where a GPU's time goes, kernel by kernel, by the activity records of CUPTI, which is loaded
/// when it is asked for. Where Thrust runs on the host: how often what is asked for.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <meanflow/cuda.hpp>

#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA
#include <cstdlib>

#include <cupti.h>
#include <cxxabi.h>
#include <dlfcn.h>
#endif

namespace bench {

/// Calls, microseconds in all (a GPU's) and elements (the host's) by the name of what was done.
struct Spent {
  std::uint64_t calls = 0;
  double microseconds = 0;
  double elements = 0;
};
using Profile = std::map<std::string, Spent>;

#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA

namespace detail {

inline Profile& records() {
  static Profile all;
  return all;
}

[[nodiscard]] inline std::string demangled(const char* name) {
  int status = 0;
  char* text = abi::__cxa_demangle(name, nullptr, nullptr, &status);
  const std::string result = status == 0 ? text : name;
  std::free(text);
  return result;
}

/// The functions of CUPTI that are used here.
struct Cupti {
  decltype(&cuptiActivityRegisterCallbacks) register_callbacks;
  decltype(&cuptiActivityEnable) enable;
  decltype(&cuptiActivityDisable) disable;
  decltype(&cuptiActivityFlushAll) flush;
  decltype(&cuptiActivityGetNextRecord) next;

  static const Cupti& get() {
    static const Cupti loaded;
    return loaded;
  }

 private:
  Cupti() {
    void* library = nullptr;
    for (const char* name : {"libcupti.so.13", "libcupti.so.12", "libcupti.so"})
      if (!library) library = dlopen(name, RTLD_NOW);
    if (!library) throw std::runtime_error("a profile needs libcupti of the CUDA toolkit");
    find(library, "cuptiActivityRegisterCallbacks", register_callbacks);
    find(library, "cuptiActivityEnable", enable);
    find(library, "cuptiActivityDisable", disable);
    find(library, "cuptiActivityFlushAll", flush);
    find(library, "cuptiActivityGetNextRecord", next);
  }
  template <class F>
  static void find(void* library, const char* name, F& function) {
    function = reinterpret_cast<F>(dlsym(library, name));
    if (!function) throw std::runtime_error(std::string("libcupti has no ") + name);
  }
};

inline void check(CUptiResult status, const char* call) {
  if (status != CUPTI_SUCCESS)
    throw std::runtime_error(std::string(call) + " failed: " + std::to_string(status));
}

inline void add(const std::string& name, std::uint64_t start, std::uint64_t end) {
  Spent& spent = records()[name];
  ++spent.calls;
  spent.microseconds += 1e-3 * static_cast<double>(end - start);
}

inline void CUPTIAPI give_buffer(std::uint8_t** buffer, std::size_t* size, std::size_t* limit) {
  *size = std::size_t{4} << 20;
  *buffer = static_cast<std::uint8_t*>(std::aligned_alloc(8, *size));
  *limit = 0;
}

inline void CUPTIAPI take_buffer(CUcontext, std::uint32_t, std::uint8_t* buffer, std::size_t,
                                 std::size_t used) {
  CUpti_Activity* record = nullptr;
  while (Cupti::get().next(buffer, used, &record) == CUPTI_SUCCESS) {
    if (record->kind == CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) {
      const auto* kernel = reinterpret_cast<const CUpti_ActivityKernel9*>(record);
      add(demangled(kernel->name), kernel->start, kernel->end);
    } else if (record->kind == CUPTI_ACTIVITY_KIND_MEMCPY) {
      const auto* copy = reinterpret_cast<const CUpti_ActivityMemcpy5*>(record);
      add("memory copy", copy->start, copy->end);
    } else if (record->kind == CUPTI_ACTIVITY_KIND_MEMSET) {
      const auto* fill = reinterpret_cast<const CUpti_ActivityMemset4*>(record);
      add("memory fill", fill->start, fill->end);
    }
  }
  std::free(buffer);
}

}  // namespace detail

/// What the device does in f().
template <class F>
[[nodiscard]] Profile profile_of(F f) {
  const auto& cupti = detail::Cupti::get();
  constexpr CUpti_ActivityKind kinds[] = {CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL,
                                          CUPTI_ACTIVITY_KIND_MEMCPY, CUPTI_ACTIVITY_KIND_MEMSET};
  meanflow::kernels::wait(meanflow::Cuda{});
  detail::check(cupti.register_callbacks(detail::give_buffer, detail::take_buffer),
                "cuptiActivityRegisterCallbacks");
  for (const CUpti_ActivityKind kind : kinds)
    detail::check(cupti.enable(kind), "cuptiActivityEnable");
  detail::records().clear();
  f();
  meanflow::kernels::wait(meanflow::Cuda{});
  detail::check(cupti.flush(0), "cuptiActivityFlushAll");
  for (const CUpti_ActivityKind kind : kinds)
    detail::check(cupti.disable(kind), "cuptiActivityDisable");
  return std::exchange(detail::records(), {});
}

#else

template <class F>
[[nodiscard]] Profile profile_of(F f) {
  auto& work = meanflow::kernels::cuda::work();
  work = {};
  f();
  return {{"kernels", {work.launches, 0, static_cast<double>(work.elements)}},
          {"products", {work.products, 0, 0}},
          {"convolutions", {work.convolutions, 0, 0}},
          {"copies", {work.copies, 0, 0}},
          {"transfers", {work.transfers, 0, 0}}};
}

#endif

/// As CSV, what takes longest first.
inline void write_profile(const std::string& path, const Profile& profile) {
  std::FILE* file = std::fopen(path.c_str(), "w");
  if (!file) throw std::runtime_error(path + " cannot be written");
  std::vector<std::pair<std::string, Spent>> rows(profile.begin(), profile.end());
  std::stable_sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) {
    return a.second.microseconds > b.second.microseconds;
  });
  std::fprintf(file, "microseconds,calls,elements,name\n");
  for (const auto& [name, spent] : rows) {
    std::string quoted;
    for (const char c : name) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
    std::fprintf(file, "%.2f,%llu,%.0f,\"%s\"\n", spent.microseconds,
                 static_cast<unsigned long long>(spent.calls), spent.elements, quoted.c_str());
  }
  if (std::fclose(file) != 0) throw std::runtime_error(path + " cannot be written");
}

}  // namespace bench
