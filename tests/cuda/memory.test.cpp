// SPDX-License-Identifier: MIT
// The device's memory: what is kept, what is given back, what happens when there is too little, and
// the mode that finds bugs in kernels.
#include <cmath>
#include <cstddef>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/cuda.hpp>

using namespace meanflow;
using kernels::cuda::memory_use;

namespace {

constexpr std::size_t megabyte = std::size_t{1} << 20;

/// While in scope, the process may hold that much more of the device's memory than it does.
class MemoryLimit {
 public:
  explicit MemoryLimit(std::size_t more) {
    kernels::cuda::block_pool()->give_back();  // or what earlier tests left there would be more
    memory_use().limit = memory_use().held + more;
  }
  MemoryLimit(const MemoryLimit&) = delete;
  MemoryLimit& operator=(const MemoryLimit&) = delete;
  ~MemoryLimit() { memory_use().limit = std::numeric_limits<std::size_t>::max(); }
};

/// While in scope, memory is asked for and filled so that faults are seen.
class DebugMemory {
 public:
  DebugMemory() : before_(memory_use().debug.exchange(true)) {}
  DebugMemory(const DebugMemory&) = delete;
  DebugMemory& operator=(const DebugMemory&) = delete;
  ~DebugMemory() { memory_use().debug = before_; }

 private:
  bool before_;
};

/// Where the memory of a tensor of that many bytes comes from.
[[nodiscard]] Tensor<char, Cuda> bytes(std::size_t count) { return Tensor<char, Cuda>({count}); }

}  // namespace

TEST_CASE("a block that is free is used again, and its pool gives it back at its end") {
  if (memory_use().debug) return;  // then nothing is kept
  const std::size_t before = memory_use().held;
  {
    const kernels::cuda::UsePool pool(std::make_shared<kernels::cuda::BlockPool>());
    const char* first = bytes(1000).data();
    const std::size_t held = memory_use().held;
    CHECK(held >= before + 1000);
    CHECK(bytes(1000).data() == first);
    CHECK(memory_use().held == held);
  }
  CHECK(memory_use().held == before);
}

TEST_CASE("what is kept is given back before memory is called too little") {
  const MemoryLimit limit(10 * megabyte);
  const kernels::cuda::UsePool pool(std::make_shared<kernels::cuda::BlockPool>());
  static_cast<void>(bytes(6 * megabyte));
  {
    const kernels::cuda::UsePool other(std::make_shared<kernels::cuda::BlockPool>());
    static_cast<void>(bytes(7 * megabyte));
  }
  CHECK_NOTHROW(static_cast<void>(bytes(8 * megabyte)));
}

TEST_CASE("blocks of recorded work stay where they are") {
  if (memory_use().debug) return;  // then nothing is kept
  const MemoryLimit limit(10 * megabyte);
  const auto pool = std::make_shared<kernels::cuda::BlockPool>();
  const kernels::cuda::UsePool use(pool);
  const char* recorded = bytes(6 * megabyte).data();
  pool->pin();
  CHECK_THROWS_AS(static_cast<void>(bytes(8 * megabyte)), OutOfMemoryError);
  CHECK(bytes(6 * megabyte).data() == recorded);
  pool->unpin();
  CHECK_NOTHROW(static_cast<void>(bytes(8 * megabyte)));
}

TEST_CASE("too little memory is an error that says how much there is") {
  const MemoryLimit limit(megabyte);
  std::string message;
  try {
    static_cast<void>(bytes(3 * megabyte));
  } catch (const OutOfMemoryError& error) {
    message = error.what();
  }
  CHECK(message.find("out of memory on ") == 0);
  CHECK(message.find("are free") != std::string::npos);
}

TEST_CASE("what is to be spared is not given") {
  const MemoryLimit limit(megabyte);
  const std::size_t total = memory_use().limit;
  {
    [[maybe_unused]] const auto spare = spare_memory(Cuda{}, 1.0);
    CHECK_THROWS_AS(static_cast<void>(bytes(total / 4)), OutOfMemoryError);
  }
  if (total / 4 < megabyte) CHECK_NOTHROW(static_cast<void>(bytes(total / 4)));
}

