// SPDX-License-Identifier: MIT
#include "training.hpp"

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <meanflow/io/file.hpp>
#include <meanflow/kernels/report.hpp>
#include <meanflow/train/agreement.hpp>
#include <meanflow/train/checkpoint.hpp>

#include "configuration.hpp"
#include "data.hpp"
#include "model.hpp"
#include "nets.hpp"
#include "on_cuda.hpp"

namespace cifar10 {

namespace {

/// An existing training run must be this one.
void check_same_training(const std::filesystem::path& workdir, const Settings& settings,
                         const ImageFormat& format, const std::string& data) {
  const auto latest = meanflow::latest_checkpoint(workdir / "checkpoints");
  if (!latest) return;
  const Identity before = identity_of(*latest);
  if (const auto differs = difference(settings, before.settings))
    throw meanflow::SettingError(workdir.string() + " holds another training run: " + *differs +
                                 "; use its settings or another --workdir");
  if (format != before.format)
    throw meanflow::SettingError(workdir.string() +
                                 " holds another training run: its pictures have another format");
  if (!before.data.empty() && data != before.data)
    throw meanflow::SettingError(workdir.string() + " holds another training run: that of " +
                                 before.data + ", not " + data +
                                 "; use its data or another --workdir");
}

/// Two programs in one folder would write over each other's files.
class WorkdirLock {
 public:
  explicit WorkdirLock(const std::filesystem::path& workdir)
      : descriptor_(::open((workdir / ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)) {
    if (descriptor_ >= 0 && ::flock(descriptor_, LOCK_EX | LOCK_NB) == 0) return;
    const bool taken = descriptor_ >= 0 && errno == EWOULDBLOCK;
    const std::string why = std::strerror(errno);
    if (descriptor_ >= 0) ::close(descriptor_);
    throw meanflow::FileError(
        workdir.string() +
        (taken ? ": another cifar10 train is using this folder" : " cannot be written to: " + why));
  }
  WorkdirLock(const WorkdirLock&) = delete;
  WorkdirLock& operator=(const WorkdirLock&) = delete;
  ~WorkdirLock() { ::close(descriptor_); }

 private:
  int descriptor_;
};

/// Throws meanflow::SettingError if this process is configured otherwise than the root.
void check_same_settings(const meanflow::AnyCommunicator& processes, const Settings& settings) {
  const std::string root = text_of_root(processes, to_yaml(settings));
  in_all(processes, [&] {
    if (const auto differs = difference(settings, parse_configuration(root, "the root's settings")))
      throw meanflow::SettingError("this process is configured otherwise than the root: " +
                                   *differs);
  });
}

void report_kernels() {
  const meanflow::KernelReport kernels = meanflow::kernel_report();
  std::fprintf(stderr, "kernels: %s\n", to_string(kernels).c_str());
}

void write_text(const std::filesystem::path& path, const std::string& text) {
  meanflow::AtomicFile file(path);
  file.write(text);
  file.commit();
}

}  // namespace

void train(const TrainRequest& request) {
  if (request.teacher.empty() && request.teacher_guidance != 1)
    throw meanflow::SettingError("--teacher-guidance is for a --teacher, but there is none");
  if (request.where.cuda) use_gpu(request.where.number);
  Run run;
  run.settings = read_configuration(request.config, request.changes);
  run.workdir = request.workdir;
  run.processes = request.processes;
  run.quiet = request.quiet || !is_root(run.processes);
  run.init = request.init;
  run.teacher = request.teacher;
  run.teacher_guidance = request.teacher_guidance;
  if (run.settings.data.kind == DataKind::latents) {
    run.latents = std::make_shared<const meanflow::LatentSet>(meanflow::load_latents(request.data));
    run.format = format_of(*run.latents);
    run.data = fingerprint(*run.latents);
    if (run.settings.data.flip && !run.latents->flipped && !run.quiet)
      std::fprintf(stderr, "data.flip is true, but there are no latents of mirrored images\n");
  } else {
    run.images = load_pictures(run.settings.data, request.data).training;
    run.format = format_of(run.images);
    run.data = fingerprint(run.images);
  }
  if (run.settings.data.labels && run.format.classes == 0)
    throw meanflow::SettingError("data.labels is true, but the pictures of " +
                                 request.data.string() + " have no classes; set it to false");
  check_net(run.settings, run.format);
  check_same_settings(run.processes, run.settings);
  check_same(run.processes, "the data", run.data);
  std::optional<WorkdirLock> lock;
  by_root(run.processes, [&] {
    check_same_training(run.workdir, run.settings, run.format, run.data);
    std::error_code failure;
    std::filesystem::create_directories(run.workdir, failure);
    if (failure)
      throw meanflow::FileError(run.workdir.string() + " cannot be created: " + failure.message());
    lock.emplace(run.workdir);
    write_text(run.workdir / "config.yaml", to_yaml(run.settings));
  });
  if (!run.quiet) report_kernels();
  if (request.where.cuda) return train_on_cuda(std::move(run));
  constexpr std::array trains{train_mean_flow_net, train_song_unet, train_dit,
                              train_imf_transformer, train_attention_unet};
  static_assert(trains.size() == std::variant_size_v<NetSettings>);
  trains[run.settings.net.index()](std::move(run));
}

}  // namespace cifar10
