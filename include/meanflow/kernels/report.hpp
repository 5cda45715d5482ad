// SPDX-License-Identifier: MIT
/// \file
/// Which kernels a program runs on, and whether they make full use of the processor.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include <omp.h>
#include <xsimd/xsimd.hpp>

#include <meanflow/kernels/convolution_algorithm.hpp>
#include <meanflow/kernels/onednn/engine.hpp>
#include <meanflow/kernels/precision.hpp>
#include <meanflow/kernels/warnings.hpp>

// OpenBLAS's own queries; absent if another BLAS is linked.
extern "C" {
[[gnu::weak]] char* openblas_get_config();
[[gnu::weak]] char* openblas_get_corename();
[[gnu::weak]] int openblas_get_parallel();
}

namespace meanflow {

/// What the CPU device runs on.
struct KernelReport {
  std::string blas;    ///< "OpenBLAS 0.3.21 (Cooperlake, OpenMP)"
  std::string onednn;  ///< "oneDNN 2.6.3", or empty if the build has none
  /// What computes convolutions of 3 x 3 with stride 1 and many channels, by the calling thread's
  /// `ConvolutionAlgorithm`: "Winograd" or "direct".
  std::string convolutions;
  std::string vectors;  ///< instructions of the element-wise kernels, as compiled: "avx512bw"
  std::size_t threads = 1;
  std::vector<std::string> warnings;  ///< one sentence each; empty if all is well
};

namespace detail {

/// Vector width in bits that the processor offers, of those that matter here.
[[nodiscard]] inline std::size_t processor_vector_bits() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return 512;
  if (__builtin_cpu_supports("avx2")) return 256;
#endif
  return 128;
}

/// Vector width in bits of the OpenBLAS kernels of that name.
[[nodiscard]] inline std::size_t openblas_vector_bits(std::string_view core) {
  constexpr std::array wide{"SkylakeX", "Cooperlake", "Sapphirerapids", "SapphireRapids"};
  constexpr std::array middle{"Haswell", "Zen", "Excavator"};
  const auto is = [core](std::string_view name) { return core == name; };
  if (std::any_of(wide.begin(), wide.end(), is)) return 512;
  if (std::any_of(middle.begin(), middle.end(), is)) return 256;
  return 128;
}

/// That OpenBLAS has chosen the kernels `core`, because it was asked to (`chosen`, or null) or
/// because the processor is newer than OpenBLAS.
[[nodiscard]] inline std::string warning_of_old_kernels(const std::string& core, std::size_t bits,
                                                        const char* chosen) {
  return "OpenBLAS runs its " + core + " kernels, but this processor has " + std::to_string(bits) +
         "-bit vectors: products may take twice as long. " +
         (chosen ? std::string("Unset OPENBLAS_CORETYPE in the environment.")
                 : "Set OPENBLAS_CORETYPE=" + std::string(bits == 512 ? "SkylakeX" : "Haswell") +
                       " in the environment.");
}

inline void describe_blas(KernelReport& report) {
  if (!openblas_get_corename || !openblas_get_config || !openblas_get_parallel) {
    report.blas = "not OpenBLAS, or left out by the linker since nothing calls it";
    return;
  }
  const std::string config = openblas_get_config(), core = openblas_get_corename();
  const std::size_t end = config.find(' ', config.find(' ') + 1);
  const int parallel = openblas_get_parallel();  // 0: none, 1: its own, 2: OpenMP's
  const std::string threads = parallel == 2 ? "OpenMP" : parallel == 1 ? "own threads" : "1 thread";
  report.blas = config.substr(0, end) + " (" + core + ", " + threads + ")";
#if defined(__x86_64__)
  if (openblas_vector_bits(core) < processor_vector_bits())
    report.warnings.push_back(
        warning_of_old_kernels(core, processor_vector_bits(), std::getenv("OPENBLAS_CORETYPE")));
#endif
  if (parallel == 0 && report.threads > 1)
    report.warnings.push_back(
        "OpenBLAS was built without threads, so that large products use one of " +
        std::to_string(report.threads) +
        " cores: install its OpenMP build (Debian: " + "libopenblas0-openmp).");
  if (parallel == 1)
    report.warnings.emplace_back(
        "OpenBLAS was built with threads of its own, which interfere with OpenMP's: install its "
        "OpenMP build (Debian: libopenblas0-openmp).");
}

/// A warning if the threads of OpenMP spin while they wait (`policy` is OMP_WAIT_POLICY, or null)
/// although other programs keep the cores busy; else empty.
[[nodiscard]] inline std::string warning_of_spinning(const char* policy, double load,
                                                     std::size_t threads) {
  const std::string_view given = policy ? policy : "";
  if (threads < 2 || given == "passive" || given == "PASSIVE") return {};
  if (!(load > 0.5 * static_cast<double>(threads))) return {};
  char text[256];
  std::snprintf(text, sizeof text,
                "other programs use this machine (a load of %.1f on %zu threads), and OpenMP's "
                "threads spin while they wait: a training step may take ten times as long. Set "
                "OMP_WAIT_POLICY=passive in the environment.",
                load, threads);
  return text;
}

/// The average number of programs that were running during the last minute; 0 if nobody knows.
[[nodiscard]] inline double load_of_machine() {
  double load = 0;
  return getloadavg(&load, 1) == 1 ? load : 0;
}

}  // namespace detail

