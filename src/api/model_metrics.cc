#include "api/model_metrics.h"

#include <algorithm>
#include <vector>

#include "api/shown_metrics.h"

namespace edgewise::api {
namespace {

using prometheus::BuildHistogram;
using prometheus::Histogram;

// Seconds. First tokens range from a cached prompt (10 ms) to a long one on a slow machine
// (minutes).
const Histogram::BucketBoundaries kFirstToken = {0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,
                                                 2.5,  5,     10,   30,  60,   120};
const Histogram::BucketBoundaries kNextToken = {0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075,
                                                0.1,   0.15,  0.25, 0.5,  1,     2.5};
const Histogram::BucketBoundaries kQueue = {0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 15, 60};

// The boundaries that OpenTelemetry's conventions ask for.
const Histogram::BucketBoundaries kOtelDuration = {0.01, 0.02, 0.04, 0.08,  0.16,  0.32,  0.64,
                                                   1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92};
const Histogram::BucketBoundaries kOtelFirstToken = {
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0};
const Histogram::BucketBoundaries kOtelToken = {0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2,
                                                0.3,  0.4,   0.5,  0.75,  1.0, 2.5};

// One thing that is measured, under each of its names.
class Histograms {
 public:
  void add(Histogram& histogram) { histograms_.push_back(&histogram); }

  void observe(double value) {
    for (Histogram* histogram : histograms_) {
      histogram->Observe(value);
    }
  }

 private:
  std::vector<Histogram*> histograms_;
};

}  // namespace

struct ModelMetrics::State {
  using Labels = prometheus::Labels;

  State(prometheus::Registry& metrics, const std::string& model)
      : registry(metrics),
        ours({{"model", model}}),
        vllm({{"model_name", model}}),
        otel({{"gen_ai_operation_name", "chat"},
              {"gen_ai_provider_name", "edgewise"},
              {"gen_ai_request_model", model}}),
        prompt_tokens(tokens("prompt")),
        cached_tokens(tokens("prompt_cached")),
        approximate_tokens(tokens("prompt_approximate")),
        completion_tokens(tokens("completion")),
        prefill_seconds(counter(
            "edgewise_prefill_seconds_total", "Computing prompts, summed over requests", ours)),
        decode_seconds(
            counter("edgewise_decode_seconds_total", "Generating, summed over requests", ours)) {
    set("edgewise_info", "What is served", 1, ours);
    first_token.add(histogram("edgewise_time_to_first_token_seconds",
                              "From a request's headers to its first token", kFirstToken, ours));
    first_token.add(histogram("gen_ai_server_time_to_first_token_seconds",
                              "From a request's headers to its first token", kOtelFirstToken,
                              otel));
    first_token.add(histogram("vllm:time_to_first_token_seconds",
                              "From a request's headers to its first token", kFirstToken, vllm));
    next_token.add(histogram("edgewise_inter_token_seconds", "Between two tokens of one answer",
                             kNextToken, ours));
    next_token.add(histogram("vllm:inter_token_latency_seconds", "Between two tokens of one answer",
                             kNextToken, vllm));
    token.add(histogram("gen_ai_server_time_per_output_token_seconds",
                        "Mean of an answer's tokens after the first", kOtelToken, otel));
    token.add(histogram("vllm:request_time_per_output_token_seconds",
                        "Mean of an answer's tokens after the first", kNextToken, vllm));
    whole.add(histogram("gen_ai_server_request_duration_seconds",
                        "From a request's headers to the end of one answer", kOtelDuration, otel));
    whole.add(histogram("vllm:e2e_request_latency_seconds",
                        "From a request's headers to the end of one answer", kDuration, vllm));
    queue.add(histogram("edgewise_queue_seconds", "Waiting before the first step of a request",
                        kQueue, ours));
    queue.add(histogram("vllm:request_queue_time_seconds",
                        "Waiting before the first step of a request", kQueue, vllm));
    prefill.add(
        histogram("vllm:request_prefill_time_seconds", "Computing a prompt", kDuration, vllm));
    decode.add(
        histogram("vllm:request_decode_time_seconds", "Generating an answer", kDuration, vllm));
  }

