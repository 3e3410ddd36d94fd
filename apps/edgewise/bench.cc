// Speed of the model itself (no text, no HTTP, no sampling), as rates and as shares of what this
// machine can do.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <utility>

#include "bare_model.h"
#include "commands.h"
#include "input.h"
#include "json_writer.h"
#include "kernels/ceilings.h"
#include "model_argument.h"
#include "platform/cpu.h"
#include "shortlist_bench.h"
#include "step_breakdown.h"
#include "step_timer.h"
#include "terminal.h"

namespace edgewise::app {
namespace {

constexpr std::int64_t kBatchPrompt = 128;  // prompt of each sequence of the batch test

struct BenchOptions {
  std::string model;
  std::int64_t threads = 0;
  std::vector<std::int64_t> prompt = {512};
  std::int64_t generate = 64;
  std::vector<std::int64_t> depth = {0};
  std::vector<std::int64_t> sequences = {1, 8};
  std::int64_t repeat = 1;
  std::string text;
  std::vector<std::int64_t> largest = {1, 40};
  std::string kv_type = "f16";
  bool profile = false;
  bool shortlist = false;
  bool oracle = false;
  bool json = false;
};

struct Measurement {
  std::string_view test;       // "prefill", "decode", "batch"
  std::string_view size_name;  // "tokens", "depth", "sequences"
  std::int64_t size = 0;
  double tokens_per_s = 0.0;
  double read_gb_per_s = 0.0;  // weights and cache, 0 where arithmetic is the limit (prefill)
  double gmac_per_s = 0.0;     // multiply-adds with weights
  StepBreakdown breakdown;     // with --profile
};

std::int64_t output_layer_macs(const model::ModelSpec& spec) {
  return spec.vocab * spec.width;
}

class Bench {
 public:
  Bench(BareModel& bare, cache::KvCache& cache, const BenchOptions& options)
      : model_(*bare.model),
        ops_(*bare.ops),
        timer_(*bare.model, cache),
        kv_type_(cache.type()),
        options_(options) {}

  void warm_up() { timer_.warm_up(); }

  Measurement measure_prefill(std::int64_t length) {
    const double seconds = median_seconds([&] {
      SequenceBlocks blocks(timer_.cache());
      return measured([&] { return timer_.prefill(blocks, length, StepTimer::kChunk, true); });
    });
    Measurement result = measurement("prefill", "tokens", length);
    set_rates(result, static_cast<double>(length) / seconds, 0.0);
    // Only the last token of a prompt meets the output layer.
    result.gmac_per_s -= static_cast<double>(output_layer_macs(model_.spec())) *
                         static_cast<double>(length - 1) / seconds / 1e9;
    return result;
  }

  Measurement measure_decode(std::int64_t depth) {
    const double seconds = median_seconds([&] {
      std::vector<SequenceBlocks> one;
      one.emplace_back(timer_.cache());
      timer_.prefill(one[0], depth, StepTimer::kChunk, false);
      return measured([&] { return timer_.decode(one, depth, options_.generate); });
    });
    Measurement result = measurement("decode", "depth", depth);
    set_rates(result, static_cast<double>(options_.generate) / seconds,
              step_bytes(1, depth) * static_cast<double>(options_.generate) / seconds);
    return result;
  }

  Measurement measure_batch(std::int64_t sequences) {
    const double seconds = median_seconds([&] {
      std::vector<SequenceBlocks> blocks;
      for (std::int64_t i = 0; i < sequences; ++i) {
        blocks.emplace_back(timer_.cache());
      }
      timer_.prefill_together(blocks, kBatchPrompt);
      return measured([&] { return timer_.decode(blocks, kBatchPrompt, options_.generate); });
    });
    Measurement result = measurement("batch", "sequences", sequences);
    const double steps_per_s = static_cast<double>(options_.generate) / seconds;
    set_rates(result, steps_per_s * static_cast<double>(sequences),
              step_bytes(sequences, kBatchPrompt) * steps_per_s);
    return result;
  }

 private:
  // Seconds of the steps that `run` times, and with --profile where they went.
  template <typename F>
  double measured(F run) {
    if (options_.profile) {
      ops_.attach(&breakdown_.profile);
    }
    const std::vector<double> steps = run();
    ops_.attach(nullptr);
    const double seconds = std::accumulate(steps.begin(), steps.end(), 0.0);
    breakdown_.seconds += seconds;
    return seconds;
  }

  // With the breakdown of all runs of the test that has just ended.
  Measurement measurement(std::string_view test, std::string_view size_name, std::int64_t size) {
    breakdown_.workers = ops_.pool().size();
    return {.test = test,
            .size_name = size_name,
            .size = size,
            .breakdown = std::exchange(breakdown_, {})};
  }