/// Asks the linked libraries and the processor, and adds the warnings raised by kernels so far.
[[nodiscard]] inline KernelReport kernel_report() {
  KernelReport report;
  report.threads = static_cast<std::size_t>(omp_get_max_threads());
  report.vectors = xsimd::default_arch::name();
  report.convolutions = kernels::convolution_algorithm() == ConvolutionAlgorithm::direct ||
                                kernels::precision() != Precision::float32
                            ? "direct"
                            : "Winograd";
  detail::describe_blas(report);
#ifdef MEANFLOW_WITH_ONEDNN
  const dnnl_version_t* version = dnnl_version();
  report.onednn = "oneDNN " + std::to_string(version->major) + "." +
                  std::to_string(version->minor) + "." + std::to_string(version->patch);
#endif
  const std::size_t compiled = xsimd::batch<float>::size * 32;
  if (compiled < detail::processor_vector_bits())
    report.warnings.push_back("the element-wise kernels were compiled for " + report.vectors +
                              ", but this processor has " +
                              std::to_string(detail::processor_vector_bits()) +
                              "-bit vectors: compile with -march=native.");
#ifndef __OPTIMIZE__
  report.warnings.emplace_back(
      "this program was compiled without optimisation, which makes it about ten times slower: "
      "compile with -O3 (CMake: -DCMAKE_BUILD_TYPE=Release).");
#endif
  if (const std::string spins = detail::warning_of_spinning(
          std::getenv("OMP_WAIT_POLICY"), detail::load_of_machine(), report.threads);
      !spins.empty())
    report.warnings.push_back(spins);
  const std::vector<std::string> noted = kernels::warnings_so_far();
  report.warnings.insert(report.warnings.end(), noted.begin(), noted.end());
  return report;
}

/// Prints what `kernel_report` warns of to standard error, once in a process.
inline void print_kernel_warnings_once() {
  static const bool printed = [] {
    for (const std::string& warning : kernel_report().warnings)
      std::fprintf(stderr, "meanflow: warning: %s\n", warning.c_str());
    return true;
  }();
  static_cast<void>(printed);
}

/// One line: "Winograd's convolutions, oneDNN 2.6.3, OpenBLAS 0.3.21 (Cooperlake, OpenMP),
/// avx512bw, 2 threads".
[[nodiscard]] inline std::string to_string(const KernelReport& report) {
  std::string text = report.convolutions == "Winograd" ? "Winograd's convolutions, " : "";
  text += report.onednn.empty() ? report.blas : report.onednn + ", " + report.blas;
  text += ", " + report.vectors + ", " + std::to_string(report.threads);
  return text + (report.threads == 1 ? " thread" : " threads");
}

}  // namespace meanflow
