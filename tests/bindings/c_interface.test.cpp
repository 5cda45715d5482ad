// SPDX-License-Identifier: MIT
// The C interface gives what the library itself gives, and says what is wrong.
#include <cmath>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>
#include <meanflow_c.h>

#include <meanflow/meanflow.hpp>

using namespace meanflow;

namespace {

/// A folder that is removed in the end.
struct Folder {
  std::filesystem::path path = std::filesystem::temp_directory_path() / "meanflow_c_test";
  Folder() { std::filesystem::create_directories(path); }
  ~Folder() { std::filesystem::remove_all(path); }
};

struct Handle {
  meanflow_model* model;
  ~Handle() { meanflow_free(model); }
};

/// The libraries are compiled for other processors: sums are in another order.
void check_close(const std::vector<float>& found, const Tensor<float>& expected) {
  REQUIRE(found.size() == expected.size());
  for (std::size_t i = 0; i < found.size(); ++i)
    CHECK(found[i] == doctest::Approx(expected[i]).epsilon(1e-4));
}

}  // namespace

TEST_CASE("samples, velocities and derivatives are those of the library") {
  const Folder folder;
  const Mlp<float> net({.dimension = 3, .hidden = 32, .condition = 2, .seed = 4});
  const Scaling scaling{{1, 2, 3}, {2, 0.5, 1}};
  save_model(folder.path / "a.safetensors", net, {.scaling = scaling});
  const Handle handle{meanflow_load((folder.path / "a.safetensors").c_str())};
  meanflow_model* const model = handle.model;
  REQUIRE_MESSAGE(model != nullptr, meanflow_error());
  CHECK(meanflow_net(model) == std::string("Mlp<Silu>"));
  CHECK(std::string(meanflow_settings(model)).find("\"hidden\":32") != std::string::npos);
  CHECK(meanflow_parameter_count(model) == net.parameters().count());
  CHECK(meanflow_sample_rank(model) == 1);
  CHECK(meanflow_sample_extent(model, 0) == 3);
  CHECK(meanflow_sample_extent(model, 1) == 0);
  CHECK(meanflow_sample_size(model) == 3);
  CHECK(meanflow_condition_width(model, "values") == 2);
  CHECK(meanflow_condition_width(model, "labels") == 0);

  constexpr std::size_t rows = 5;
  auto values = normal_noise<float>({rows, 2}, 1);
  meanflow_condition condition{};
  condition.values = values.data();
  meanflow_sampling sampling = meanflow_default_sampling();
  CHECK(sampling.steps == 1);
  sampling.steps = 2;
  sampling.seed = 9;
  std::vector<float> samples(rows * 3);
  REQUIRE_MESSAGE(meanflow_sample(model, rows, &sampling, &condition, samples.data()) == 1,
                  meanflow_error());
  auto expected = sample(net, normal_noise<float>({rows, 3}, 9), 2, {values});
  scaling.undo(expected.span());
  check_close(samples, expected);

  const auto z = normal_noise<float>({rows, 3}, 2), dz = normal_noise<float>({rows, 3}, 3);
  const auto r = Tensor<float>::full({rows, 1}, 0.25F), t = Tensor<float>::full({rows, 1}, 0.75F);
  const auto dr = Tensor<float>::zeros({rows, 1}), dt = Tensor<float>::full({rows, 1}, 1);
  std::vector<float> u(rows * 3), du(rows * 3);
  REQUIRE(meanflow_velocity(model, rows, z.data(), r.data(), t.data(), &condition, u.data()) == 1);
  check_close(u, net(z, r, t, {values}));
  REQUIRE(meanflow_jvp(model, rows, z.data(), r.data(), t.data(), dz.data(), dr.data(), dt.data(),
                       &condition, u.data(), du.data()) == 1);
  const auto both =
      jvp([&](const auto& a, const auto& b, const auto& c) { return net(a, b, c, {values}); },
          std::tuple(z, r, t), std::tuple(dz, dr, dt));
  check_close(u, both.value);
  check_close(du, both.tangent);
}

TEST_CASE("images are sampled by class, by several threads at a time") {
  const Folder folder;
  const DiT<float> net({.input_size = 8,
                        .patch_size = 2,
                        .in_channels = 3,
                        .hidden_size = 32,
                        .depth = 1,
                        .heads = 2,
                        .classes = 3,
                        .seed = 1});
  auto parameters = net.parameters().values();
  RandomStream stream(5, Purpose::initialisation, 0);
  for (float& value : parameters.span()) value += 0.1F * stream.normal<float>();
  save_model(folder.path / "b.safetensors", net, {.row_shape = {8, 8, 3}});
  const Handle handle{meanflow_load((folder.path / "b.safetensors").c_str())};
  REQUIRE_MESSAGE(handle.model != nullptr, meanflow_error());
  CHECK(meanflow_sample_size(handle.model) == 8 * 8 * 3);
  const auto labels = Tensor<std::int32_t>::from({2}, {2, 0});
  const auto expected = sample(net, normal_noise<float>({2, 8, 8, 3}, 0), 1, {labels});
  std::vector<std::vector<float>> found(4, std::vector<float>(2 * 8 * 8 * 3));
  std::vector<std::thread> threads;
  for (auto& samples : found)
    threads.emplace_back([&] {
      meanflow_condition condition{};
      condition.labels = labels.data();
      meanflow_sample(handle.model, 2, nullptr, &condition, samples.data());
    });
  for (std::thread& thread : threads) thread.join();
  for (const auto& samples : found) check_close(samples, expected);
}

TEST_CASE("a failure gives nothing, and says what was wrong") {
  const Folder folder;
  CHECK(meanflow_load((folder.path / "none.safetensors").c_str()) == nullptr);
  CHECK(std::string(meanflow_error()).find("none.safetensors") != std::string::npos);
  CHECK(meanflow_load(nullptr) == nullptr);
  CHECK(std::string(meanflow_error()) == "path is NULL");

  SafetensorsWriter other;
  other.add("x", {1}, std::vector<float>{1});
  other.write(folder.path / "other.safetensors");
  CHECK(meanflow_load((folder.path / "other.safetensors").c_str()) == nullptr);
  CHECK(std::string(meanflow_error()).find("is not a model of save_model") != std::string::npos);

  save_model(folder.path / "c.safetensors", Mlp<float>({.hidden = 8}));
  const Handle handle{meanflow_load((folder.path / "c.safetensors").c_str())};
  std::vector<float> samples(4, 7);
  const std::int32_t label = 1;
  meanflow_condition condition{};
  condition.labels = &label;
  CHECK(meanflow_sample(handle.model, 1, nullptr, &condition, samples.data()) == 0);
  CHECK(std::string(meanflow_error()) == "labels was given, but Mlp<Silu> takes values");
  meanflow_sampling sampling = meanflow_default_sampling();
  sampling.steps = 0;
  CHECK(meanflow_sample(handle.model, 1, &sampling, nullptr, samples.data()) == 0);
  CHECK(std::string(meanflow_error()) == "sampling needs at least 1 step");
  CHECK(meanflow_sample(handle.model, 1, nullptr, nullptr, nullptr) == 0);
  CHECK(std::string(meanflow_error()) == "samples is NULL");
  CHECK(meanflow_velocity(nullptr, 1, nullptr, nullptr, nullptr, nullptr, nullptr) == 0);
  CHECK(samples == std::vector<float>(4, 7));
}
