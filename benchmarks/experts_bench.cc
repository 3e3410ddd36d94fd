// One layer's mixture of experts alone, at Qwen3-30B-A3B's shape unless told otherwise: the router, the chosen experts'
// products and their sum, for some rows of activations. Every run reads other rows, so that few of them find their
// experts' weights in a cache, as in a model, where the other layers come between. Multiply-adds and bytes of the chosen
// experts' weights per second, their shares of the ceilings measured at the start, and the loops over the workers a layer.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "machine.h"
#include "model/experts.h"

namespace edgewise {
namespace {

using tensor::DType;

struct Options {
  int threads = platform::usable_cpus();
  int rounds = 9;
  std::int64_t width = 2048;
  std::int64_t expert_width = 768;
  std::int64_t experts = 128;
  std::int64_t used = 8;
  std::vector<std::int64_t> rows = {1, 8, 512};
  std::string type = "Q4_K";
};

// A random router, and experts of the same bits, each in memory of its own.
class Layer {
 public:
  Layer(const Options& options, DType type) {
    weights_.router = matrix(DType::kF32, options.experts, options.width);
    for (std::int64_t e = 0; e < options.experts; ++e) {
      weights_.experts.push_back({matrix(type, options.expert_width, options.width),
                                  matrix(type, options.expert_width, options.width),
                                  matrix(type, options.width, options.expert_width)});
    }
  }

  const model::LayerWeights& weights() const { return weights_; }

 private:
  model::Matrix matrix(DType type, std::int64_t rows, std::int64_t cols) {
    const std::int64_t panels = rows / kernels::kPanelRows;
    const std::int64_t panel = kernels::panel_bytes(type, cols);
    memory_.push_back(platform::aligned_array<std::byte>(panels * panel + 4096));
    std::byte* data = memory_.back().get();
    for (std::int64_t p = 0; p < panels; ++p) {
      fill_panel(type, cols, data + p * panel);
    }
    model::Matrix matrix;
    matrix.type = type;
    matrix.rows = rows;
    matrix.cols = cols;
    matrix.stored = {data, 1};  // present
    matrix.packed = {type, rows, cols, data};
    return matrix;
  }

  // Moderate scales (any bits are valid codes; a binary16 of 0x2121 is 0.01), or random floats.
  void fill_panel(DType type, std::int64_t cols, std::byte* panel) {
    std::vector<std::byte> raw(
        static_cast<std::size_t>(tensor::storage_bytes(type, cols) * kernels::kPanelRows),
        std::byte{0x21});
    if (type == DType::kF32) {
      for (std::size_t i = 0; i < raw.size(); i += sizeof(float)) {
        const float value = std::uniform_real_distribution<float>(-0.1F, 0.1F)(random_);
        std::memcpy(raw.data() + i, &value, sizeof(value));
      }
    }
    kernels::pack_panels(type, raw, kernels::kPanelRows, cols, 0, 1, panel);
  }

  std::vector<platform::AlignedArray<std::byte>> memory_;
  std::mt19937 random_{1};
  model::LayerWeights weights_;
};

// Some rows at a time through the layer.
class Scene {
 public:
  Scene(const Options& options, kernels::Ops& ops, const Layer& layer, std::int64_t rows)
      : ops_(ops), layer_(layer), rows_(rows) {
    spec_.width = options.width;
    spec_.experts = options.experts;
    spec_.experts_used = options.used;
    spec_.expert_width = options.expert_width;
    mixture_.emplace(spec_, ops);
    out_.resize(rows, options.width);
    inputs_.resize(static_cast<std::size_t>(std::clamp<std::int64_t>(256 / rows, 1, 64)));
    std::mt19937 random(static_cast<unsigned>(rows));
    for (kernels::ActivationBuffer& input : inputs_) {
      input.resize(rows, options.width);
      std::generate_n(input.values(), rows * options.width,
                      [&] { return std::normal_distribution<float>()(random); });
      ops.quantize(input);
    }
  }

  std::int64_t rows() const { return rows_; }

  void measure() {
    const auto start = std::chrono::steady_clock::now();
    run_all();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    seconds_.push_back(taken.count() / static_cast<double>(inputs_.size()));
  }

  // Of one run; the first of the measured ones warmed up.
  double median_seconds() const {
    std::vector<double> sorted(seconds_.begin() + 1, seconds_.end());
    std::ranges::sort(sorted);
    return sorted[sorted.size() / 2];
  }

