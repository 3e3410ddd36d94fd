// Matrix products alone: weights of a type against 1 to many rows of activations, once out of memory (more weights
// than the caches hold, each read once a round, as a model's step does) and once out of the second-level cache.
// Multiply-adds and bytes of weights per second, and their shares of the ceilings measured at the start; medians of
// the rounds. The last column is the time over that of the first row count.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <memory>
#include <vector>

#include "kernels/ops.h"
#include "machine.h"
#include "platform/aligned_memory.h"
#include "tensor/dtype.h"

namespace edgewise {
namespace {

using tensor::DType;

struct Options {
  int threads = platform::usable_cpus();
  int rounds = 7;
  std::int64_t cols = 1536;
  std::int64_t megabytes = 128;  // of weights out of memory
  std::vector<std::int64_t> rows = {1, 2, 4, 8, 16, 32};
  std::vector<std::string> types = {"Q4_K", "Q6_K", "Q4_1", "Q8_0"};
  bool cached_only = false;
};

// Panels of one type with random codes and moderate scales: any bits are valid codes.
class Weights {
 public:
  Weights(DType type, std::int64_t cols, std::int64_t least_bytes) {
    const std::int64_t panel = kernels::panel_bytes(type, cols);
    const std::int64_t panels = std::max<std::int64_t>(2, least_bytes / panel);
    matrix_ = {type, panels * kernels::kPanelRows, cols, nullptr};
    const auto raw_bytes =
        static_cast<std::size_t>(tensor::storage_bytes(type, cols) * kernels::kPanelRows);
    std::vector<std::byte> raw(raw_bytes, std::byte{0x21});  // a binary16 of 0x2121 is 0.01
    packed_.resize(static_cast<std::size_t>(panels * panel) + 4096);
    for (std::int64_t p = 0; p < panels; ++p) {
      kernels::pack_panels(type, raw, kernels::kPanelRows, cols, 0, 1, packed_.data() + p * panel);
    }
    matrix_.data = packed_.data();
  }

  const kernels::PackedMatrix& matrix() const { return matrix_; }

  std::int64_t bytes() const {
    return matrix_.panels() * kernels::panel_bytes(matrix_.type, matrix_.cols);
  }

 private:
  std::vector<std::byte> packed_;
  kernels::PackedMatrix matrix_;
};

// Some rows of activations against weights.
class Scene {
 public:
  Scene(kernels::Ops& ops, const kernels::PackedMatrix& weights, std::int64_t rows)
      : weights_(weights), rows_(rows) {
    x_.resize(rows, weights.cols);
    for (std::int64_t i = 0; i < rows * weights.cols; ++i) {
      x_.values()[i] = static_cast<float>(i * 7919 % 2003 - 1001) * 0.001F;
    }
    ops.quantize(x_);
    y_ = platform::aligned_array<float>(rows * weights.rows);
  }

  std::int64_t rows() const { return rows_; }

  void measure(kernels::Ops& ops, int repeats) {
    const kernels::MatmulJob job{&weights_, y_.get(), weights_.rows};
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < repeats; ++i) {
      ops.matmul({&job, 1}, x_.view());
    }
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    seconds_.push_back(taken.count() / repeats);
  }

  // Without the first, which warms up.
  double median_seconds() const {
    std::vector<double> sorted(seconds_.begin() + 1, seconds_.end());
    std::ranges::sort(sorted);
    return sorted[sorted.size() / 2];
  }

 private:
  const kernels::PackedMatrix& weights_;
  std::int64_t rows_;
  kernels::ActivationBuffer x_;
  platform::AlignedArray<float> y_;
  std::vector<double> seconds_;
};

void bench(const Options& options,
           kernels::Ops& ops,
           std::string_view name,
           const Weights& weights,
           int repeats,
           std::string_view place,
           const kernels::Ceilings& ceilings) {
  const kernels::PackedMatrix& w = weights.matrix();
  std::vector<std::unique_ptr<Scene>> scenes;
  for (const std::int64_t rows : options.rows) {
    scenes.push_back(std::make_unique<Scene>(ops, w, rows));
  }
  for (int round = 0; round <= options.rounds; ++round) {
    for (auto& scene : scenes) {
      scene->measure(ops, repeats);
    }
  }
  for (const auto& scene : scenes) {
    const double seconds = scene->median_seconds();
    const double gb = static_cast<double>(weights.bytes()) / seconds / 1e9;
    const double gmac = static_cast<double>(w.rows * w.cols * scene->rows()) / seconds / 1e9;
    fmt::print("{:5} {:6} {:4} rows {:7.1f} GB/s {:4.0f} % {:7.1f} G/s {:4.0f} %  {:6.2f} x\n",
               name, place, scene->rows(), gb, 100 * gb / ceilings.dram_gb_per_s, gmac,
               100 * gmac / ceilings.int8_gmac_per_s, seconds / scenes.front()->median_seconds());
  }
}

int run(const Options& options) {
  const auto machine = open_machine(options.threads);
  if (machine == nullptr) {
    return 1;
  }
  for (const std::string& name : options.types) {
    const auto traits = std::ranges::find(tensor::all_dtypes(), name, &tensor::DTypeTraits::name);
    if (traits == tensor::all_dtypes().end()) {
      fmt::print(stderr, "no type {}\n", name);
      return 1;
    }
    if (!options.cached_only) {
      const Weights memory(traits->type, options.cols, options.megabytes << 20);
      bench(options, machine->ops, name, memory, 1, "memory", machine->ceilings);
    }
    const Weights cached(traits->type, options.cols, 256 << 10);
    bench(options, machine->ops, name, cached, 50, "cache", machine->ceilings);
  }
  return 0;
}

}  // namespace
}  // namespace edgewise

int main(int argc, char** argv) {
  edgewise::Options options;
  CLI::App app("Speed of matrix products alone, as shares of this machine's ceilings");
  edgewise::add_common_options(app, options.threads, options.rounds);
  app.add_option("--cols", options.cols, "Columns of the weights, a multiple of 256")
      ->check(CLI::Range(256, 65536));
  app.add_option("--megabytes", options.megabytes, "Weights read out of memory")
      ->check(CLI::Range(1, 4096));
  app.add_option("--rows", options.rows, "Rows of activations")
      ->delimiter(',')
      ->check(CLI::Range(1, 65536));
  app.add_option("--types", options.types, "Types of weights")->delimiter(',');
  app.add_flag("--cached-only", options.cached_only, "Not out of memory");
  CLI11_PARSE(app, argc, argv);
  return edgewise::run(options);
}
