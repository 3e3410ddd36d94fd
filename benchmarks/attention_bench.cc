// Attention alone, at the shapes of the models in the README:
//   prefill  a chunk of tokens at a depth, as multiply-adds of unmasked (query, key) pairs per second and their share
//            of the f32 ceiling
//   decode   one token of each sequence at a depth, as KV bytes per second and their share of the DRAM ceiling
// Every round measures the ceiling beside the kernel; medians of both and the worst share are printed. Types of keys and
// values take turns within each round, so that their times compare; the first is what the others are compared with.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <random>
#include <vector>

#include "cache/kv_cache.h"
#include "kernels/ops.h"
#include "machine.h"
#include "tensor/dtype.h"

namespace edgewise {
namespace {

using kernels::AttentionShape;
using kernels::kKeyBlock;
using kernels::KvType;

struct Options {
  int threads = platform::usable_cpus();
  int rounds = 7;
  std::int64_t chunk = 512;
  std::vector<std::int64_t> depths = {0, 3584};
  std::vector<std::int64_t> sequences = {1};
  std::int64_t kv_megabytes = 256;  // more than the caches hold: layers that decoding goes round
  std::vector<std::string> kv_types = {"f16", "q8"};
  std::string only;
  bool json = false;
};

// One type's rounds of a test.
struct Series {
  KvType type;
  std::vector<double> rates;
  std::vector<double> shares;
  std::vector<double> speedups;  // over the first type in the same round
};

struct NamedShape {
  std::string_view name;
  AttentionShape shape;
};

std::vector<NamedShape> shapes() {
  return {
      {"smollm2", {.heads = 9, .kv_heads = 3, .head_dim = 64, .value_dim = 64, .scale = 0.125F}},
      {"qwen1.5b",
       {.heads = 12, .kv_heads = 2, .head_dim = 128, .value_dim = 128, .scale = 0.088F}},
      {"gemma3", {.heads = 4, .kv_heads = 1, .head_dim = 256, .value_dim = 256, .scale = 0.0625F}},
      {"gemma3-window",
       {.heads = 4,
        .kv_heads = 1,
        .head_dim = 256,
        .value_dim = 256,
        .scale = 0.0625F,
        .window = 512}}};
}

std::int64_t keys_seen(const AttentionShape& shape, std::int64_t position) {
  return shape.window > 0 ? std::min(shape.window, position + 1) : position + 1;
}

// Sequences with random keys and values in a cache of several layers, more than the last-level cache holds.
class Scene {
 public:
  Scene(const AttentionShape& shape,
        KvType type,
        std::int64_t sequences,
        std::int64_t positions,
        std::int64_t least_bytes) {
    const cache::KvLayerShape layer{shape.kv_heads, shape.head_dim, shape.value_dim};
    const std::int64_t blocks = cache::blocks_for(positions) * sequences;
    const std::int64_t bytes = cache::KvCache::block_bytes({&layer, 1}, type) * blocks;
    layers_ = std::clamp<std::int64_t>((least_bytes + bytes - 1) / bytes, 1, 256);
    cache_ =
        cache::KvCache::create(std::vector(static_cast<std::size_t>(layers_), layer), blocks, type)
            .value();
    views_.resize(static_cast<std::size_t>(layers_ * sequences));
    for (std::int64_t s = 0; s < sequences; ++s) {
      for (std::int64_t b = 0; b < blocks / sequences; ++b) {
        const cache::BlockId id = cache_->allocate().value();
        for (std::int64_t l = 0; l < layers_; ++l) {
          const kernels::KvBlock view = cache_->view(l, id);
          fill(shape, view);
          views_[static_cast<std::size_t>(l * sequences + s)].push_back(view);
        }
      }
    }
  }

  std::int64_t layers() const { return layers_; }

  std::span<const kernels::KvBlock> blocks(std::int64_t layer, std::int64_t sequence) const {
    const std::int64_t sequences = std::ssize(views_) / layers_;
    return views_[static_cast<std::size_t>(layer * sequences + sequence)];
  }

 private:
  std::int32_t random() {
    state_ = state_ * 6364136223846793005U + 1442695040888963407U;
    return static_cast<std::int32_t>(state_ >> 32U);
  }