  // One run: all loops; multiply-adds and bytes of the experts' products, without the router's, whose weights stay in a cache.
  kernels::PhaseTimes profile() {
    kernels::StepProfile profile;
    ops_.attach(&profile);
    run_all();
    ops_.attach(nullptr);
    kernels::PhaseTimes sum;
    const auto runs = std::ssize(inputs_);
    for (const kernels::PhaseTimes& times : profile.phases) {
      sum.loops += times.loops;
    }
    for (const kernels::Phase phase :
         {kernels::Phase::kExpertGateUp, kernels::Phase::kExpertDown}) {
      sum.macs += profile.of(phase).macs;
      sum.weight_bytes += profile.of(phase).weight_bytes;
    }
    sum.loops /= runs;
    sum.macs /= runs;
    sum.weight_bytes /= runs;
    return sum;
  }

 private:
  void run_all() {
    for (kernels::ActivationBuffer& input : inputs_) {
      mixture_->run(layer_.weights(), input.view(), out_);
    }
  }

  kernels::Ops& ops_;
  const Layer& layer_;
  std::int64_t rows_;
  model::ModelSpec spec_;
  std::optional<model::ExpertMixture> mixture_;
  std::vector<kernels::ActivationBuffer> inputs_;
  model::RowBuffer out_;
  std::vector<double> seconds_;
};

int run(const Options& options) {
  const auto traits =
      std::ranges::find(tensor::all_dtypes(), options.type, &tensor::DTypeTraits::name);
  if (traits == tensor::all_dtypes().end()) {
    fmt::print(stderr, "no type {}\n", options.type);
    return 1;
  }
  const auto machine = open_machine(options.threads);
  if (machine == nullptr) {
    return 1;
  }
  const Layer layer(options, traits->type);
  std::vector<std::unique_ptr<Scene>> scenes;
  for (const std::int64_t rows : options.rows) {
    scenes.push_back(std::make_unique<Scene>(options, machine->ops, layer, rows));
  }
  for (int round = 0; round <= options.rounds; ++round) {
    for (auto& scene : scenes) {
      scene->measure();
    }
  }
  for (auto& scene : scenes) {
    const double seconds = scene->median_seconds();
    const kernels::PhaseTimes profile = scene->profile();
    const double gb = static_cast<double>(profile.weight_bytes) / seconds / 1e9;
    const double gmac = static_cast<double>(profile.macs) / seconds / 1e9;
    fmt::print("{} {:4} rows {:9.3f} ms {:7.1f} GB/s {:4.0f} % {:7.1f} G/s {:4.0f} % {:5} loops\n",
               options.type, scene->rows(), 1e3 * seconds, gb,
               100 * gb / machine->ceilings.dram_gb_per_s, gmac,
               100 * gmac / machine->ceilings.int8_gmac_per_s, profile.loops);
  }
  return 0;
}

}  // namespace
}  // namespace edgewise

int main(int argc, char** argv) {
  edgewise::Options options;
  CLI::App app("Speed of a layer's mixture of experts alone, as shares of this machine's ceilings");
  edgewise::add_common_options(app, options.threads, options.rounds);
  const auto multiple_of = [](std::int64_t unit) {
    return CLI::Validator(
        [unit](const std::string& text) {
          return std::atoll(text.c_str()) % unit == 0 ? "" : fmt::format("no multiple of {}", unit);
        },
        fmt::format("a multiple of {}", unit));
  };
  app.add_option("--width", options.width, "Width of the model")
      ->check(CLI::Range(256, 65536))
      ->check(multiple_of(256));
  app.add_option("--expert-width", options.expert_width, "Width of an expert")
      ->check(CLI::Range(256, 65536))
      ->check(multiple_of(256));
  app.add_option("--experts", options.experts, "Experts")
      ->check(CLI::Range(16, 1024))
      ->check(multiple_of(16));
  app.add_option("--used", options.used, "Experts that a row chooses")->check(CLI::Range(1, 1024));
  app.add_option("--rows", options.rows, "Rows of activations")
      ->delimiter(',')
      ->check(CLI::Range(1, 65536));
  app.add_option("--type", options.type, "Type of the experts' weights");
  CLI11_PARSE(app, argc, argv);
  if (options.used > options.experts) {
    fmt::print(stderr, "{} of {} experts cannot be chosen\n", options.used, options.experts);
    return 1;
  }
  return edgewise::run(options);
}
