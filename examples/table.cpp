// SPDX-License-Identifier: MIT
// [docs:table]
// Learns a table, CSV or NPY, and writes as many new rows; the model is saved as table.safetensors.
#include <cstdio>
#include <exception>
#include <fstream>
#include <limits>
#include <string>

#include <meanflow/meanflow.hpp>

int main(int argc, char** argv) {
  using namespace meanflow;
  if (argc != 3) return std::fprintf(stderr, "table TABLE SAMPLES.csv\n"), 2;
  try {
    const PointSet table(argv[1], {.holdout = 0});  // N rows of D numbers
    std::ofstream file(argv[2]);
    if (!file) throw FileError(std::string(argv[2]) + " cannot be written");
    Mlp<float> net({.dimension = table.dim(), .hidden = 128, .layers = 4, .residual = true});
    MeanFlowTrainer trainer(net, {.steps = 3000, .batch = 512, .learning_rate = {.peak = 5e-3}},
                            Recipe{.coupling = OptimalTransport{}});
    trainer.fit(table, ProgressBar("training"));
    save_model("table.safetensors", trainer, {.scaling = table.scaling()});

    // Here or in another program: new rows in one step, in the units of the table.
    const auto model = load_model<Mlp<float>>("table.safetensors");
    const Tensor<float> rows = model.sample(table.size());  // (N, D)
    file.precision(std::numeric_limits<float>::max_digits10);
    const auto line = [&](const auto& values) {
      for (std::size_t d = 0; d < table.dim(); ++d) file << (d > 0 ? "," : "") << values[d];
      file << '\n';
    };
    if (!table.names().empty()) line(table.names());
    for (std::size_t row = 0; row < rows.rows(); ++row) line(rows.row(row));
    file.close();
    if (!file) throw FileError(std::string(argv[2]) + " could not be written to its end");
  } catch (const std::exception& error) {
    return std::fprintf(stderr, "%s\n", error.what()), 1;
  }
}
// [docs:end]