TEST_CASE("for debugging, blocks are as large as asked for, hold NaN, and go back at once") {
  const DebugMemory debug;
  const std::size_t before = memory_use().held;
  {
    const Tensor<float, Cuda> x({3, 5});
    CHECK(memory_use().held == before + 15 * sizeof(float));
    const auto numbers = to_host(x);
    for (std::size_t i = 0; i < numbers.size(); ++i) CHECK(std::isnan(numbers[i]));
    const Tensor<double, Cuda> wide({2});
    CHECK(std::isnan(to_host(wide)[1]));
  }
  CHECK(memory_use().held == before);
}

TEST_CASE("a batch that does not fit is cut into tiles that do, and trains the same way") {
  struct Trained {
    Tensor<float> parameters;
    double loss = 0;
    std::size_t bytes = 0;
  };
  const auto x = normal_noise<float, Cuda>({512, 2}, 1),
             other = normal_noise<float, Cuda>({512, 2}, 2);
  const auto trained = [&](std::size_t more, std::size_t tile_rows) {
    MeanFlowTrainer trainer(Mlp<float, Cuda>({.hidden = 64, .layers = 3}),
                            {.batch = 512, .tile_rows = tile_rows});
    kernels::cuda::block_pool()->give_back();
    const std::size_t before = memory_use().held;
    memory_use().peak = before;
    if (more > 0) memory_use().limit = before + more;
    Trained result;
    for (int i = 0; i < 3; ++i) result.loss = trainer.step(i % 2 ? other : x).loss;
    memory_use().limit = std::numeric_limits<std::size_t>::max();
    result.parameters = to_host(trainer.net().parameters().values()).clone();
    result.bytes = memory_use().peak - before;
    return result;
  };
  const Trained whole = trained(0, 0), cut = trained(whole.bytes / 3, 0);
  CHECK(cut.bytes <= whole.bytes / 3);
  CHECK(cut.loss == doctest::Approx(whole.loss).epsilon(1e-4));
  for (std::size_t i = 0; i < cut.parameters.size(); ++i)
    CHECK(cut.parameters[i] == doctest::Approx(whole.parameters[i]).epsilon(1e-3));

  std::string message;
  try {
    static_cast<void>(trained(whole.bytes / 3, 512));
  } catch (const OutOfMemoryError& error) {
    message = error.what();
  }
  memory_use().limit = std::numeric_limits<std::size_t>::max();
  CHECK(message.find("tile_rows is 512: set it lower") != std::string::npos);
  CHECK_THROWS_AS(static_cast<void>(trained(1, 0)), OutOfMemoryError);
  memory_use().limit = std::numeric_limits<std::size_t>::max();
}

TEST_CASE("samples that do not fit at once are made in parts, and are the same") {
  const Mlp<float, Cuda> net({.hidden = 64, .layers = 3});
  const auto noise = normal_noise<float, Cuda>({4096, 2}, 1);
  const Tensor<float> whole = to_host(sample(net, noise, 2));
  kernels::cuda::block_pool()->give_back();
  const MemoryLimit limit(megabyte);
  const Tensor<float> parts = to_host(sample(net, noise, 2));
  for (std::size_t i = 0; i < whole.size(); ++i)
    CHECK(parts[i] == doctest::Approx(whole[i]).epsilon(1e-5));
}

TEST_CASE("plans are made once; those not used for the longest go first, and live while held") {
  kernels::cuda::PlanCache<int, std::string> plans(2);
  int created = 0;
  const auto find = [&](int key) {
    return plans.find(key, [&] {
      ++created;
      return key < 0 ? nullptr : std::make_shared<std::string>(std::to_string(key));
    });
  };
  const auto one = find(1);
  CHECK(*one == "1");
  CHECK(find(1) == one);
  CHECK(created == 1);
  CHECK(find(-1) == nullptr);
  CHECK(find(-1) == nullptr);  // that there is none is remembered
  CHECK(created == 2);
  static_cast<void>(find(1));
  static_cast<void>(find(2));  // takes the place of -1
  CHECK(find(1) == one);
  CHECK(created == 3);
  static_cast<void>(find(3));
  static_cast<void>(find(4));
  CHECK(*one == "1");
  CHECK(find(1) != one);
  plans.replace(1, nullptr);
  CHECK(find(1) == nullptr);
}

TEST_CASE("a GPU that is not there cannot be chosen") {
  for (const int number : {-1, 1000}) {
    std::string message;
    try {
      use_cuda_device(number);
    } catch (const CudaError& error) {
      message = error.what();
    }
    CHECK(message.find("there is no GPU number " + std::to_string(number)) == 0);
  }
  CHECK_NOTHROW(use_cuda_device(0));
}
