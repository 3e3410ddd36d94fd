// What this machine's steps cost with a model, as a profile for `edgewise simulate` and `edgewise plan`.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <numeric>
#include <optional>

#include "bare_model.h"
#include "commands.h"
#include "engine/memory_plan.h"
#include "input.h"
#include "json_writer.h"
#include "model_argument.h"
#include "output.h"
#include "platform/cpu.h"
#include "simulate/step_fit.h"
#include "step_timer.h"
#include "steps/scheduler.h"
#include "terminal.h"

namespace edgewise::app {
namespace {

constexpr std::int64_t kShort = 128;  // positions before a decoding step
constexpr std::int64_t kLong = 1024;
constexpr std::int64_t kLongRows = 8;
constexpr std::array<std::int64_t, 6> kRows = {1, 2, 4, 8, 16, 32};
constexpr std::int64_t kPrompt = 2048;
constexpr std::int64_t kSteps = 32;         // of each size
constexpr std::int64_t kMostRequests = 32;  // the server's default
constexpr double kChunkSeconds = 0.5;  // of a prompt's chunk in the server while nobody generates
constexpr std::int64_t kLeastChunk = 32;

struct ProfileOptions {
  std::string model;
  std::int64_t threads = 0;
  std::optional<double> perplexity;
  std::optional<double> reference_perplexity;
  std::string output;
};

// Of many steps together, as a server takes them: the slow ones count, too.
double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

class Profiler {
 public:
  Profiler(model::Model& model, cache::KvCache& cache)
      : timer_(model, cache), context_(model.spec().context) {}

  simulate::StepFit measure() {
    ProgressLine progress("measuring");
    timer_.warm_up();
    std::vector<simulate::DecodeSample> decode;
    for (const std::int64_t rows : kRows) {
      progress.show_text(fmt::format("steps of {} sequences", rows));
      decode.push_back(decode_sample(rows, std::min(kShort, context_ - kSteps)));
    }
    const std::int64_t depth = std::min(kLong, context_ - kSteps);
    decode.push_back(decode_sample(1, depth));
    decode.push_back(decode_sample(kLongRows, depth));
    progress.show_text("a prompt");
    const std::int64_t chunk = chunk_tokens();
    return simulate::fit_step_cost(decode, prompt_samples(chunk), chunk);
  }

 private:
  // What the cached positions hold does not matter to the time.
  simulate::DecodeSample decode_sample(std::int64_t rows, std::int64_t depth) {
    std::vector<SequenceBlocks> sequences;
    for (std::int64_t i = 0; i < rows; ++i) {
      sequences.emplace_back(timer_.cache());
    }
    const std::int64_t positions = rows * (depth + kSteps / 2);
    return {static_cast<double>(rows), static_cast<double>(positions),
            mean(timer_.decode(sequences, depth, kSteps))};
  }

  std::int64_t chunk_tokens() {
    SequenceBlocks blocks(timer_.cache());
    const std::int64_t tokens = std::min(kShort, context_);
    const double seconds = mean(timer_.prefill(blocks, tokens, tokens, false));
    const double fitting = kChunkSeconds * static_cast<double>(tokens) / seconds;
    const std::int64_t most = std::min(StepTimer::kChunk, std::min(kPrompt, context_) / 4);
    return std::min(most, std::max(kLeastChunk, static_cast<std::int64_t>(fitting)));
  }

  std::vector<simulate::PromptSample> prompt_samples(std::int64_t chunk) {
    SequenceBlocks blocks(timer_.cache());
    const std::int64_t length = std::min(kPrompt, context_) / chunk * chunk;
    std::vector<simulate::PromptSample> samples;
    for (const double seconds : timer_.prefill(blocks, length, chunk, false)) {
      samples.push_back({std::ssize(samples) * chunk, chunk, seconds});
    }
    return samples;
  }

