// SPDX-License-Identifier: MIT
/// \file
/// Training batches of pictures, shuffled and augmented, and a wrapper that prepares the next batch
/// of any source while the current one is in use.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <omp.h>

#include <meanflow/data/augment.hpp>
#include <meanflow/data/epoch_order.hpp>
#include <meanflow/data/image_set.hpp>
#include <meanflow/error.hpp>
#include <meanflow/kernels/cpu.hpp>
#include <meanflow/nn/condition.hpp>
#include <meanflow/random/philox.hpp>
#include <meanflow/tensor/checksum.hpp>
#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

struct ImageSourceSettings {
  bool flip = false;                     ///< mirror or not, evenly; not told to the net
  std::optional<AugmentPipe> augment{};  ///< told to the net by `ImageCondition::augmentation`
  bool labels = true;                    ///< pass on the set's labels, if it has any
};

/// The pictures of a set, scaled to [-1, 1], each once per epoch in a random order.
///
/// Row r of batch n, of B rows, is at the place p = n B + r of all epochs: picture
/// permutation(N, seed, p / N)[p % N]. It is flipped and augmented by numbers from
/// RandomStream(seed, Purpose::augmentation, 0, p). So a row is a function of (seed, p), whatever
/// the number of threads and processes and the batches asked for before.
///
/// Keeps the order of the current epoch: use an object from one thread at a time. Copies share the
/// pictures.
class ImageSource {
 public:
  using Settings = ImageSourceSettings;
  using condition_type = ImageCondition<float>;

  /// Throws ShapeError if there are no pictures or the members of the set do not fit together.
  /// Throws SettingError if a setting is out of range.
  explicit ImageSource(std::shared_ptr<const ImageSet> images, const Settings& settings = {})
      : images_(std::move(images)), settings_(settings) {
    if (!images_) throw SettingError("ImageSource: there is no image set.");
    images_->check();
    if (settings_.augment) settings_.augment->check();
  }
  explicit ImageSource(ImageSet images, const Settings& settings = {})
      : ImageSource(std::make_shared<const ImageSet>(std::move(images)), settings) {}

  [[nodiscard]] const ImageSet& images() const { return *images_; }
  [[nodiscard]] const Settings& settings() const { return settings_; }

  /// (H, W, C).
  [[nodiscard]] Shape row_shape() const {
    return {images_->height, images_->width, images_->channels};
  }

  /// A text that differs where the pictures or their classes do.
  [[nodiscard]] std::string description() const {
    const ImageSet& set = *images_;
    return std::to_string(set.count) + " pictures, checksums " +
           detail::checksum(std::span<const std::uint8_t>(set.pixels)) + " and " +
           detail::checksum(std::span<const std::int32_t>(set.labels));
  }

  /// Writes the pictures of a batch.
  /// \param x (B, H, W, C)
  /// Throws ShapeError if x has another shape.
  void fill(Tensor<float>& x, std::uint64_t seed, std::uint64_t number) {
    check_shape(x);
    write_images(x, seed, number);
  }

  /// Writes the pictures of a batch, and new tensors with what `condition` gives for it.
  void fill(Tensor<float>& x, ImageCondition<float>& condition, std::uint64_t seed,
            std::uint64_t number) {
    fill(x, seed, number);
    condition = this->condition(x.rows(), seed, number);
  }

  /// What the net is told about a batch of `rows` rows: labels (B) if the set has any and the
  /// settings want them, augmentation (B, label_count()) if there is augmentation with labels; the
  /// rest is empty.
  [[nodiscard]] ImageCondition<float> condition(std::size_t rows, std::uint64_t seed,
                                                std::uint64_t number) {
    ImageCondition<float> condition;
    if (settings_.labels && !images_->labels.empty()) {
      condition.labels = Tensor<std::int32_t>({rows});
      const std::vector<std::uint32_t>& chosen = choose(rows, seed, number);
      for (std::size_t i = 0; i < rows; ++i) condition.labels[i] = images_->labels[chosen[i]];
    }
    const std::size_t told = settings_.augment ? settings_.augment->label_count() : 0;
    if (told > 0) {
      condition.augmentation = Tensor<float>({rows, told});
      for (std::size_t i = 0; i < rows; ++i) {
        static_cast<void>(draw(seed, number * rows + i, {condition.augmentation.row(i), told}));
      }
    }
    return condition;
  }

 private:
  struct Change {
    bool flip = false;
    AffineMap map{};
  };

  void check_shape(const Tensor<float>& x) const {
    Shape expected{x.rows()};
    for (const std::size_t extent : row_shape()) expected.push_back(extent);
    if (x.shape() != expected) {
      throw_shape_error("ImageSource::fill", x.shape(), expected, "the batch before the pictures");
    }
  }

  /// What becomes of the picture at a place of all epochs.
  [[nodiscard]] Change draw(std::uint64_t seed, std::uint64_t place, std::span<float> told) const {
    RandomStream random(seed, Purpose::augmentation, 0, place);
    Change change;
    change.flip = random.below(2) == 1 && settings_.flip;
    if (settings_.augment) {
      change.map = settings_.augment->draw(random, images_->height, images_->width, told);
    }
    return change;
  }