  template <typename F>
  double median_seconds(F run) {
    std::vector<double> seconds(static_cast<std::size_t>(options_.repeat));
    std::generate(seconds.begin(), seconds.end(), run);
    std::sort(seconds.begin(), seconds.end());
    return (seconds[(seconds.size() - 1) / 2] + seconds[seconds.size() / 2]) / 2.0;
  }

  // Bytes that one decode step reads: the weights once, and each sequence's keys and values so far.
  double step_bytes(std::int64_t sequences, std::int64_t depth) const {
    const std::int64_t mean_positions = depth + (options_.generate + 1) / 2;
    const std::vector<cache::KvLayerShape> shapes = model_.kv_shapes();
    const auto& layers = model_.spec().layers;
    double kv_bytes = 0.0;
    for (std::size_t i = 0; i < shapes.size(); ++i) {
      const std::int64_t window = i < layers.size() ? layers[i].window : 0;
      const std::int64_t seen = window > 0 ? std::min(window, mean_positions) : mean_positions;
      kv_bytes += static_cast<double>(
          seen * shapes[i].kv_heads *
          kernels::kv_head_bytes(kv_type_, shapes[i].head_dim, shapes[i].value_dim));
    }
    return static_cast<double>(model_.weight_bytes_per_token()) +
           static_cast<double>(sequences) * kv_bytes;
  }

  void set_rates(Measurement& result, double tokens_per_s, double bytes_per_s) const {
    result.tokens_per_s = tokens_per_s;
    result.read_gb_per_s = bytes_per_s / 1e9;
    result.gmac_per_s = static_cast<double>(model_.macs_per_token()) * tokens_per_s / 1e9;
  }