  Histogram& histogram(const char* name,
                       const char* help,
                       const Histogram::BucketBoundaries& bounds,
                       const Labels& labels) {
    return BuildHistogram().Name(name).Help(help).Register(registry).Add(labels, bounds);
  }

  prometheus::Counter& counter(const char* name, const char* help, const Labels& labels) {
    return api::counter(registry, name, help, labels);
  }

  prometheus::Counter& tokens(const char* kind) {
    return counter("edgewise_tokens_total", "Tokens of finished requests", and_ours("kind", kind));
  }

  Labels and_ours(const char* name, std::string value) const {
    Labels labels = ours;
    labels[name] = std::move(value);
    return labels;
  }

  void set(const char* name, const char* help, double value, const Labels& labels) {
    show_gauge(registry, name, help, value, labels);
  }

  void total(const char* name, const char* help, double value, const Labels& labels) {
    show_total(registry, name, help, value, labels);
  }

  void show_load(const engine::EngineStats& engine);
  void show_scheduling(const engine::EngineStats& engine);
  void show_for_vllm(const engine::EngineStats& engine);
  void show_disk(const engine::EngineStats& engine);
  void show_draft_model(const engine::EngineStats& engine);

  prometheus::Registry& registry;
  const Labels ours;
  const Labels vllm;
  const Labels otel;
  prometheus::Counter& prompt_tokens;
  prometheus::Counter& cached_tokens;
  prometheus::Counter& approximate_tokens;
  prometheus::Counter& completion_tokens;
  prometheus::Counter& prefill_seconds;
  prometheus::Counter& decode_seconds;
  Histograms first_token, next_token, token, whole, queue, prefill, decode;
};

ModelMetrics::ModelMetrics(prometheus::Registry& registry, const std::string& model)
    : state_(std::make_unique<State>(registry, model)) {}

ModelMetrics::~ModelMetrics() = default;

void ModelMetrics::observe_first_token(double seconds) {
  state_->first_token.observe(seconds);
}

void ModelMetrics::observe_next_token(double seconds) {
  state_->next_token.observe(seconds);
}

void ModelMetrics::count_usage(const engine::Usage& usage) {
  state_->prompt_tokens.Increment(static_cast<double>(usage.prompt_tokens));
  state_->cached_tokens.Increment(static_cast<double>(usage.cached_tokens));
  state_->approximate_tokens.Increment(static_cast<double>(usage.approximate_tokens));
  state_->completion_tokens.Increment(static_cast<double>(usage.completion_tokens));
  state_->queue.observe(usage.queue_seconds);
  state_->prefill.observe(usage.prefill_seconds);
  state_->decode.observe(usage.decode_seconds);
  if (usage.completion_tokens > 1) {
    state_->token.observe(usage.decode_seconds / static_cast<double>(usage.completion_tokens - 1));
  }
  state_->prefill_seconds.Increment(usage.prefill_seconds);
  state_->decode_seconds.Increment(usage.decode_seconds);
}

void ModelMetrics::count_finish(std::string_view reason, double seconds) {
  prometheus::Labels labels = state_->vllm;
  labels["finished_reason"] = reason;
  state_->counter("vllm:request_success_total", "Answers that came to their end", labels)
      .Increment();
  state_->whole.observe(seconds);
}

void ModelMetrics::count_merged(std::int64_t tokens) {
  state_
      ->counter("edgewise_link_merged_tokens_total",
                "Tokens told in one event with the one before, for the link", state_->ours)
      .Increment(static_cast<double>(tokens));
}

void ModelMetrics::count_refusal(std::string_view reason) {
  state_
      ->counter("edgewise_refused_total", "Requests refused at once, by reason",
                state_->and_ours("reason", std::string(reason)))
      .Increment();
}

void ModelMetrics::show(const engine::EngineStats& engine) {
  state_->show_load(engine);
  state_->show_scheduling(engine);
  state_->show_for_vllm(engine);
  state_->show_disk(engine);
}

void ModelMetrics::State::show_load(const engine::EngineStats& engine) {
  set("edgewise_sequences_running", "Sequences being computed", static_cast<double>(engine.running),
      ours);
  set("edgewise_sequences_waiting", "Sequences in the queue", static_cast<double>(engine.waiting),
      ours);
  set("edgewise_kv_blocks_used", "Blocks of the key/value cache in use",
      static_cast<double>(engine.kv_blocks_used), ours);
  set("edgewise_kv_blocks", "Blocks of the key/value cache",
      static_cast<double>(engine.kv_blocks_total), ours);
  set("edgewise_engine_steps", "Forward passes since start",
      static_cast<double>(engine.steps_total), ours);
  set("edgewise_engine_busy_seconds", "Time in forward passes since start", engine.busy_seconds,
      ours);
  total("edgewise_turn_wait_seconds_total", "Waiting while another model computed",
        engine.turn_wait_seconds_total, ours);
  set("edgewise_engine_sequences", "Sequences taken since start",
      static_cast<double>(engine.requests_total), ours);
  set("edgewise_kv_blocks_cached", "Blocks that are held only as reusable prefix",
      static_cast<double>(engine.kv_blocks_cached), ours);
  set("edgewise_prefix_hit_ratio", "Share of prompt tokens that came from the cache",
      static_cast<double>(engine.cached_tokens_total) /
          std::max(1.0, static_cast<double>(engine.prompt_tokens_total)),
      ours);
  set("edgewise_preemptions", "Sequences that gave up their memory since start",
      static_cast<double>(engine.preemptions_total), ours);
  set("edgewise_batch_rows", "Mean rows of a step since start",
      static_cast<double>(engine.prompt_tokens_total - engine.cached_tokens_total -
                          engine.approximate_tokens_total + engine.completion_tokens_total +
                          engine.drafted_tokens_total - engine.accepted_tokens_total) /
          std::max(1.0, static_cast<double>(engine.steps_total)),
      ours);
  total("edgewise_shortlists_total",
        "Output layers computed only for their largest logits (greedy, top-k)",
        static_cast<double>(engine.shortlists.used), ours);
  total("edgewise_shortlist_fallbacks_total", "... tried, then computed in full",
        static_cast<double>(engine.shortlists.fallbacks), ours);
  total("edgewise_shortlist_survivors_total", "Rows that the shortlists' bound left",
        static_cast<double>(engine.shortlists.survivors), ours);
  total("edgewise_drafted_tokens_total", "Tokens computed before they were drawn (speculation)",
        static_cast<double>(engine.drafted_tokens_total), ours);
  total("edgewise_accepted_tokens_total", "... that were then drawn",
        static_cast<double>(engine.accepted_tokens_total), ours);
  if (engine.draft_kv_blocks_total > 0) {
    show_draft_model(engine);
  }
}

void ModelMetrics::State::show_draft_model(const engine::EngineStats& engine) {
  const auto of = [](std::int64_t value) { return static_cast<double>(value); };
  total("edgewise_draft_model_drafted_tokens_total", "Of the drafted tokens, the draft model's",
        of(engine.model_drafted_tokens_total), ours);
  total("edgewise_draft_model_accepted_tokens_total", "... that were then drawn",
        of(engine.model_accepted_tokens_total), ours);
  total("edgewise_draft_model_seconds_total", "Time in the draft model", engine.draft_seconds_total,
        ours);
  set("edgewise_draft_model_weight_bytes", "Resident weights of the draft model",
      of(engine.draft_weight_bytes), ours);
  set("edgewise_draft_model_kv_blocks", "Blocks of the draft model's key/value cache",
      of(engine.draft_kv_blocks_total), ours);
  set("edgewise_draft_model_kv_blocks_used", "... in use", of(engine.draft_kv_blocks_used), ours);
}

void ModelMetrics::State::show_scheduling(const engine::EngineStats& engine) {
  const auto refused = [&](const char* reason, std::int64_t value) {
    total("edgewise_refused_total", "Requests refused at once, by reason",
          static_cast<double>(value), and_ours("reason", reason));
  };
  refused("queue_full", engine.refused_full_total);
  refused("deadline_unreachable", engine.refused_unreachable_total);
  refused("link", engine.refused_link_total);
  total("edgewise_deadlines_met_total", "Answers with a deadline that were complete in time",
        static_cast<double>(engine.deadlines_met_total), ours);
  const auto missed = [&](const char* when, std::int64_t value) {
    total("edgewise_deadlines_missed_total", "Requests that were ended because of their deadline",
          static_cast<double>(value), and_ours("when", when));
  };
  missed("waiting", engine.expired_waiting_total);
  missed("running", engine.expired_running_total);
  total("edgewise_selections_total", "Searches for the requests to let in",
        static_cast<double>(engine.selections_total), ours);
  total("edgewise_selections_cut_total", "... that time ended before they were exact",
        static_cast<double>(engine.selections_cut_total), ours);
  total("edgewise_selection_gap_total", "... and the value that those may have missed, summed",
        engine.selection_gap_total, ours);
  total("edgewise_selection_seconds_total", "Time of the searches, beside the engine",
        engine.selection_seconds_total, ours);
  total("edgewise_scheduling_seconds_total",
        "Time of the engine thread for snapshots, choices and step plans",
        engine.scheduling_seconds_total, ours);
  set("edgewise_step_prediction_error", "Mean |log(measured / predicted)| of recent steps",
      engine.step_error, ours);
}

void ModelMetrics::State::show_disk(const engine::EngineStats& engine) {
  const auto of = [](std::int64_t value) { return static_cast<double>(value); };
  set("edgewise_kv_blocks_mapped", "Blocks that are read from files on disk",
      of(engine.kv_blocks_mapped), ours);
  set("edgewise_kv_disk_pages", "Pages of keys and values on disk", of(engine.disk.pages), ours);
  set("edgewise_kv_disk_bytes", "Bytes of them", of(engine.disk.bytes), ours);
  total("edgewise_kv_disk_found_total", "Pages found on disk and used", of(engine.disk.found_total),
        ours);
  total("edgewise_kv_disk_written_total", "Pages written to disk", of(engine.disk.written_total),
        ours);
  total("edgewise_kv_disk_evicted_total", "Pages removed to make room on disk",
        of(engine.disk.evicted_total), ours);
  total("edgewise_kv_disk_refused_total", "Files that were damaged or not ours, and not used",
        of(engine.disk.refused_total), ours);
}

void ModelMetrics::State::show_for_vllm(const engine::EngineStats& engine) {
  const auto of = [](std::int64_t value) { return static_cast<double>(value); };
  set("vllm:num_requests_running", "Sequences being computed", of(engine.running), vllm);
  set("vllm:num_requests_waiting", "Sequences in the queue", of(engine.waiting), vllm);
  set("vllm:kv_cache_usage_perc",
      "Share of the key/value cache that running sequences hold, 0 to 1",
      of(engine.kv_blocks_used - engine.kv_blocks_cached) /
          std::max(1.0, of(engine.kv_blocks_total)),
      vllm);
  total("vllm:prefix_cache_queries_total", "Prompt tokens that were looked up in the prefix cache",
        of(engine.prompt_tokens_total), vllm);
  total("vllm:prefix_cache_hits_total", "... and found", of(engine.cached_tokens_total), vllm);
  total("vllm:prompt_tokens_total", "Prompt tokens", of(engine.prompt_tokens_total), vllm);
  total("vllm:generation_tokens_total", "Generated tokens", of(engine.completion_tokens_total),
        vllm);
  total("vllm:spec_decode_num_draft_tokens_total", "Tokens computed before they were drawn",
        of(engine.drafted_tokens_total), vllm);
  total("vllm:spec_decode_num_accepted_tokens_total", "... that were then drawn",
        of(engine.accepted_tokens_total), vllm);
  total("vllm:num_preemptions_total", "Sequences that gave up their memory",
        of(engine.preemptions_total), vllm);
}

}  // namespace edgewise::api