  // From -1 to 1.
  void fill(const AttentionShape& shape, const kernels::KvBlock& view) {
    const std::int64_t positions = shape.kv_heads * kKeyBlock;
    for (const auto& [part, count] :
         {std::pair(view.k, positions * shape.head_dim), {view.v, positions * shape.value_dim}}) {
      for (std::int64_t i = 0; i < count; ++i) {
        if (view.type == KvType::kF16) {
          static_cast<std::uint16_t*>(part)[i] =
              tensor::f32_to_f16(static_cast<float>(random()) * 0x1p-31F);
        } else {
          static_cast<std::int8_t*>(part)[i] = static_cast<std::int8_t>(random() >> 24);
        }
      }
    }
    if (view.type != KvType::kF16) {
      std::fill_n(view.k_scales, positions, 1.0F / 127.0F);
      std::fill_n(view.v_scales, positions, 1.0F / 127.0F);
    }
  }

  std::int64_t layers_ = 0;
  std::unique_ptr<cache::KvCache> cache_;
  std::vector<std::vector<kernels::KvBlock>> views_;  // [layer][sequence]
  std::uint64_t state_ = 1;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

template <typename F>
double seconds_of(F&& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::vector<float> random_queries(std::int64_t count) {
  std::mt19937 rng(1);
  std::normal_distribution<float> normal;
  std::vector<float> out(static_cast<std::size_t>(count));
  std::generate(out.begin(), out.end(), [&] { return normal(rng); });
  return out;
}

void report(const Options& options,
            std::string_view test,
            const NamedShape& named,
            std::string_view size,
            const std::vector<Series>& types,
            std::string_view unit) {
  const std::string_view form =
      options.json
          ? R"({{"test":"{}","shape":"{}","kv_type":"{}","size":"{}","rate":{:.2f},"unit":"{}","share":{:.3f},"worst_share":{:.3f},"speedup":{:.3f},"worst_speedup":{:.3f}}})"
            "\n"
          : "{:<8} {:<14} {:<4} {:<24} {:>8.1f} {:<5} {:>6.3f} of the ceiling, worst {:.3f}; "
            "{:.2f} x, worst {:.2f}\n";
  for (const Series& of : types) {
    fmt::print(fmt::runtime(form), test, named.name, kernels::kv_type_name(of.type), size,
               median(of.rates), unit, median(of.shares), std::ranges::min(of.shares),
               median(of.speedups), std::ranges::min(of.speedups));
  }
}

// measure(type's index) gives seconds; work is what is done in them, in units of the ceiling's.
template <typename Measure, typename Ceiling>
void run_rounds(const Options& options,
                std::vector<Series>& types,
                const std::vector<double>& work,
                Measure measure,
                Ceiling ceiling) {
  for (int round = 0; round <= options.rounds; ++round) {
    double first_seconds = 0.0;
    for (std::size_t i = 0; i < types.size(); ++i) {
      const double limit = ceiling();
      const double seconds = measure(i);
      first_seconds = i == 0 ? seconds : first_seconds;
      if (round > 0) {  // the first warms up
        types[i].rates.push_back(work[i] / seconds / 1e9);
        types[i].shares.push_back(types[i].rates.back() / limit);
        types[i].speedups.push_back(first_seconds / seconds);
      }
    }
  }
}

void bench_prefill(const Options& options,
                   kernels::Ops& ops,
                   const NamedShape& named,
                   std::vector<Series> types,
                   std::int64_t depth) {
  const AttentionShape& shape = named.shape;
  std::vector<Scene> scenes;
  for (const Series& of : types) {
    scenes.emplace_back(shape, of.type, 1, depth + options.chunk, 0);
  }
  const std::vector<float> q = random_queries(options.chunk * shape.heads * shape.head_dim);
  std::vector<float> out(static_cast<std::size_t>(options.chunk * shape.heads * shape.value_dim));
  double macs = 0.0;
  for (std::int64_t t = 0; t < options.chunk; ++t) {
    macs += static_cast<double>(keys_seen(shape, depth + t) * shape.heads *
                                (shape.head_dim + shape.value_dim));
  }
  const auto measure = [&](std::size_t i) {
    const kernels::AttentionSegment segment{
        q.data(), out.data(), options.chunk, depth, depth + options.chunk, scenes[i].blocks(0, 0)};
    return seconds_of([&] {
      ops.attention(shape, {&segment, 1}, shape.heads * shape.head_dim,
                    shape.heads * shape.value_dim);
    });
  };
  run_rounds(options, types, std::vector(types.size(), macs), measure,
             [&] { return kernels::measure_f32_gmac_per_s(ops.pool()); });
  report(options, "prefill", named, fmt::format("{} tokens at {}", options.chunk, depth), types,
         "GMAC");
}

void bench_decode(const Options& options,
                  kernels::Ops& ops,
                  const NamedShape& named,
                  std::vector<Series> types,
                  std::int64_t depth,
                  std::int64_t sequences,
                  double dram) {
  const AttentionShape& shape = named.shape;
  std::vector<Scene> scenes;
  std::vector<double> bytes;  // that one layer reads
  for (const Series& of : types) {
    scenes.emplace_back(shape, of.type, sequences, depth + 1, options.kv_megabytes << 20);
    bytes.push_back(
        static_cast<double>(sequences * keys_seen(shape, depth) * shape.kv_heads *
                            kernels::kv_head_bytes(of.type, shape.head_dim, shape.value_dim)));
  }
  std::int64_t layers = scenes[0].layers();  // of each, so that their times compare
  for (const Scene& scene : scenes) {
    layers = std::min(layers, scene.layers());
  }
  for (double& b : bytes) {
    b *= static_cast<double>(layers);
  }
  const std::vector<float> q = random_queries(sequences * shape.heads * shape.head_dim);
  std::vector<float> out(static_cast<std::size_t>(sequences * shape.heads * shape.value_dim));
  std::vector<kernels::AttentionSegment> segments;
  const auto measure = [&](std::size_t i) {
    return seconds_of([&] {
      for (std::int64_t layer = 0; layer < layers; ++layer) {
        segments.clear();
        for (std::int64_t s = 0; s < sequences; ++s) {
          segments.push_back({q.data() + s * shape.heads * shape.head_dim,
                              out.data() + s * shape.heads * shape.value_dim, 1, depth, depth + 1,
                              scenes[i].blocks(layer, s)});
        }
        ops.attention(shape, segments, shape.heads * shape.head_dim, shape.heads * shape.value_dim);
      }
    });
  };
  run_rounds(options, types, bytes, measure, [&] { return dram; });
  report(options, "decode", named, fmt::format("{} x 1 token at {}", sequences, depth), types,
         "GB/s");
}

int run(const Options& options) {
  const auto machine = open_machine(options.threads, options.json);
  if (machine == nullptr) {
    return 1;
  }
  std::vector<Series> types;
  for (const std::string& name : options.kv_types) {
    types.push_back({*kernels::kv_type_of(name), {}, {}, {}});
  }
  for (const NamedShape& named : shapes()) {
    if (!options.only.empty() && named.name != options.only) {
      continue;
    }
    for (const std::int64_t depth : options.depths) {
      bench_prefill(options, machine->ops, named, types, depth);
    }
    for (const std::int64_t sequences : options.sequences) {
      bench_decode(options, machine->ops, named, types, options.depths.back() + options.chunk - 1,
                   sequences, machine->ceilings.dram_gb_per_s);
    }
  }
  return 0;
}

}  // namespace
}  // namespace edgewise

int main(int argc, char** argv) {
  edgewise::Options options;
  CLI::App app("Speed of attention alone, as shares of this machine's ceilings");
  edgewise::add_common_options(app, options.threads, options.rounds);
  app.add_option("--chunk", options.chunk, "Tokens of a prefill chunk")
      ->check(CLI::Range(1, 65536));
  app.add_option("--depths", options.depths, "Tokens before the chunk")->delimiter(',');
  app.add_option("--sequences", options.sequences, "Sequences that decode together")
      ->delimiter(',');
  app.add_option("--kv-megabytes", options.kv_megabytes,
                 "Least keys and values that decoding goes round (0: one layer)");
  app.add_option("--kv-types", options.kv_types, "How keys and values are stored (f16,q8)")
      ->delimiter(',')
      ->check(CLI::IsMember({"f16", "q8"}));
  app.add_option("--only", options.only, "One shape");
  app.add_flag("--json", options.json, "One JSON object a line");
  CLI11_PARSE(app, argc, argv);
  return edgewise::run(options);
}