  model::Model& model_;
  kernels::Ops& ops_;
  StepTimer timer_;
  kernels::KvType kv_type_;
  const BenchOptions& options_;
  StepBreakdown breakdown_;
};

Result<void> check(const BenchOptions& options, const model::ModelSpec& spec) {
  if (!spec.causal) {
    return fail(ErrorCode::kUnsupported,
                "{} is an embedding model; bench measures models that generate text",
                options.model);
  }
  if (options.profile && options.oracle) {
    return fail(ErrorCode::kInvalidArgument,
                "--profile measures the kernels' loops, which the --oracle does not use");
  }
  if (!options.text.empty() && !options.shortlist) {
    return fail(ErrorCode::kInvalidArgument,
                "--text compares decoding with and without a shortlist: give --shortlist, too");
  }
  TRY_VOID(check_range("--generate", options.generate, 1, spec.context));
  TRY_VOID(check_range("--repeat", options.repeat, 1, 1000));
  for (const std::int64_t length : options.prompt) {
    TRY_VOID(check_range("--prompt", length, 1, spec.context));
  }
  for (const std::int64_t depth : options.depth) {
    TRY_VOID(check_range("--depth", depth, 0, spec.context - options.generate));
  }
  for (const std::int64_t count : options.sequences) {
    TRY_VOID(check_range("--sequences", count, 1, 1024));
  }
  if (!options.sequences.empty()) {
    TRY_VOID(check_range("--generate (after the 128-token prompts of --sequences)",
                         kBatchPrompt + options.generate, 1, spec.context));
  }
  return {};
}

// Enough for the most demanding of the tests, which run one after the other.
Result<std::unique_ptr<cache::KvCache>> create_bench_cache(const BenchOptions& options,
                                                           const model::Model& model) {
  const kernels::KvType type = TRY(parse_kv_type(options.kv_type));
  std::int64_t longest = 64;
  for (const std::int64_t length : options.prompt) {
    longest = std::max(longest, length);
  }
  for (const std::int64_t depth : options.depth) {
    longest = std::max(longest, depth + options.generate);
  }
  const std::int64_t most = options.sequences.empty() ? 1
                                                      : *std::max_element(options.sequences.begin(),
                                                                          options.sequences.end());
  const std::int64_t needed = std::max(cache::blocks_for(longest),
                                       most * cache::blocks_for(kBatchPrompt + options.generate));
  return create_cache(model, 1, needed * kernels::kKeyBlock, type);
}

std::vector<Measurement> measure_all(BareModel& bare,
                                     cache::KvCache& cache,
                                     const BenchOptions& options) {
  Bench bench(bare, cache, options);
  ProgressLine progress("measuring");
  bench.warm_up();
  std::vector<Measurement> results;
  for (const std::int64_t length : options.prompt) {
    progress.show_text(fmt::format("prefill of {} tokens", length));
    results.push_back(bench.measure_prefill(length));
  }
  for (const std::int64_t depth : options.depth) {
    progress.show_text(fmt::format("decode at depth {}", depth));
    results.push_back(bench.measure_decode(depth));
  }
  for (const std::int64_t count : options.sequences) {
    progress.show_text(fmt::format("decode of {} sequences", count));
    results.push_back(bench.measure_batch(count));
  }
  return results;
}

// Without --text there is nothing to measure: random tokens are no text.
Result<std::vector<ShortlistMeasurement>> measure_shortlists(BareModel& bare,
                                                             const BenchOptions& options) {
  std::vector<ShortlistMeasurement> results;
  for (const std::int64_t largest : options.largest) {
    if (!options.text.empty()) {
      results.push_back(TRY(measure_shortlist(bare, options.text, largest, options.generate)));
    }
  }
  return results;
}

double per_step(std::int64_t count, const ShortlistMeasurement& of) {
  return static_cast<double>(count) /
         static_cast<double>(std::max<std::int64_t>(1, of.counts.used));
}

void print_shortlists(JsonWriter& json, std::span<const ShortlistMeasurement> results) {
  json.key("shortlists");
  json.begin_array();
  for (const ShortlistMeasurement& result : results) {
    json.begin_object();
    json.field("largest", result.largest);
    json.field("steps", result.steps);
    json.field("tokens_per_s", static_cast<double>(result.steps) / result.seconds);
    json.field("speedup", result.full_seconds / result.seconds);
    json.field("used", result.counts.used);
    json.field("fallbacks", result.counts.fallbacks);
    json.field("survivors_per_step", per_step(result.counts.survivors, result));
    json.field("rescored_per_step", per_step(result.counts.rescored, result));
    json.end_object();
  }
  json.end_array();
}

void print_shortlists(std::span<const ShortlistMeasurement> results) {
  for (const ShortlistMeasurement& result : results) {
    write_out(
        "the {} largest logits: {:.1f} tokens/s, {:.2f} x of all logits; {} of {} steps from a "
        "shortlist ({} fallbacks), {:.0f} survivors and {:.0f} rows in full a step\n",
        result.largest, static_cast<double>(result.steps) / result.seconds,
        result.full_seconds / result.seconds, result.counts.used, result.steps,
        result.counts.fallbacks, per_step(result.counts.survivors, result),
        per_step(result.counts.rescored, result));
  }
}

void print_json(const BenchOptions& options,
                const BareModel& bare,
                const kernels::Ceilings& ceilings,
                std::span<const Measurement> results,
                std::span<const ShortlistMeasurement> shortlists,
                std::int64_t peak_bytes) {
  JsonWriter json;
  json.begin_object();
  json.field("model", options.model);
  json.field("architecture", bare.model->spec().architecture);
  json.field("cpu", platform::cpu_model_name());
  json.field("kernels", bare.ops->kernels().name);
  json.field("threads", bare.pool->size());
  json.field("kv_type", options.kv_type);
  json.key("ceilings");
  json.begin_object();
  json.field("dram_gb_per_s", ceilings.dram_gb_per_s);
  json.field("int8_gmac_per_s", ceilings.int8_gmac_per_s);
  json.field("f32_gmac_per_s", ceilings.f32_gmac_per_s);
  json.end_object();
  json.key("results");
  json.begin_array();
  for (const Measurement& result : results) {
    json.begin_object();
    json.field("test", result.test);
    json.field(result.size_name, result.size);
    json.field("tokens_per_s", result.tokens_per_s);
    if (result.read_gb_per_s > 0.0) {
      json.field("read_gb_per_s", result.read_gb_per_s);
      json.field("dram_share", result.read_gb_per_s / ceilings.dram_gb_per_s);
    }
    json.field("gmac_per_s", result.gmac_per_s);
    json.field("int8_share", result.gmac_per_s / ceilings.int8_gmac_per_s);
    if (options.profile) {
      print_breakdown(json, result.breakdown, ceilings);
    }
    json.end_object();
  }
  json.end_array();
  print_shortlists(json, shortlists);
  json.field("weight_bytes_per_token", bare.model->weight_bytes_per_token());
  json.field("macs_per_token", bare.model->macs_per_token());
  json.field("output_layer_macs", output_layer_macs(bare.model->spec()));
  json.field("peak_rss_bytes", peak_bytes);
  json.end_object();
  json.print_line();
}

void print_table(const BareModel& bare,
                 const kernels::Ceilings& ceilings,
                 std::span<const Measurement> results,
                 std::int64_t peak_bytes) {
  const Style style = Style::of_stdout();
  write_out("{}, {} kernels, {} thread{}\n", platform::cpu_model_name(), bare.ops->kernels().name,
            bare.pool->size(), bare.pool->size() == 1 ? "" : "s");
  write_out(
      "measured ceilings: memory {:.1f} GB/s, int8 {:.0f} G multiply-adds/s, f32 {:.0f} G "
      "multiply-adds/s\n\n",
      ceilings.dram_gb_per_s, ceilings.int8_gmac_per_s, ceilings.f32_gmac_per_s);
  write_out("{}{:<10} {:>16} {:>12} {:>20} {:>20}{}\n", style.bold, "test", "size", "tokens/s",
            "GB/s (of memory)", "G MAC/s (of int8)", style.reset);
  for (const Measurement& result : results) {
    const std::string memory = result.read_gb_per_s > 0.0
                                   ? rate_and_share(result.read_gb_per_s, ceilings.dram_gb_per_s)
                                   : "";
    write_out("{:<10} {:>16} {:>12.1f} {:>20} {:>20}\n", result.test,
              fmt::format("{} {}", result.size_name, result.size), result.tokens_per_s, memory,
              rate_and_share(result.gmac_per_s, ceilings.int8_gmac_per_s));
  }
  write_out("\npeak memory {}\n", human_bytes(static_cast<double>(peak_bytes)));
}

void print_breakdowns(std::span<const Measurement> results, const kernels::Ceilings& ceilings) {
  for (const Measurement& result : results) {
    print_breakdown(fmt::format("{}, {} {}", result.test, result.size_name, result.size),
                    result.breakdown, ceilings);
  }
}

Result<void> bench(const BenchOptions& options) {
  TRY(parse_kv_type(options.kv_type));
  BareModel bare =
      TRY(load_bare_model(options.model, options.threads, options.oracle, options.shortlist));
  bare.model->settle();
  TRY_VOID(check(options, bare.model->spec()));
  const auto cache = TRY(create_bench_cache(options, *bare.model));
  const std::vector<Measurement> results = measure_all(bare, *cache, options);
  const std::vector<ShortlistMeasurement> shortlists = TRY(measure_shortlists(bare, options));
  const std::int64_t peak_bytes =
      platform::peak_resident_bytes();  // before the ceilings take memory of their own
  ProgressLine progress("measuring");
  progress.show_text("this machine's ceilings");
  const kernels::Ceilings ceilings = TRY(kernels::measure_ceilings(*bare.pool));
  progress.clear();
  if (options.json) {
    print_json(options, bare, ceilings, results, shortlists, peak_bytes);
  } else {
    print_table(bare, ceilings, results, peak_bytes);
    print_shortlists(shortlists);
    if (options.profile) {
      print_breakdowns(results, ceilings);
    }
  }
  return {};
}

}  // namespace

Action define_bench(Command& command) {
  auto options = std::make_shared<BenchOptions>();
  command.argument("MODEL", options->model, kModelHelp, true);
  command.option("-t,--threads", options->threads,
                 "Threads (default: what affinity and cgroup allow)");
  command.option("-p,--prompt", options->prompt, "Prefill tests: prompt lengths (default: 512)");
  command.option("-n,--generate", options->generate, "Steps of each decode test (default: 64)");
  command.option("-d,--depth", options->depth,
                 "Decode tests: tokens before the first generated one (default: 0)");
  command.option("-s,--sequences", options->sequences,
                 "Batch tests: sequences that decode together (default: 1,8)");
  command.option("-r,--repeat", options->repeat,
                 "Runs of each test; the median counts (default: 1)");
  command.option("--text", options->text,
                 "With --shortlist: also decode this text with and without it, in turn");
  command.option("--largest", options->largest,
                 "... asking for this many logits (default: 1,40; 1 is greedy)");
  command.option("--kv-type", options->kv_type, kKvTypeHelp);
  command.flag("--shortlist", options->shortlist, kShortlistHelp);
  command.flag("--profile", options->profile,
               "Also say where each test's time goes, and what the workers waited");
  command.flag("--oracle", options->oracle, "Run the slow reference model in doubles");
  command.flag("--json", options->json, "Print JSON");
  command.notes(R"(
The figures are the model's own: no text, no sampling, no HTTP. A batch figure is the rate of all
sequences together, after 128-token prompts of their own. GB/s are the bytes of weights and cache
read, with their share of this machine's measured read bandwidth; G MAC/s the 10^9 multiply-adds with weights,
with their share of its measured rate of 8-bit ones. Both ceilings are measured after the tests.
--profile reads the clock around every piece of work, which slows small models by a few percent.

Examples:
  edgewise bench smollm2
  edgewise bench model.gguf --threads 2 --prompt 512,4096 --depth 0,4096 --sequences 1,2,4,8,16,32 --json
)");
  return [options] { return bench(*options); };
}

}  // namespace edgewise::app