  StepTimer timer_;
  std::int64_t context_;
};

// What the server would give to weights, keys and values by default.
double memory_bytes(const model::Model& model) {
  return static_cast<double>(model.weight_bytes()) +
         static_cast<double>(platform::available_memory_bytes()) / 4.0;
}

void write_variant(const ProfileOptions& options,
                   const model::Model& model,
                   const schedule::StepCost& cost,
                   JsonWriter& json) {
  const std::int64_t block = cache::KvCache::block_bytes(model.kv_shapes());
  json.begin_object();
  json.field("name", options.model);
  json.field("perplexity", options.perplexity.value_or(1.0));
  json.field("reference_perplexity", options.reference_perplexity.value_or(1.0));
  json.field("weight_bytes", model.weight_bytes());
  json.field("kv_bytes_per_token",
             static_cast<double>(block) / static_cast<double>(kernels::kKeyBlock));
  json.key("step");
  json.begin_object();
  json.field("launch_s", cost.launch_s);
  json.field("weights_s", cost.weights_s);
  json.field("row_s", cost.row_s);
  json.field("position_s", cost.position_s);
  json.field("prompt_token_s", cost.prompt_token_s);
  json.field("prompt_pair_s", cost.prompt_pair_s);
  json.field("chunk_tokens", cost.chunk_tokens);
  json.field("least_stall", steps::StepLimits{}.stall);
  json.field("most_stall", steps::StepLimits{}.most_stall);
  json.end_object();
  json.end_object();
}

// A starting point, to be edited: half of what the node could do with answers of 64 tokens to prompts of 128.
void write_workload(const schedule::StepCost& cost, JsonWriter& json) {
  constexpr double kAnswer = 64.0;
  constexpr double kWay = 0.020;  // to the client; of a deadline the server keeps half of it
  const double alone_s =
      cost.prompt_s(0, kShort) + kAnswer * cost.decode_s(1.0, static_cast<double>(kShort));
  const double together_s = cost.prompt_s(0, kShort) +
                            kAnswer * cost.decode_s(8.0, 8.0 * static_cast<double>(kShort)) / 8.0;
  json.begin_object();
  json.field("rate_per_s", 0.5 / together_s);
  json.field("duration_s", 200.0 * together_s);
  for (const char* lengths : {"prompt_tokens", "output_tokens"}) {
    json.key(lengths);
    json.begin_array();
    for (const int tokens : {32, 64, 128}) {
      json.value(tokens);
    }
    json.end_array();
  }
  json.key("deadline_s");
  json.begin_array();
  json.value(kWay + 1.5 * alone_s);
  json.value(kWay + 6.0 * alone_s);
  json.end_array();
  json.key("min_accuracy");
  json.begin_array();
  json.value(0.0);
  json.value(0.0);
  json.end_array();
  json.end_object();
}

JsonWriter to_json(const ProfileOptions& options,
                   const BareModel& bare,
                   const simulate::StepFit& fit) {
  JsonWriter json;
  json.begin_object();
  json.field("name", options.model);
  json.field("notes",
             fmt::format(
                 "Measured by `edgewise profile`: {}, {} threads, {} kernels. Largest error of the "
                 "fit: decoding {:.0f} %, prompt {:.0f} %. The workload is only a start.{}",
                 platform::cpu_model_name(), bare.pool->size(), bare.ops->kernels().name,
                 100.0 * fit.decode_error, 100.0 * fit.prompt_error,
                 options.perplexity ? "" : " Perplexities are placeholders."));
  json.key("nodes");
  json.begin_array();
  json.begin_object();
  json.field("name", "this-machine");
  json.field("memory_bytes", memory_bytes(*bare.model));
  json.field("max_requests", kMostRequests);
  json.key("variants");
  json.begin_array();
  write_variant(options, *bare.model, fit.cost, json);
  json.end_array();
  json.end_object();
  json.end_array();
  json.key("workload");
  write_workload(fit.cost, json);
  json.end_object();
  return json;
}

Result<void> check(const ProfileOptions& options, const model::ModelSpec& spec) {
  if (!spec.causal) {
    return fail(ErrorCode::kUnsupported,
                "{} is an embedding model; profile measures models that generate text",
                options.model);
  }
  if (options.perplexity.has_value() != options.reference_perplexity.has_value()) {
    return fail(
        ErrorCode::kInvalidArgument,
        "--perplexity and --reference-perplexity belong together: the model's own, and that of "
        "the model as it was trained");
  }
  for (const double perplexity :
       {options.perplexity.value_or(1.0), options.reference_perplexity.value_or(1.0)}) {
    if (!(perplexity >= 1.0 && perplexity <= 1e9)) {
      return fail(ErrorCode::kInvalidArgument, "a perplexity of {} cannot be; it is at least 1",
                  perplexity);
    }
  }
  return check_range("the model's context", spec.context, 4 * kSteps, spec.context);
}

Result<void> profile(const ProfileOptions& options) {
  if (!options.output.empty()) {
    TRY_VOID(check_writable(options.output));  // measuring takes a minute
  }
  BareModel bare = TRY(load_bare_model(options.model, options.threads, false));
  bare.model->settle();
  TRY_VOID(check(options, bare.model->spec()));
  const auto cache = TRY(create_cache(*bare.model, kRows.back(), kShort + kSteps + kPrompt / 8,
                                      kernels::KvType::kF16));
  Profiler profiler(*bare.model, *cache);
  const simulate::StepFit fit = profiler.measure();
  const JsonWriter json = to_json(options, bare, fit);
  if (options.output.empty()) {
    json.print_line();
    return {};
  }
  return write_text(options.output, fmt::format("{}\n", json.text()));
}

}  // namespace

Action define_profile(Command& command) {
  auto options = std::make_shared<ProfileOptions>();
  command.argument("MODEL", options->model, kModelHelp, true);
  command.option("-t,--threads", options->threads,
                 "Threads (default: what affinity and cgroup allow)");
  command.option("--perplexity", options->perplexity,
                 "The model's measured perplexity, for accuracy demands (`edgewise perplexity`)");
  command.option("--reference-perplexity", options->reference_perplexity,
                 "The same of the model before it was quantized");
  command.option("-o,--output", options->output,
                 "Write the profile here (default: standard output)");
  command.notes(R"(
Measures steps of 1 to 32 sequences and the chunks of a prompt, fits the step costs that the schedulers plan with
(docs/scheduling.md), and writes a profile: one node, this machine, and a workload to edit. On a busy machine the
profile is that of the busy machine.

Examples:
  edgewise profile smollm2 --output here.json
  edgewise simulate here.json --rate 1,2,4
)");
  return [options] { return profile(*options); };
}

}  // namespace edgewise::app