  void write_images(Tensor<float>& x, std::uint64_t seed, std::uint64_t number) {
    const std::vector<std::uint32_t>& chosen = choose(x.rows(), seed, number);
    const ImageSet& set = *images_;
    const std::size_t grain = 8;
    parallel_for(Cpu{}, x.rows(), grain, [&](std::size_t first, std::size_t last) {
      std::vector<float> told(settings_.augment ? settings_.augment->label_count() : 0);
      std::vector<float> unmoved(set.image_size());
      for (std::size_t row = first; row < last; ++row) {
        const Change change = draw(seed, number * x.rows() + row, told);
        const std::span<float> out(x.row(row), set.image_size());
        const bool moves = change.map != AffineMap{};
        const std::span<float> image = moves ? std::span(unmoved) : out;
        set.to_unit(chosen[row], image);
        if (change.flip) flip_horizontal(image, set.height, set.width, set.channels);
        if (moves) warp_image(image, out, set.height, set.width, set.channels, change.map);
      }
    });
  }

  /// The pictures of a batch.
  const std::vector<std::uint32_t>& choose(std::size_t rows, std::uint64_t seed,
                                           std::uint64_t number) {
    return order_.choose(rows, images_->count, seed, number);
  }

  std::shared_ptr<const ImageSet> images_;
  Settings settings_;
  detail::EpochOrder order_;
};

/// A source (`DataSource`) whose next batch is prepared on a thread of its own after batch n has
/// been handed out: n + 1, or n + d after two that were d apart. The batches are those of the
/// source itself: one that was not foreseen (another seed, number or shape) is prepared when it is
/// asked for.
///
/// What the source throws on that thread reaches whoever asks for that batch; the next call starts
/// anew. Calls must come from one thread at a time. The destructor waits for the batch in progress.
template <class Source>
class Prefetched {
 public:
  /// Whether the source gives conditions: `fill(x, condition, seed, number)`.
  using condition_type = typename detail::SourceCondition<Source, NoCondition<float>>::type;
  static constexpr bool has_conditions =
      requires(Source& source, Tensor<float>& x, condition_type& condition, std::uint64_t number) {
        source.fill(x, condition, number, number);
      };

  explicit Prefetched(Source source)
      : source_(std::move(source)),
        row_shape_(std::as_const(source_).row_shape()),
        worker_([this](const std::stop_token& stop) { work(stop); }) {}

  [[nodiscard]] Shape row_shape() const { return row_shape_; }

  /// What the source says of its data, before the first batch.
  [[nodiscard]] std::string description() const
    requires requires(const Source& source) { std::string(source.description()); }
  {
    return source_.description();
  }

  /// Writes the rows x (B, ...) of a batch, as the source does.
  void fill(Tensor<float>& x, std::uint64_t seed, std::uint64_t number) {
    condition_type unused;
    hand_out(x, unused, seed, number);
  }

  /// Writes the rows of a batch and their conditions, as the source does.
  void fill(Tensor<float>& x, condition_type& condition, std::uint64_t seed, std::uint64_t number)
    requires has_conditions
  {
    hand_out(x, condition, seed, number);
  }

 private:
  enum class State { idle, busy, ready };

  /// What is prepared. It belongs to the worker while that is busy, else to the caller.
  struct Batch {
    std::uint64_t seed = 0, number = 0;
    Tensor<float> x;
    condition_type condition;
    std::exception_ptr failure;
  };

  void produce(Tensor<float>& x, condition_type& condition, std::uint64_t seed,
               std::uint64_t number) {
    if constexpr (has_conditions) {
      source_.fill(x, condition, seed, number);
    } else {
      source_.fill(x, seed, number);
    }
  }

  void hand_out(Tensor<float>& x, condition_type& condition, std::uint64_t seed,
                std::uint64_t number) {
    const bool is_ready = wait_for_worker() == State::ready;
    const std::exception_ptr failure = std::exchange(next_.failure, nullptr);
    if (is_ready && next_.seed == seed && next_.number == number && next_.x.shape() == x.shape()) {
      if (failure) std::rethrow_exception(failure);
      copy(Cpu{}, x.size(), next_.x.data(), x.data());
      condition = std::exchange(next_.condition, {});
    } else {
      produce(x, condition, seed, number);
    }
    const bool goes_on = last_seed_ == seed && last_number_ && number > *last_number_;
    const std::uint64_t distance = goes_on ? number - *last_number_ : 1;
    last_seed_ = seed;
    last_number_ = number;
    order(x.shape(), seed, number + distance);
  }

  /// Returns what the worker has left, and leaves it idle.
  State wait_for_worker() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return state_ != State::busy; });
    return std::exchange(state_, State::idle);
  }

  void order(const Shape& shape, std::uint64_t seed, std::uint64_t number) {
    if (next_.x.empty() || next_.x.shape() != shape) next_.x = Tensor<float>(shape);
    next_.seed = seed;
    next_.number = number;
    {
      const std::lock_guard lock(mutex_);
      state_ = State::busy;
    }
    changed_.notify_all();
  }

  void work(const std::stop_token& stop) {
    omp_set_num_threads(1);  // of this thread alone: the others are busy with the current batch
    std::unique_lock lock(mutex_);
    while (changed_.wait(lock, stop, [this] { return state_ == State::busy; })) {
      if (stop.stop_requested()) return;
      lock.unlock();
      try {
        produce(next_.x, next_.condition, next_.seed, next_.number);
      } catch (...) {
        next_.failure = std::current_exception();
      }
      lock.lock();
      state_ = State::ready;
      changed_.notify_all();
    }
  }

  Source source_;
  Shape row_shape_;
  Batch next_;
  std::uint64_t last_seed_ = 0;
  std::optional<std::uint64_t> last_number_{};  // asked for last
  std::mutex mutex_;
  std::condition_variable_any changed_;
  State state_ = State::idle;
  std::jthread worker_;  // last: stopped and joined before the rest goes
};

}  // namespace meanflow
